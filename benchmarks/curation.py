"""Time and memory of curation: against a plain script, against a lower bound, by number of clips, for select.

The clips are made from the videos in --media (`benchmarks.curation_clips`). Every measurement is a new process, and its
time includes loading the models. The plain script processes every fourth clip, or all with `--whole`. `--work` keeps
the clips for the next run, `--only` runs one table.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Row, Table, report
from benchmarks.curation_clips import make_collection
from benchmarks.curation_rows import write_synthetic
from exprbench.core.cli_base import Parser
from tests.videos import numbered, write

HERE = Path(__file__).resolve().parents[1]
MEDIA = HERE.parent / "shared" / "data"
PLAIN_STRIDE = 4  # the plain script processes every fourth clip, and its time is extrapolated
MANY, FEW = 4000, 500  # numbers of clips in the memory table
MILLION_SHARDS, SHARD = 1000, 1000

SCORE = """
import json, resource, sys, time
import multiexpr
from multiexpr.execution.executors import ExecutionConfig
start = time.perf_counter()
count = multiexpr.score(sys.argv[1], execution=ExecutionConfig(workers=int(sys.argv[2]), devices=("cpu",)))
seconds = time.perf_counter() - start
usage = {name: resource.getrusage(getattr(resource, "RUSAGE_" + name)) for name in ("SELF", "CHILDREN")}
print(json.dumps({"seconds": seconds, "clips": count, **{name: u.ru_maxrss / 1e3 for name, u in usage.items()}}))
"""
SELECT = """
import json, resource, sys, time
from pathlib import Path
from multiexpr.recipe import load_recipe
from multiexpr.selection.verdicts import select
from multiexpr.storage.workspace import Workspace
start = time.perf_counter()
funnel = select(Workspace(Path(sys.argv[1])), load_recipe())
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "clips": funnel.num_clips, "kept": funnel.num_kept,
                  "SELF": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
"""


def run_json(*command: object) -> dict[str, Any]:
    """Run a Python process and return the last line of its output, parsed as JSON."""
    run = subprocess.run(
        [sys.executable, *map(str, command)], cwd=HERE, capture_output=True, text=True, check=False, env=os.environ
    )
    if run.returncode:
        raise SystemExit(f"{' '.join(map(str, command))[:200]}:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def index(clips: Path, out: Path, *more: str) -> None:
    """Index a collection in a new folder."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "multiexpr.cli", "index", str(clips), "--out", str(out), *more]
    subprocess.run(command, cwd=HERE, check=True, capture_output=True)


def score(clips: Path, out: Path, workers: int) -> dict[str, Any]:
    """Index and score a collection in a new folder, and return time and memory of scoring."""
    index(clips, out)
    return run_json("-c", SCORE, out, workers)


def row(name: str, seconds: Sequence[float], firsts: Sequence[float], **more: Any) -> Row:
    """Return the row of one alternative, given its times and those of the first alternative in the same rounds."""
    slower = float(np.median(np.divide(seconds, firsts)))
    return Row(name=name, median_s=float(np.median(seconds)), fastest_s=min(seconds), times_slower=slower, **more)


def against_plain(clips: Path, work: Path, *, whole: bool) -> Table:
    """Compare scoring with the plain script, which runs every stage on every clip in one process."""
    paths = sorted(clips.glob("*.mp4"))
    chosen = paths if whole else paths[::PLAIN_STRIDE]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds = {f"multiexpr score, {n} workers": score(clips, work / "ours", n)["seconds"] for n in (cores, 1)}
    plain_s = run_json("-m", "benchmarks.curation_plain", *chosen)["seconds"]
    seconds["plain script, one process"] = plain_s * len(paths) / len(chosen)
    first = next(iter(seconds.values()))
    rows = [row(name, [s], [first], note=f"{len(paths) / s:.2f} clips per second") for name, s in seconds.items()]
    rows[-1].note += "" if whole else f"; from {len(chosen)} clips"
    kept = run_json("-c", SELECT, work / "ours")
    return Table(title=f"{len(paths)} clips of 5 s, {kept['kept']} kept", rows=rows)


