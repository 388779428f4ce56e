"""Curation: beside the plain way, above its floor, its memory over the number of clips, and a million verdicts.

Clips are made of the films in --media (`benchmarks.curation_clips`). Everything runs in processes of its own, models
are loaded within the measured time. The plain way does every fourth clip, and with `--whole` every one; `--work` keeps
the clips for the next run, `--only` makes one table.
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
from benchmarks.curation_rows import made_up
from exprbench.core.cli_base import Parser
from tests.videos import numbered, write

HERE = Path(__file__).resolve().parents[1]
MEDIA = HERE.parent / "shared" / "data"
EVERY = 4  # clip the plain way does, for the time of all
MANY, FEW = 4000, 500  # clips of the memory table
MILLION_SHARDS, SHARD = 1000, 1000

SCORE = """
import json, resource, sys, time
import multiexpr
from multiexpr.execution.executors import Machines
start = time.perf_counter()
count = multiexpr.score(sys.argv[1], machines=Machines(workers=int(sys.argv[2]), devices=("cpu",)))
seconds = time.perf_counter() - start
used = {who: resource.getrusage(getattr(resource, "RUSAGE_" + who)) for who in ("SELF", "CHILDREN")}
print(json.dumps({"seconds": seconds, "clips": count, **{who: u.ru_maxrss / 1e3 for who, u in used.items()}}))
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


