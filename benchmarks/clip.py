"""PSNR, SSIM and the face metrics of one self-reenactment clip on one core: exprbench, a lower bound, typical scripts.

Also a second method on the same benchmark, for which all results on the reference are in the cache.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from benchmarks.clips import NUM_FRAMES, SIDE, Bench, make_bench
from benchmarks.common import Row, Table, arguments, compare, on_one_core, report, tree_cpu_s
from benchmarks.usual import lower_bound, score_by_scripts
from exprbench import Benchmark
from exprbench.benchmark import Case
from exprbench.scoring.cases import score_case
from exprbench.scoring.plan import ScoringPlan, choose_columns

METRICS = ("psnr", "ssim", "lmd", "mae", "aed", "apd")
OURS, SECOND = "exprbench", "exprbench, second method"
BOUND, SCRIPTS = "lower bound", "typical scripts"


def plan(bench: Bench, method: int = 0) -> ScoringPlan:
    """Return the plan for scoring one method."""
    return ScoringPlan(
        bench=Benchmark.open(bench.root),
        predictions=bench.methods[method],
        profile="mediapipe",
        columns=choose_columns(METRICS, "mediapipe"),
        missing="exclude",
        pairing="time",
        device="cpu",
        without={},
    )


def self_cases(bench: Bench) -> tuple[Case, ...]:
    """Return the cases to score."""
    return Benchmark.open(bench.root).select(track="self")


def alternatives(bench: Bench, caches: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """Return the alternatives; exprbench starts with an empty cache, the second method with the first one's."""
    case, numbers = self_cases(bench)[0], count()
    reference = bench.root / case.drivers[0]
    predicted = bench.methods[0] / f"{case.case_id}.mp4"

    def first() -> dict[str, float]:
        os.environ["EXPRBENCH_CACHE"] = str(caches / str(next(numbers)))
        return score_case(plan(bench), case).values

    return {
        OURS: first,
        SECOND: lambda: score_case(plan(bench, 1), case).values,
        BOUND: lambda: dict(zip(("ssim", "faces"), lower_bound(reference, predicted), strict=True)),
        SCRIPTS: lambda: score_by_scripts(reference, predicted),
    }


def tables(rows: list[Row], source: str) -> list[Table]:
    """Return the comparison with the lower bound and with scripts, and that of a second method with the first."""
    by_name = {row.name: row for row in rows}
    for row in rows:
        row.note = f"{60 / row.median_s:.1f} clips per minute, ssim {row.value['ssim']:.6f}"
        row.value = dict(row.value)
    work = f"{NUM_FRAMES} frames of {SIDE} x {SIDE}, one core, processor time ({source})"
    return [
        Table(
            title=f"All paired and face metrics of one clip: {work}",
            rows=[by_name[OURS], by_name[BOUND], by_name[SCRIPTS]],
        ),
        Table(title="A second method on the same benchmark", rows=[by_name[OURS], by_name[SECOND]]),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("clip", __doc__.splitlines()[0], argv)
    on_one_core()
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), 1, num_methods=2)
        rows = compare(alternatives(bench, Path(folder) / "caches"), args.repeats, clock=tree_cpu_s)
        report("clip", tables(rows, bench.source), args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
