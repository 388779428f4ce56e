"""A Slurm cluster of one node for tests: munged, slurmctld and slurmd as ordinary processes in a temporary folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
START_S = 60
NUM_CPUS = 4
CONFIG = """\
ClusterName=test
SlurmctldHost=localhost
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
MinJobAge=600
KillWait=5
MailProg=/bin/true
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000000 State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def find(name):
    """Return the path of a program of Slurm, None if it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def missing():
    """Return the names of the programs that are not installed."""
    return [name for name in PROGRAMS if not find(name)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def await_true(what, condition, seconds=START_S):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} after {seconds} s")
        time.sleep(0.2)


class Slurm:
    """A running cluster: `environment` makes the commands of Slurm use it."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def command(self, name, *arguments, **options):
        options = {"env": self.environment, "capture_output": True, "text": True, "check": True, **options}
        return subprocess.run([find(name), *map(str, arguments)], **options).stdout  # noqa: PLW1510

    def states(self, job):
        """Return {array task: state} of a job."""
        lines = self.command("squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%K %T")
        return dict(line.split() for line in lines.splitlines())

    def wait(self, job, seconds=900):
        """Return the exit codes of a job's array tasks, once all have ended."""
        ended = {"COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
        await_true(f"job {job} has not ended", lambda: set(self.states(job).values()) <= ended, seconds)
        return self.states(job)


@contextmanager
def cluster(folder):
    """Start a cluster in a folder with a short path, and stop it after use."""
    for name in ("spool", "state", "munge"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge/key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    ports = {"controller_port": free_port(), "node_port": free_port()}
    user = psutil.Process().username()
    (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, user=user, cpus=NUM_CPUS, **ports))
    slurm = Slurm(folder)
    with ExitStack() as stack:
        munge = [f"--socket={folder}/munge.socket", f"--key-file={key}", f"--pid-file={folder}/munge/pid"]
        munge += [f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed", "--foreground", "--force"]
        start(stack, slurm, "munged", *munge)
        await_true("munged has no socket", (folder / "munge.socket").exists)
        start(stack, slurm, "slurmctld", "-D")
        start(stack, slurm, "slurmd", "-D", "-N", "localhost")
        await_true(
            "the node is not idle", lambda: "State=IDLE" in slurm.command("scontrol", "show", "nodes", check=False)
        )
        yield slurm


def start(stack, slurm, name, *arguments):
    log = stack.enter_context((slurm.folder / f"{name}.out").open("w"))
    command = [find(name), *map(str, arguments)]
    process = subprocess.Popen(command, env=slurm.environment, stdout=log, stderr=log, start_new_session=True)
    stack.callback(stop, process)


def stop(process):
    """End a process and its descendants, such as the step daemons of jobs."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in family:
        with suppress(psutil.Error):
            child.kill()
