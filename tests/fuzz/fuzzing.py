"""Read damaged files and check that each is read or ends in a named error, in time, and leaves nothing behind."""

import os
import random
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.fuzz.damage import damaged
from tests.fuzz.originals import originals
from tests.fuzz.readers import ENDS, read

LIMIT_S = 30.0  # of processor time for a whole file, by this process and its decoders
MAX_LEAK_MB = 300


@dataclass
class Findings:
    """How files ended, and what should not have happened."""

    ends: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    leaked_mb: float = 0.0


def fuzz(num_variants, seed):
    """Damage and read so many files."""
    findings = Findings()
    with temporary_folder() as folder:
        (folder / "originals").mkdir()
        whole = originals(folder / "originals")
        read_all(folder, whole)
        before = held()
        for i in range(num_variants):
            rng = random.Random(f"{seed}-{i}")
            name = rng.choice(sorted(whole))
            data, done = damaged(whole[name], rng)
            path = folder / f"variant{Path(name).suffix}"
            path.write_bytes(data)
            _note(findings, f"variant {i} ({name}: {', '.join(done)})", name, path, rng)
            path.unlink()
        _compare(findings, before, held(), folder)
    return findings


@contextmanager
def temporary_folder():
    """A folder in which all temporary files of this process and of its decoders lie, so that none is missed."""
    kept = tempfile.tempdir, os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tmp").mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(Path(folder) / "tmp")
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = kept[0]
            os.environ.pop("TMPDIR")
            os.environ.update({"TMPDIR": kept[1]} if kept[1] else {})


def read_all(folder, whole):
    """The originals read without a fault; decoders and libraries are there from now on."""
    for name in whole:
        assert set(read(name, folder / "originals" / name, random.Random(0))) <= {"frames", "read"}, name


def _note(findings, what, name, path, rng):
    start = _processor_s()
    try:
        findings.ends.update(read(name, path, rng))
    except Exception as error:  # this is what is looked for
        findings.faults.append(f"{what}: {type(error).__name__}: {error}")
    took_s = _processor_s() - start
    if took_s > findings.slowest_s:
        findings.slowest_s, findings.slowest = took_s, what
    if took_s > LIMIT_S:
        findings.faults.append(f"{what}: {took_s:.0f} s")


def _processor_s():
    """Return the seconds that this process and its children have computed, those that have ended included."""
    this = psutil.Process()
    return sum(this.cpu_times()[:4]) + sum(sum(child.cpu_times()[:2]) for child in this.children())


@dataclass
class Held:
    """What a process has open."""

    children: int
    files: int
    memory_mb: float


def held():
    """By this process; memory with that of the decoders it keeps. Everything is 0 where there is no /proc."""
    children = _children()
    files = Path("/proc/self/fd")
    return Held(
        children=len(children),
        files=len(list(files.iterdir())) if files.is_dir() else 0,
        memory_mb=sum(map(_memory_mb, ["self", *children])),
    )


def _children():
    return [c for path in Path("/proc/self/task").glob("*/children") for c in path.read_text().split()]


def _memory_mb(pid):
    statm = Path(f"/proc/{pid}/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.exists() else 0


def _compare(findings, before, after, folder):
    findings.faults += [f"an end without a name: {end}" for end in findings.ends if end not in ENDS]
    findings.leaked_mb = after.memory_mb - before.memory_mb
    left = [path.name for path in (folder / "tmp").rglob("*")]
    if after.children > max(1, before.children):
        findings.faults.append(f"{after.children} processes are left; there were {before.children}")
    if after.files > before.files + 2:
        findings.faults.append(f"{after.files} files are open; there were {before.files}")
    if findings.leaked_mb > MAX_LEAK_MB:
        findings.faults.append(f"{findings.leaked_mb:.0f} MB more are held than before")
    if left:
        findings.faults.append(f"temporary files are left: {', '.join(left[:5])}")
