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
from typing import Any, NoReturn

import psutil

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
    parent, start = os.getppid(), time.monotonic()
    peak, peak_gpu, next_gpu, timed_out = 0, 0, 0.0, False
    with Path(request["log"]).open("ab") as log:
        try:
            process = subprocess.Popen(
                request["argv"],
                cwd=request["cwd"],
                env=request["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return {"status": 127, "error": str(error), "seconds": 0.0, "timed_out": False}
        try:
            while process.poll() is None and os.getppid() == parent and not timed_out:
                elapsed_s = time.monotonic() - start
                timed_out = elapsed_s > request["timeout_s"]
                peak = max(peak, memory_bytes())
                if request["gpu"] and elapsed_s >= next_gpu:
                    next_gpu = elapsed_s + GPU_INTERVAL_S
                    peak_gpu = max(peak_gpu, gpu_memory_bytes(request["gpu"]))
                time.sleep(POLL_S)
            status = process.poll()  # None if it did not end by itself
        finally:
            end_descendants()
    return {
        "status": status,
        "seconds": round(time.monotonic() - start, 3),
        "timed_out": timed_out,
        "peak_memory_bytes": peak,
        "peak_gpu_memory_bytes": peak_gpu or None,
    }


def memory_bytes() -> int:
    """Return the resident memory of all descendants."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def gpu_memory_bytes(gpu: str) -> int:
    """Return the memory in use on a GPU, 0 if it cannot be read."""
    query = ["nvidia-smi", "--id", gpu, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10)
        return int(done.stdout.split()[0]) << 20
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return 0


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
