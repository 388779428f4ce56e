"""Do two methods that are scored at once on one benchmark wait for each other?

Two `exprbench score` commands with an empty cache run one after the other, and at once. What both need (the faces of
the references) is computed by one of them while the other waits for it, so at once they should not take longer.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from benchmarks.clips import Bench, make_bench
from benchmarks.common import Row, Table, arguments, compare, report
from exprbench.core.processes import num_cores

CLIPS_PER_WORKER = 1
METRICS = "psnr,ssim,lmd,mae,aed,apd"


def start(bench: Bench, method: int, cache: Path, workers: int) -> subprocess.Popen:
    """Start a command that scores a method with a cache, without noise floors."""
    out = cache / f"{method}.json"
    folders = ["--benchmark", str(bench.root), "--predictions", str(bench.methods[method]), "--out", str(out)]
    options = ["--method", f"method {method}", "--metrics", METRICS, "--track", "self", "--workers", str(workers)]
    command = [sys.executable, "-m", "exprbench.cli", "score", *folders, *options, "--no-floors"]
    environment = {**os.environ, "EXPRBENCH_CACHE": str(cache)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def one_after_the_other(bench: Bench, cache: Path, workers: int) -> list[int]:
    """Score both methods, the second after the first, and return the exit statuses."""
    return [start(bench, method, cache, workers).wait() for method in range(2)]


def at_once(bench: Bench, cache: Path, workers: int) -> list[int]:
    """Score both methods at the same time and return the exit statuses."""
    running = [start(bench, method, cache, workers) for method in range(2)]
    return [process.wait() for process in running]


def measure(folder: Path, repeats: int, workers: int, num_clips: int) -> tuple[list[Row], str]:
    """Return the times of both orders, and a description of the clips.

    Raises:
        RuntimeError: a command failed.
    """
    bench = make_bench(folder, num_clips, num_methods=2)
    numbers = count()

    def run(order) -> None:
        cache = folder / f"cache{next(numbers)}"
        cache.mkdir()
        statuses = order(bench, cache, workers)
        if any(statuses):
            raise RuntimeError(f"exprbench score ended with exit statuses {statuses}; expected 0")

    orders = {"one after the other": one_after_the_other, "at once": at_once}
    rows = compare({name: lambda order=order: run(order) for name, order in orders.items()}, repeats)
    return rows, bench.source


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("two_at_once", __doc__.splitlines()[0], argv)
    workers = num_cores()
    with tempfile.TemporaryDirectory() as folder:
        rows, source = measure(Path(folder), args.repeats, workers, CLIPS_PER_WORKER * workers)
    title = f"Two methods on one benchmark, {workers} workers each, wall-clock time ({source})"
    report("two_at_once", [Table(title=title, rows=rows)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
