"""GPUs: their memory and names, and a lock on each so that one job at a time runs on it."""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from exprbench.core.cache import cache_root
from exprbench.core.errors import UserError

WAIT_S = 0.5
QUERY_S = 10.0
MIB = 1 << 20


def check_gpus(gpus: Sequence[str]) -> tuple[str, ...]:
    """Return indices of GPUs; an empty one is a slot without a GPU.

    Raises:
        UserError: there are none, or one is given twice.
    """
    named = [gpu for gpu in gpus if gpu]
    if not gpus or len(set(named)) < len(named) or "none" in named:
        raise UserError(f"--gpus is {','.join(gpus)!r}; expected different indices like 0,1, or 'none'")
    return tuple(gpus)


@contextmanager
def hold_gpu(gpus: Sequence[str]) -> Iterator[str]:
    """Yield the index of a GPU that no other job of this user's runs on, waiting for one; empty for a slot without."""
    if "" in gpus:
        yield ""
        return
    while True:
        for gpu in gpus:
            if lock := _acquire(gpu):
                try:
                    yield gpu
                finally:
                    lock.release()
                return
        time.sleep(WAIT_S)


def busy_gpus(gpus: Sequence[str]) -> list[str]:
    """Return the GPUs on which a job of this user's runs now."""
    locks = {gpu: _acquire(gpu) for gpu in gpus if gpu}
    for lock in filter(None, locks.values()):
        lock.release()
    return [gpu for gpu, lock in locks.items() if not lock]


def _acquire(gpu: str) -> Any:
    """Return the acquired lock of a GPU, None if another job has it."""
    from filelock import FileLock, Timeout

    folder = cache_root() / "locks" / "gpu"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / re.sub(r"\W", "_", gpu))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def used_memory_bytes(gpu: str) -> int:
    """Return the memory in use on a GPU, 0 if it cannot be read."""
    text = _query(gpu, "memory.used")
    return int(text) * MIB if text.isdigit() else 0


def total_memory_bytes(gpu: str) -> int:
    """Return the memory of a GPU, 0 if it cannot be read."""
    text = _query(gpu, "memory.total")
    return int(text) * MIB if text.isdigit() else 0


def gpu_name(gpu: str) -> str:
    """Return the product name of a GPU, empty if it cannot be read."""
    return _query(gpu, "name") if gpu else ""


def _query(gpu: str, field: str) -> str:
    command = ["nvidia-smi", "--id", gpu, f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=QUERY_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter(done.stdout.splitlines()), "").strip()
