"""Submit a curation to Slurm: a script for sbatch, with memory and time from a sample that is curated here."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json, write_text
from exprbench.core.processes import num_cores, resident_bytes
from exprbench.core.progress import say
from multiexpr import curation
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.indexing.listing import ENTRIES
from multiexpr.recipe import Recipe
from multiexpr.storage.parquet import num_rows, read_rows, shard_path, write_rows
from multiexpr.storage.workspace import Workspace

SAMPLE = 64  # number of videos
SAMPLED_SHARDS = 8
MEMORY_MARGIN, TIME_MARGIN = 1.5, 2.0
BUSY = 0.75  # load per core of other programs, from which on the processes of the sample wait for them
START_S = 600.0  # added to the time of a task: loading models, and waiting for the shards of other tasks
GIB = 1 << 30
VALUED = ("--tasks", "--sbatch", "--workers")  # options with a value that the command of a task does not repeat

SCRIPT = """\
#!/bin/bash
# Measured on {num_sampled} of {num_videos:,} videos: {core_s:.2f} s of a core per video, {own_gib:.2f} GiB of memory,
# and {worker_gib:.2f} GiB per worker. Captions by a model are not part of the time.
#SBATCH --job-name=multiexpr
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={workers}
#SBATCH --mem={memory_gib}G
#SBATCH --time={time}
#SBATCH --chdir={folder}
#SBATCH --output={logs}/%A_%a.log
{options}exec {command}
"""


@dataclass(frozen=True, kw_only=True)
class SampleCost:
    """Cost of curating a sample.

    Attributes:
        num_videos: number of videos in the collection.
        num_sampled: number of videos that were curated.
        core_s: seconds of a core per video.
        own_bytes: peak memory of the main process.
        worker_bytes: peak memory of each worker.
    """

    num_videos: int
    num_sampled: int
    core_s: float
    own_bytes: float
    worker_bytes: float


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """Options of a Slurm job.

    Attributes:
        tasks: number of tasks of the array.
        workers: number of workers, and of cores, per task.
        sbatch: more options of sbatch, such as `--partition=cpu`.
        folder: folder that the command starts in.
        command: command of a task.
    """

    tasks: int
    workers: int
    command: Sequence[str]
    sbatch: Sequence[str] = ()
    folder: Path = field(default_factory=Path.cwd)


def measure_sample(workspace: Workspace, recipe: Recipe, *, workers: int) -> SampleCost:
    """Curate some videos of a listed collection in a temporary folder, without captions, and return their cost."""
    sizes = {shard: num_rows(shard_path(workspace.entries, shard)) for shard in workspace.shards()}
    rows = list(_sample_rows(workspace, list(sizes)))
    num_workers = min(workers, num_cores(), len(rows))
    execution = ExecutionConfig(workers=num_workers)
    _warn_if_busy()
    say(f"submit: curating {len(rows)} of {sum(sizes.values()):,} videos with {num_workers} workers to measure them")
    with tempfile.TemporaryDirectory(prefix="multiexpr-") as folder, _peak_memory() as peak:
        sample = Workspace(Path(folder) / "sample")
        write_json(sample.source, workspace.collection())
        write_rows(shard_path(sample.entries, 0), rows, ENTRIES)
        recipe = curation.resolve_methods(recipe)
        curation.run_stage(curation.index_stage, sample, recipe, execution)
        curation.score(sample.root, recipe=recipe, execution=execution)
        curation.select(sample.root, recipe=recipe)
        curation.export(sample.root, recipe=recipe, execution=execution)
        core_s = _core_s(sample, num_workers) / len(rows)
    own, all_workers = peak
    return SampleCost(
        num_videos=sum(sizes.values()), num_sampled=len(rows), core_s=core_s, own_bytes=own,
        worker_bytes=all_workers / num_workers,
    )  # fmt: skip


def _warn_if_busy() -> None:
    """Print a line if other programs use the cores: the times, which are of the clock, are too long then."""
    load = os.getloadavg()[0]
    if load > BUSY * num_cores():
        say(f"submit: this machine is busy (load {load:.0f} on {num_cores()} cores), so the time limit is longer than "
            "needed; measure on an idle one, or set it with --sbatch=--time=1-00:00:00")  # fmt: skip


def _sample_rows(workspace: Workspace, shards: list[int]) -> Iterator[dict]:
    """Yield entries that are evenly spaced in the collection."""
    chosen = sorted({shards[round(i)] for i in np.linspace(0, len(shards) - 1, SAMPLED_SHARDS)})
    for shard in chosen:
        rows = [row for row in read_rows(shard_path(workspace.entries, shard)) if not row["problem"]]
        for i in sorted({round(i) for i in np.linspace(0, len(rows) - 1, SAMPLE // len(chosen))} if rows else ()):
            yield rows[i]


def _core_s(sample: Workspace, workers: int) -> float:
    """Return the seconds of cores that the stages took: of scoring without, of the others with loading models."""
    scores = [read_json(path) for path in sample.timings("score").glob("*.json")]
    others = [read_json(path) for name in ("index", "export") for path in sample.timings(name).glob("*.json")]
    return sum(sum(t["spent_s"].values()) for t in scores) + workers * sum(t["wall_s"] for t in others)


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """Measure the peak memory of this process, and of its descendants together, in bytes, while the block runs."""
    peak, ended = [0.0, 0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            import psutil

            own = psutil.Process().memory_info().rss
            peak[:] = max(peak[0], own), max(peak[1], resident_bytes([os.getpid()])[os.getpid()] - own)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def format_script(sample: SampleCost, job: SlurmJob, logs: Path) -> str:
    """Return the script of an array job with the memory and the time that a sample needed, and a margin."""
    memory = MEMORY_MARGIN * (sample.own_bytes + job.workers * sample.worker_bytes)
    task_s = START_S + TIME_MARGIN * sample.core_s * sample.num_videos / (job.tasks * job.workers)
    return SCRIPT.format(
        num_sampled=sample.num_sampled, num_videos=sample.num_videos, core_s=sample.core_s,
        own_gib=sample.own_bytes / GIB, worker_gib=sample.worker_bytes / GIB,
        last=job.tasks - 1, workers=job.workers, memory_gib=max(1, -int(-memory // GIB)),
        time=format_time(task_s), folder=job.folder, logs=logs,
        options="".join(f"#SBATCH {option}\n" for option in job.sbatch),
        command=shlex.join(job.command),
    )  # fmt: skip


def format_time(seconds: float) -> str:
    """Return a time limit of Slurm, `days-hours:minutes:seconds`, rounded up to minutes."""
    minutes = -int(-seconds // 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02d}:{minutes % 60:02d}:00"


def submit(script: str, workspace: Workspace) -> str:
    """Write the script to `slurm/curate.sbatch`, submit it, and return the id of the job.

    Raises:
        UserError: there is no sbatch on this machine, or it rejects the script.
    """
    path = workspace.root.resolve() / "slurm/curate.sbatch"
    write_text(path, script)
    if not shutil.which("sbatch"):
        raise UserError(f"there is no sbatch on this machine; submit {path} on a login node of the cluster")
    run = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, check=False)
    if run.returncode:
        reason = " ".join(run.stderr.split()) or f"status {run.returncode}"
        raise UserError(f"sbatch rejected {path} ({reason}); change its options with --sbatch")
    return run.stdout.strip().partition(";")[0]


def task_command(argv: Sequence[str], workers: int) -> list[str]:
    """Return the command of a task: this command without the options of --submit."""
    words, rest = [], iter(argv)
    for word in rest:
        if word in VALUED:
            next(rest)
        elif word not in ("--submit", "--dry-run") and not word.startswith(tuple(f"{name}=" for name in VALUED)):
            words.append(word)
    return [sys.executable, "-m", "multiexpr.cli", *words, "--workers", str(workers)]
