"""Run one process of a method, with a time limit, and leave none of its descendants behind.

`python -m baselines.supervisor REQUEST.json` is a process of its own, so that a killed runner still ends the method: it
watches its parent, and on Linux adopts descendants that leave the process group.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import psutil

from baselines.gpus import used_memory_bytes
from exprbench.core.child_process import PARENT
from exprbench.core.files import write_json

POLL_S = 0.2
GRACE_S = 2.0
GPU_INTERVAL_S = 2.0
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command of the request file; write how it ended to the request's `result`, and return 0."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    signal.signal(signal.SIGTERM, _exit)
    adopt_descendants()
    write_json(Path(request["result"]), supervise(request))
    return 0


def _exit(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def adopt_descendants() -> None:
    """Become the parent of orphaned descendants, where the system supports it."""
    with suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def supervise(request: dict[str, Any]) -> dict[str, Any]:
    """Return how a command ended: status, seconds, whether it timed out, and peak memory in bytes.

    Args:
        request: argv, cwd, env, log (appended to), timeout_s and gpu (an index, or empty).
    """
    start = time.monotonic()
    with Path(request["log"]).open("ab") as log:
        try:
            process = _start(request, log)
        except OSError as error:
            return {"status": 127, "error": str(error), "seconds": 0.0, "timed_out": False}
        try:
            peaks = _watch(process, request, start)
            status = process.poll()  # None if it did not end by itself
        finally:
            end_descendants()
    return {"status": status, "seconds": round(time.monotonic() - start, 3), **peaks}


def _start(request: dict[str, Any], log: IO[bytes]) -> subprocess.Popen:
    return subprocess.Popen(
        request["argv"],
        cwd=request["cwd"],
        env=request["env"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _watch(process: subprocess.Popen, request: dict[str, Any], start: float) -> dict[str, Any]:
    """Wait until the command ends, its time is over, or this process has lost its parent; return its peaks."""
    parent = int(os.environ.get(PARENT, os.getppid()))  # os.getppid() differs if it ended before this process asked
    peak, peak_gpu, next_gpu_s, timed_out = 0, 0, 0.0, False
    while process.poll() is None and os.getppid() == parent and not timed_out:
        elapsed_s = time.monotonic() - start
        timed_out = elapsed_s > request["timeout_s"]
        peak = max(peak, memory_bytes())
        if request["gpu"] and elapsed_s >= next_gpu_s:
            next_gpu_s = elapsed_s + GPU_INTERVAL_S
            peak_gpu = max(peak_gpu, used_memory_bytes(request["gpu"]))
        time.sleep(POLL_S)
    return {"timed_out": timed_out, "peak_memory_bytes": peak, "peak_gpu_memory_bytes": peak_gpu or None}


def memory_bytes() -> int:
    """Return the resident memory of all descendants."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def end_descendants() -> None:
    """End all descendants: by SIGTERM, then by SIGKILL, until there are none."""
    deadline = time.monotonic() + GRACE_S
    while children := _alive():
        for child in children:
            with suppress(psutil.Error):
                child.terminate() if time.monotonic() < deadline else child.kill()
        time.sleep(POLL_S / 4)


def _alive() -> list[psutil.Process]:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    return [child for child in psutil.Process().children(recursive=True) if _is_running(child)]


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(main())
