"""What every benchmark shares: alternatives timed in turns, a table, a description of the machine, JSON."""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from exprbench.core.cli_base import Parser

MIN_REPEATS = 5
HEAD = ("", "median", "fastest", "times slower", "memory", "")
STATUS = Path("/proc/self/status")
PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "torchmetrics",
    "pytorch-fid",
    "scikit-image",
    "opencv-python",
    "mediapipe",
    "av",
)


@dataclass(kw_only=True)
class Row:
    """One way of doing a thing. `times_slower` is the median, over rounds, of its time over the first way's."""

    name: str
    median_s: float
    fastest_s: float
    times_slower: float
    value: Any = None
    peak_mb: float | None = None
    note: str = ""


@dataclass(kw_only=True)
class Table:
    """A question and its rows; `reach` says in words what the first row was to reach."""

    title: str
    rows: list[Row]
    reach: str = ""


@dataclass(kw_only=True)
class Report:
    """Everything a run of a script has to say."""

    script: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    tables: list[Table] = field(default_factory=list)


def compare(
    ways: Mapping[str, Callable[[], Any]],
    repeats: int = MIN_REPEATS,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: bool = False,
) -> list[Row]:
    """Time alternatives in turns, round after round, so that whatever else the machine does befalls all alike.

    For work on one core pass `time.process_time` (or `tree_cpu_s`, where part of it is done by other processes), which
    does not count what other programs take. `warm_up` runs everything once before the clock is looked at.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, Any] = {}
    for way in ways.values() if warm_up else ():
        way()
    for _ in range(repeats):
        for name, way in ways.items():
            start = clock()
            values[name] = way()
            times[name].append(clock() - start)
    first = times[next(iter(ways))]
    return [
        Row(
            name=name,
            median_s=statistics.median(taken),
            fastest_s=min(taken),
            times_slower=statistics.median(t / f for t, f in zip(taken, first, strict=True)),
            value=values[name],
        )
        for name, taken in times.items()
    ]


def on_one_core() -> None:
    """Keep this process, and those it starts, to one core, and libraries to one thread."""
    import cv2

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)


def tree_cpu_s() -> float:
    """Processor time taken so far by this process and those it started; of the latter on Linux only."""
    ours = time.process_time()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ours + ended.ru_utime + ended.ru_stime + sum(map(_cpu_s, _children(os.getpid())))


def _children(pid: int) -> list[int]:
    """All processes below one, by way of the threads that started them."""
    told = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    below = [int(child) for line in told for child in line]
    return [p for child in below for p in (child, *_children(child))]


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    fields = stat.read_text().rsplit(")", 1)[1].split() if stat.exists() else []
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def peak_mb(make: Callable[[], Callable[[], Any]]) -> float:
    """How far a call raises the memory of a fresh process above what it held before.

    `make` (a function of a module, or a partial of one) prepares in that process and returns what is to be called.
    """
    context = get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_measure, args=(make, there))
    child.start()
    raised = here.recv()
    child.join()
    return raised


def _measure(make: Callable[[], Callable[[], Any]], answer: Any) -> None:
    way = make()
    before = _restart_peak()
    way()
    answer.send(_peak_mb() - before)


def _restart_peak() -> float:
    """Memory held now; on Linux the peak counts from here on, elsewhere from the start of the process."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    """Of this process and those it has started and that are still there (on Linux; elsewhere of this one)."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    told = [Path(f"/proc/{pid}/status").read_text() for pid in (os.getpid(), *_children(os.getpid()))]
    return sum(int(re.search(r"VmHWM:\s*(\d+) kB", text).group(1)) for text in told) / 1e3


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of the libraries that matter, as far as they are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def arguments(name: str, description: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options every script has: `--repeats` and `--json`."""
    parser = Parser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        examples=f"  python -m benchmarks.{name} --repeats 9 --json {name}.json",
    )
    parser.add_argument("--repeats", type=int, default=MIN_REPEATS, help="rounds (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE as well")
    return parser.parse_args(argv)


def report(name: str, tables: Sequence[Table], json_path: Path | None = None) -> Report:
    """Print tables and where they come from, and write them as JSON if asked."""
    made = Report(
        script=name,
        date=datetime.now(timezone.utc).date().isoformat(),
        machine=machine(),
        versions=versions(),
        tables=list(tables),
    )
    print("\n\n".join(_text(table) for table in tables))
    print(f"\n{_where(made)}", flush=True)
    if json_path:
        json_path.write_text(json.dumps(asdict(made), indent=2, default=float) + "\n")
    return made


def load(path: Path) -> Report:
    """A report that `report` has written."""
    told = json.loads(path.read_text(encoding="utf-8"))
    tables = [Table(**{**table, "rows": [Row(**row) for row in table["rows"]]}) for table in told.pop("tables")]
    return Report(**told, tables=tables)


def to_markdown(made: Report) -> str:
    """A report as a section of a page."""
    return "\n\n".join([f"## {made.script}", *map(_markdown, made.tables), _where(made)])


def _markdown(table: Table) -> str:
    lines = [HEAD, *(_cells(row) for row in table.rows)]
    rule = "|---|--:|--:|--:|--:|---|"
    first, *rest = [f"| {' | '.join(line)} |" for line in lines]
    reach = [f"To reach: {table.reach}."] if table.reach else []
    return "\n".join([f"**{table.title}**", "", first, rule, *rest, *(["", *reach] if reach else [])])


def _where(made: Report) -> str:
    machine = ", ".join(f"{k} {v}" for k, v in made.machine.items())
    return f"{made.date}; {machine}; {', '.join(f'{k} {v}' for k, v in made.versions.items())}."


def _text(table: Table) -> str:
    lines = [HEAD, *(_cells(row) for row in table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    body = [
        "  ".join(
            c.ljust(w) if i in (0, 5) else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, *body, *([f"to reach: {table.reach}"] if table.reach else [])])


def _cells(row: Row) -> tuple[str, ...]:
    memory = "" if row.peak_mb is None else f"{row.peak_mb:.0f} MB"
    return row.name, _time(row.median_s), _time(row.fastest_s), f"{row.times_slower:.2f}", memory, row.note


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
