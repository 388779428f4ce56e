"""Clips per minute with one worker, two and all cores, and of typical scripts in one process.

The first clip of each worker, which includes loading libraries and models, is excluded: a benchmark has hundreds.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.clip import plan, self_cases
from benchmarks.clips import Bench, make_bench
from benchmarks.common import Row, Table, arguments, compare, report
from benchmarks.usual import score_by_scripts
from exprbench.core.processes import num_cores, process_map
from exprbench.scoring.cases import score_case

CLIPS_PER_WORKER = 3
SCRIPTS = "typical scripts"


def seconds_per_clip(bench: Bench, caches: Path, numbers: count, workers: int) -> float:
    """Return the time per clip of a run with an empty cache, without the first clip of each worker."""
    os.environ["EXPRBENCH_CACHE"] = str(caches / str(next(numbers)))
    cases = self_cases(bench)[: CLIPS_PER_WORKER * workers]
    results = process_map(partial(score_case, plan(bench)), cases, workers=workers, label="score", unit="clip")
    times = [time.perf_counter() for _ in results]
    return (times[-1] - times[workers - 1]) / (len(times) - workers)


def alternatives(bench: Bench, caches: Path) -> dict[str, Callable[[], float]]:
    """Return functions that return the seconds per clip, two workers first."""
    numbers = count()
    worker_counts = dict.fromkeys((2, 1, num_cores()))
    ours = {f"{n} worker{'s' * (n > 1)}": partial(seconds_per_clip, bench, caches, numbers, n) for n in worker_counts}
    case = self_cases(bench)[0]
    videos = bench.root / case.drivers[0], bench.methods[0] / f"{case.case_id}.mp4"

    def one_process() -> float:
        start = time.perf_counter()
        score_by_scripts(*videos)
        return time.perf_counter() - start

    return {**ours, SCRIPTS: one_process}


class Clock:
    """Clock that advances by the seconds that functions return, instead of the time they take."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def advancing(self, function: Callable[[], float]) -> Callable[[], None]:
        """Return a function that advances the clock by the result of another."""

        def run() -> None:
            self.now_s += function()

        return run


def with_rates(rows: list[Row]) -> list[Row]:
    """Set the note of each row to its clips per minute."""
    for row in rows:
        row.note = f"{60 / row.median_s:.1f} clips per minute"
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("throughput", __doc__.splitlines()[0], argv)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), CLIPS_PER_WORKER * max(2, num_cores()))
        functions = alternatives(bench, Path(folder) / "caches")
        rows = compare({name: clock.advancing(f) for name, f in functions.items()}, args.repeats, clock=clock)
    title = f"Seconds per clip, wall-clock time ({bench.source})"
    report("throughput", [Table(title=title, rows=with_rates(rows))], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
