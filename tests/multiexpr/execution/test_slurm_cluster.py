"""Curation on a real Slurm cluster of one node: the same dataset as local, also if tasks are missing or killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import multiexpr
from multiexpr import cli
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.models.detector import find_people_model
from multiexpr.storage.workspace import Workspace
from tests import slurm
from tests.multiexpr.collection import encode, two_people
from tests.multiexpr.test_curate import contents
from tests.videos import numbered

pytestmark = [
    pytest.mark.shared,
    pytest.mark.weights,
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm.missing()), reason=f"needs {', '.join(slurm.missing())} (slurm-wlm and munge)"),
]
ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 1500


@pytest.fixture(scope="module")
def collection(tmp_path_factory, shared):
    """Five shards: two clips that are kept, and short ones that are dropped."""
    try:
        find_people_model("yolov8n")
    except multiexpr.curation.UserError:
        pytest.skip("needs a YOLOv8n model in EXPRBENCH_WEIGHTS")
    root = tmp_path_factory.mktemp("collection")
    frames = two_people(shared("multi/two_person.mp4"))
    for name in ("a", "m"):
        encode(root / f"{name}.mp4", frames[: 60 if name == "a" else 65])
    for i in range(35):
        encode(root / f"{'adgjmp'[i % 6]}{i:02d}.mp4", [numbered(20 * i + k) for k in range(5)])
    return root


@pytest.fixture(scope="module")
def expected(collection, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "out"
    assert multiexpr.curate(collection, out, execution=ExecutionConfig(workers=1)).num_kept == 2
    return contents(Workspace(out))


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # a socket's path may have 107 characters
    try:
        with slurm.cluster(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder)


def submit(cluster, collection, out, array):
    """Submit an array of tasks, and return the id of the job."""
    out.parent.mkdir(exist_ok=True)
    command = f"{sys.executable} -m multiexpr.cli curate {collection} --out {out} --executor slurm --workers 1"
    logs = out.parent / "%A_%a.log"
    options = ["--parsable", f"--array={array}", f"--output={logs}", f"--chdir={ROOT}", "--mem=1G", "--wrap", command]
    return cluster.command("sbatch", *options).strip()


def logs(out):
    return "\n".join(path.read_text() for path in sorted(out.parent.glob("*.log")))


def test_a_sparse_array_writes_the_same_files(cluster, collection, expected, tmp_path):
    out = tmp_path / "out"
    job = submit(cluster, collection, out, "0,2")
    assert cluster.wait(job, WAIT_S) == {"0": "COMPLETED", "2": "COMPLETED"}, logs(out)
    assert contents(Workspace(out)) == expected


def first_claim(out):
    """Return the number of a process that works on a shard, 0 if there is none."""
    for path in sorted((out / "claims").glob("*/[0-9]*")):
        text = path.read_text()
        if text.endswith("}"):
            return json.loads(text)["pid"]
    return 0


def test_a_killed_task_is_finished_by_the_others_and_may_be_resubmitted(cluster, collection, expected, tmp_path):
    out = tmp_path / "out"
    job = submit(cluster, collection, out, "0-1")
    slurm.await_true("no shard is claimed", lambda: first_claim(out), WAIT_S)
    os.kill(first_claim(out), signal.SIGKILL)
    assert sorted(cluster.wait(job, WAIT_S).values()) == ["COMPLETED", "FAILED"], logs(out)
    assert contents(Workspace(out)) == expected
    again = submit(cluster, collection, out, "3,7")
    assert cluster.wait(again, WAIT_S) == {"3": "COMPLETED", "7": "COMPLETED"}, logs(out)
    assert contents(Workspace(out)) == expected


def test_a_job_whose_only_task_is_killed_is_finished_by_the_next_one(cluster, collection, expected, tmp_path):
    out = tmp_path / "out"
    job = submit(cluster, collection, out, "5")
    slurm.await_true("no shard is claimed", lambda: first_claim(out), WAIT_S)
    cluster.command("scancel", "--signal=KILL", "--full", job)
    assert set(cluster.wait(job, WAIT_S).values()) <= {"FAILED", "CANCELLED"}
    again = submit(cluster, collection, out, "3,7")
    assert cluster.wait(again, WAIT_S) == {"3": "COMPLETED", "7": "COMPLETED"}, logs(out)
    assert contents(Workspace(out)) == expected


def test_the_submitted_script_has_what_a_sample_needed(cluster, collection, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    monkeypatch.chdir(ROOT)
    out = tmp_path / "out"
    command = ["curate", str(collection), "--out", str(out), "--executor", "slurm", "--submit", "--tasks=2"]
    assert cli.main([*command, "--workers", "1", "--sbatch=--partition=all"]) == 0
    job = capsys.readouterr().out.split()[1].strip(";")
    script = (out / "slurm/curate.sbatch").read_text()
    subprocess.run(["bash", "-n", str(out / "slurm/curate.sbatch")], check=True)
    assert "#SBATCH --array=0-1\n" in script
    assert "#SBATCH --partition=all\n" in script
    assert cluster.wait(job, WAIT_S) == {"0": "COMPLETED", "1": "COMPLETED"}, script
    shutil.rmtree(out / "slurm")
    assert contents(Workspace(out)) == expected
