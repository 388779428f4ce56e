"""Time of `exprbench --help`, and of `exprbench score` on a benchmark that is scored already."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.clip import METRICS
from benchmarks.clips import Bench, make_bench
from benchmarks.common import Table, arguments, compare, report

NUM_CLIPS = 2


def command(*arguments: object) -> Callable[[], None]:
    """Return a function that runs Python with these arguments."""
    line = [sys.executable, *map(str, arguments)]
    return lambda: subprocess.run(line, check=True, capture_output=True) and None


def score(bench: Bench, out: Path) -> Callable[[], None]:
    """Return a function that runs the command that scores a method."""
    options = ("--benchmark", bench.root, "--predictions", bench.methods[0], "--method", "m", "--track", "self")
    return command("-m", "exprbench.cli", "score", *options, "--metrics", ",".join(METRICS), "--out", out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("startup", __doc__.splitlines()[0], argv)
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), NUM_CLIPS)
        os.environ["EXPRBENCH_CACHE"] = str(Path(folder) / "cache")
        run = score(bench, Path(folder) / "m.json")
        (first,) = compare({f"scoring {NUM_CLIPS} clips": run}, 1)
        alternatives = {
            f"scoring {NUM_CLIPS} clips again": run,
            "exprbench --help": command("-m", "exprbench.cli", "--help"),
            "an empty Python program": command("-c", "pass"),
        }
        rows = compare(alternatives, args.repeats, warm_up=True)
    first.times_slower = first.median_s / rows[0].median_s
    first.note = "one run"
    title = f"Start-up, wall-clock time ({bench.source})"
    report("startup", [Table(title=title, rows=[*rows, first])], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
