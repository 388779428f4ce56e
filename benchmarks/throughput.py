"""Clips a minute: one worker, two, the whole machine, and the usual way, which is one process.

A worker's first clip, which waits for libraries and models to load, is not counted: a benchmark has hundreds.
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
from benchmarks.usual import usual
from exprbench.core.processes import num_cores, process_map
from exprbench.scoring.cases import score_case

CLIPS_A_WORKER = 3
USUAL = "the usual way"


def seconds_a_clip(bench: Bench, caches: Path, numbers: count, workers: int) -> float:
    """Of a run that begins with an empty cache, after every worker's first clip."""
    os.environ["EXPRBENCH_CACHE"] = str(caches / str(next(numbers)))
    cases = self_cases(bench)[: CLIPS_A_WORKER * workers]
    done = process_map(partial(score_case, plan(bench)), cases, workers=workers, label="score", unit="clip")
    times = [time.perf_counter() for _ in done]
    return (times[-1] - times[workers - 1]) / (len(times) - workers)


def ways(bench: Bench, caches: Path) -> dict[str, Callable[[], float]]:
    """Two workers first; each way says how many seconds a clip took."""
    numbers = count()
    known = dict.fromkeys((2, 1, num_cores()))
    ours = {f"{n} worker{'s' * (n > 1)}": partial(seconds_a_clip, bench, caches, numbers, n) for n in known}
    case = self_cases(bench)[0]
    videos = bench.root / case.drivers[0], bench.methods[0] / f"{case.case_id}.mp4"

    def one_process() -> float:
        start = time.perf_counter()
        usual(*videos)
        return time.perf_counter() - start

    return {**ours, USUAL: one_process}


class Clock:
    """A clock that goes forward by what the ways say, not by the time they take."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def of(self, way: Callable[[], float]) -> Callable[[], None]:
        """The same way; when it is done the clock has moved."""

        def told() -> None:
            self.now_s += way()

        return told


def in_words(rows: list[Row]) -> list[Row]:
    """Clips a minute as the note."""
    for row in rows:
        row.note = f"{60 / row.median_s:.1f} clips a minute"
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report."""
    args = arguments("throughput", __doc__.splitlines()[0], argv)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), CLIPS_A_WORKER * max(2, num_cores()))
        alternatives = ways(bench, Path(folder) / "caches")
        rows = compare({name: clock.of(way) for name, way in alternatives.items()}, args.repeats, clock=clock)
    reach = "one worker 1.8 times slower than two; the usual way 6 times slower than the whole machine"
    title = f"Seconds a clip, wall clock ({bench.source})"
    report("throughput", [Table(title=title, rows=in_words(rows), reach=reach)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