def against_lower_bound(clips: Path, work: Path, repeats: int) -> Table:
    """Compare one worker with decoding and models alone, in turns."""
    ours, bounds, arithmetic = [], [], []
    for _ in range(repeats):
        ours.append(score(clips, work / "one", 1)["seconds"])
        parts = run_json("-m", "benchmarks.curation_floor", work / "one")
        arithmetic.append(parts.pop("arithmetic"))
        bounds.append(sum(parts.values()))
    both = np.add(bounds, arithmetic).tolist()
    rows = [
        row("lower bound: decoding and models", bounds, bounds),
        row("lower bound and the scorers' arithmetic", both, bounds),
        row("multiexpr score, 1 worker", ours, bounds),
    ]
    return Table(title="Above the lower bound", rows=rows)


def memory(clips: Path, work: Path) -> Table:
    """Measure the peak memory of the main process and of the largest worker, by number of clips."""
    rows = []
    kinds = sorted({path.name.partition("_")[0] for path in clips.glob("*.mp4")})
    for copies, short in ((1, False), (4, False), (FEW, True), (MANY, True)):
        folder = work / f"many-{copies}"
        _link_copies(clips, folder, kinds, copies, short=short)
        index(folder, work / "memory", "--no-content-check")
        result = run_json("-c", SCORE, work / "memory", 2)
        name = f"{result['clips']} clips {'dropped by their length' if short else 'of every kind'}"
        note = f"largest worker {result['CHILDREN']:.0f} MB"
        rows.append(Row(name=name, median_s=result["seconds"], fastest_s=result["seconds"],
                        times_slower=result["SELF"] / (rows[0].peak_mb if rows else result["SELF"]),
                        peak_mb=result["SELF"], note=note))  # fmt: skip
    return Table(title="Memory of the main process (`times slower` is the ratio of memory here)", rows=rows)


def _link_copies(clips: Path, folder: Path, kinds: list[str], copies: int, *, short: bool) -> None:
    """Link one clip per kind under many names; with `short`, a clip that the default recipe drops by its length."""
    folder.mkdir(parents=True)
    if short:
        write(folder.parent / "short.mp4", [numbered(i) for i in range(5)])
    sources = [folder.parent / "short.mp4"] if short else [next(clips.glob(f"{kind}_*")) for kind in kinds]
    for source in sources:
        for number in range(copies):
            os.link(source, folder / f"{source.stem}-{number:05d}.mp4")


def million(work: Path, repeats: int) -> Table:
    """Measure `select` on up to a million synthetic clips."""
    rows, first = [], 0.0
    for num_shards in (MILLION_SHARDS // 10, MILLION_SHARDS):
        out = work / f"select-{num_shards}"
        write_synthetic(out, num_shards, SHARD)
        runs = [run_json("-c", SELECT, out) for _ in range(repeats)]
        seconds = [run["seconds"] for run in runs]
        first = first or float(np.median(seconds))
        rows.append(row(f"select, {runs[0]['clips']:,} clips", seconds, [first] * repeats,
                        peak_mb=max(run["SELF"] for run in runs)))  # fmt: skip
    return Table(title="Verdicts", rows=rows)


def arguments(argv: Sequence[str] | None) -> Any:
    """Parse the command line."""
    parser = Parser(
        prog="python -m benchmarks.curation",
        description=__doc__.splitlines()[0],
        examples="  python -m benchmarks.curation --media videos/ --whole --json curation.json",
    )
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder of the videos that clips are made from")
    parser.add_argument("--clips", type=int, default=120, help="number of clips (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="run the plain script on all clips")
    parser.add_argument("--only", choices=("plain", "floor", "memory", "select"), help="table to run (default: all)")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of floor and select (default: %(default)s)")
    parser.add_argument("--work", type=Path, help="folder that keeps the clips for other runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tables and report them."""
    args = arguments(argv)
    if not (args.media / "multi").is_dir():
        raise SystemExit(f"error: there are no videos in {args.media}; give a folder with driving/, multi/ and raw/")
    with tempfile.TemporaryDirectory(prefix="curation-") as temporary:
        clips, work = (args.work or Path(temporary)) / "clips", Path(temporary)
        if not clips.exists() and args.only != "select":
            make_collection(clips, args.media, args.clips)
        tables = {
            "plain": lambda: against_plain(clips, work, whole=args.whole),
            "floor": lambda: against_lower_bound(clips, work, args.repeats),
            "memory": lambda: memory(clips, work),
            "select": lambda: million(work, args.repeats),
        }
        report("curation", [measure() for name, measure in tables.items() if args.only in (None, name)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
