"""How long `exprbench --help` takes, and `exprbench score` of a benchmark that is already scored."""

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


def command(*words: object) -> Callable[[], None]:
    """Run Python with these words."""
    line = [sys.executable, *map(str, words)]
    return lambda: subprocess.run(line, check=True, capture_output=True) and None


def score(bench: Bench, out: Path) -> Callable[[], None]:
    """The command that scores a method."""
    options = ("--benchmark", bench.root, "--predictions", bench.methods[0], "--method", "m", "--track", "self")
    return command("-m", "exprbench.cli", "score", *options, "--metrics", ",".join(METRICS), "--out", out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report."""
    args = arguments("startup", __doc__.splitlines()[0], argv)
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), NUM_CLIPS)
        os.environ["EXPRBENCH_CACHE"] = str(Path(folder) / "cache")
        again = score(bench, Path(folder) / "m.json")
        (first,) = compare({f"scoring {NUM_CLIPS} clips": again}, 1)
        ways = {
            "scoring them again": again,
            "exprbench --help": command("-m", "exprbench.cli", "--help"),
            "an empty Python program": command("-c", "pass"),
        }
        rows = compare(ways, args.repeats, warm_up=True)
    first.times_slower = first.median_s / rows[0].median_s
    first.note = "once"
    title = f"Starting, wall clock ({bench.source})"
    report("startup", [Table(title=title, rows=[*rows, first], reach="again: 3 s; --help: 0.5 s")], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