def told(*command: object) -> dict[str, Any]:
    """What a Python process says last, as JSON."""
    run = subprocess.run(
        [sys.executable, *map(str, command)], cwd=HERE, capture_output=True, text=True, check=False, env=os.environ
    )
    if run.returncode:
        raise SystemExit(f"{' '.join(map(str, command))[:200]}:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def index(clips: Path, out: Path, *more: str) -> None:
    """List a collection in a fresh folder."""
    shutil.rmtree(out, ignore_errors=True)
    told_nothing = [sys.executable, "-m", "multiexpr.cli", "index", str(clips), "--out", str(out), *more]
    subprocess.run(told_nothing, cwd=HERE, check=True, capture_output=True)


def scored(clips: Path, out: Path, workers: int) -> dict[str, Any]:
    """Score a collection from nothing."""
    index(clips, out)
    return told("-c", SCORE, out, workers)


def row(name: str, seconds: Sequence[float], firsts: Sequence[float], **more: Any) -> Row:
    """Several rounds of a way, beside the first way's."""
    slower = float(np.median(np.divide(seconds, firsts)))
    return Row(name=name, median_s=float(np.median(seconds)), fastest_s=min(seconds), times_slower=slower, **more)


def beside_plain(clips: Path, work: Path, *, whole: bool) -> Table:
    """All workers against one process that does everything with every clip."""
    paths = sorted(clips.glob("*.mp4"))
    chosen = paths if whole else paths[::EVERY]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ways = {f"multiexpr score, {n} workers": scored(clips, work / "ours", n)["seconds"] for n in (cores, 1)}
    plain = told("-m", "benchmarks.curation_plain", *chosen)["seconds"]
    ways["plain, one process"] = plain * len(paths) / len(chosen)
    first = next(iter(ways.values()))
    rows = [
        row(name, [taken], [first], note=f"{len(paths) / taken:.2f} clips a second") for name, taken in ways.items()
    ]
    rows[-1].note += "" if whole else f"; from {len(chosen)} clips"
    kept = told("-c", SELECT, work / "ours")
    return Table(title=f"{len(paths)} clips of 5 s, {kept['kept']} kept", rows=rows)


def above_floor(clips: Path, work: Path, repeats: int) -> Table:
    """One worker against decoding and models alone, in turns."""
    ours, floors, arithmetic = [], [], []
    for _ in range(repeats):
        ours.append(scored(clips, work / "one", 1)["seconds"])
        parts = told("-m", "benchmarks.curation_floor", work / "one")
        arithmetic.append(parts.pop("arithmetic"))
        floors.append(sum(parts.values()))
    both = np.add(floors, arithmetic).tolist()
    rows = [
        row("floor: planned frames and models", floors, floors),
        row("the same and the scorers' arithmetic", both, floors),
        row("multiexpr score, 1 worker", ours, floors),
    ]
    return Table(title="Above the floor", rows=rows)


def memory(clips: Path, work: Path) -> Table:
    """Peak memory of the parent and of the largest worker, by number of clips."""
    rows = []
    kinds = sorted({path.name.partition("_")[0] for path in clips.glob("*.mp4")})
    for copies, cheap in ((1, False), (4, False), (FEW, True), (MANY, True)):
        folder = work / f"many-{copies}"
        _copies(clips, folder, kinds, copies, cheap=cheap)
        index(folder, work / "memory", "--no-content-check")
        found = told("-c", SCORE, work / "memory", 2)
        what = "dropped by their length" if cheap else "of every kind"
        name = f"{found['clips']} clips {what}"
        note = f"largest worker {found['CHILDREN']:.0f} MB"
        rows.append(Row(name=name, median_s=found["seconds"], fastest_s=found["seconds"],
                        times_slower=found["SELF"] / (rows[0].peak_mb if rows else found["SELF"]),
                        peak_mb=found["SELF"], note=note))  # fmt: skip
    return Table(title="Memory (`times slower` is memory here)", rows=rows)


def _copies(clips: Path, folder: Path, kinds: list[str], copies: int, *, cheap: bool) -> None:
    """A few clips under many names; cheap ones are shorter than any recipe takes."""
    folder.mkdir(parents=True)
    if cheap:
        write(folder.parent / "short.mp4", [numbered(i) for i in range(5)])
    sources = [folder.parent / "short.mp4"] if cheap else [next(clips.glob(f"{kind}_*")) for kind in kinds]
    for source in sources:
        for number in range(copies):
            os.link(source, folder / f"{source.stem}-{number:05d}.mp4")


def million(work: Path, repeats: int) -> Table:
    """Verdicts on a million made-up clips, of all fates."""
    rows, first = [], 0.0
    for num_shards in (MILLION_SHARDS // 10, MILLION_SHARDS):
        out = work / f"select-{num_shards}"
        made_up(out, num_shards, SHARD)
        runs = [told("-c", SELECT, out) for _ in range(repeats)]
        seconds = [run["seconds"] for run in runs]
        first = first or float(np.median(seconds))
        rows.append(row(f"select, {runs[0]['clips']:,} clips", seconds, [first] * repeats,
                        peak_mb=max(run["SELF"] for run in runs)))  # fmt: skip
    return Table(title="Verdicts", rows=rows)


def arguments(argv: Sequence[str] | None) -> Any:
    """The options."""
    parser = Parser(
        prog="python -m benchmarks.curation",
        description=__doc__.splitlines()[0],
        examples="  python -m benchmarks.curation --media videos/ --whole --json curation.json",
    )
    parser.add_argument("--media", type=Path, default=MEDIA, help="films the clips are made of")
    parser.add_argument("--clips", type=int, default=120, help="how many (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="the plain way on every clip")
    parser.add_argument("--only", choices=("plain", "floor", "memory", "select"), help="one table alone")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of what is quick (default: %(default)s)")
    parser.add_argument("--work", type=Path, help="keep the clips in this folder, for other runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE as well")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report."""
    args = arguments(argv)
    if not (args.media / "multi").is_dir():
        raise SystemExit(f"error: {args.media} holds no films; --media names a folder with driving/, multi/ and raw/")
    with tempfile.TemporaryDirectory(prefix="curation-") as temporary:
        clips, work = (args.work or Path(temporary)) / "clips", Path(temporary)
        if not clips.exists() and args.only != "select":
            make_collection(clips, args.media, args.clips)
        tables = {
            "plain": lambda: beside_plain(clips, work, whole=args.whole),
            "floor": lambda: above_floor(clips, work, args.repeats),
            "memory": lambda: memory(clips, work),
            "select": lambda: million(work, args.repeats),
        }
        report("curation", [make() for name, make in tables.items() if args.only in (None, name)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
