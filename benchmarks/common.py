"""Shared by all benchmarks: timing of alternatives in turns, tables, a description of the machine, JSON files."""

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
    """Measurements of one alternative.

    Attributes:
        times_slower: median, over rounds, of its time over that of the first alternative.
        value: result of the last run.
        peak_mb: peak memory in megabytes.
    """

    name: str
    median_s: float
    fastest_s: float
    times_slower: float
    value: Any = None
    peak_mb: float | None = None
    note: str = ""


@dataclass(kw_only=True)
class Table:
    """Rows of alternatives that are compared, the first one as the reference."""

    title: str
    rows: list[Row]


@dataclass(kw_only=True)
class Report:
    """Results of one run of a script."""

    script: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    tables: list[Table] = field(default_factory=list)


def compare(
    alternatives: Mapping[str, Callable[[], Any]],
    repeats: int = MIN_REPEATS,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: bool = False,
) -> list[Row]:
    """Time alternatives in turns, round after round, so that other load on the machine affects all of them equally.

    Args:
        alternatives: name -> function; the first one is the reference of `times_slower`.
        repeats: number of rounds.
        clock: returns seconds. For work on one core use `time.process_time`, or `tree_cpu_s` if child processes do part
            of it: both exclude the time of other programs.
        warm_up: run every alternative once before timing.
    """
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    values: dict[str, Any] = {}
    for function in alternatives.values() if warm_up else ():
        function()
    for _ in range(repeats):
        for name, function in alternatives.items():
            start = clock()
            values[name] = function()
            times[name].append(clock() - start)
    first = times[next(iter(alternatives))]
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
    """Restrict this process and its children to one core, and OpenCV to one thread."""
    import cv2

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)


def tree_cpu_s() -> float:
    """Return the processor time in seconds of this process and its descendants (of running ones on Linux only)."""
    own_s = time.process_time()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own_s + ended.ru_utime + ended.ru_stime + sum(map(_cpu_s, _children(os.getpid())))


def _children(pid: int) -> list[int]:
    """Return all descendants of a process."""
    lines = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for line in lines for child in line]
    return [p for child in children for p in (child, *_children(child))]


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    fields = stat.read_text().rsplit(")", 1)[1].split() if stat.exists() else []
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def peak_mb(prepare: Callable[[], Callable[[], Any]]) -> float:
    """Return by how many megabytes a call raises the peak memory of a new process.

    Args:
        prepare: a picklable function that is called in the new process and returns the function to measure.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe()
    child = context.Process(target=_measure, args=(prepare, sender))
    child.start()
    increase_mb = receiver.recv()
    child.join()
    return increase_mb


def _measure(prepare: Callable[[], Callable[[], Any]], sender: Any) -> None:
    function = prepare()
    before_mb = _restart_peak()
    function()
    sender.send(_peak_mb() - before_mb)


def _restart_peak() -> float:
    """Return the memory in use; on Linux, also reset the peak to it."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    """Return the peak memory of this process and, on Linux, its running descendants."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in (os.getpid(), *_children(os.getpid()))]
    return sum(int(re.search(r"VmHWM:\s*(\d+) kB", text).group(1)) for text in statuses) / 1e3


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
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
    """Return the versions of the compared libraries that are installed."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def arguments(name: str, description: str, argv: Sequence[str] | None, **options: str) -> argparse.Namespace:
    """Parse the options of all scripts, `--repeats` and `--json`, and further ones, given by name and default."""
    parser = Parser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        examples=f"  python -m benchmarks.{name} --repeats 9 --json {name}.json",
    )
    parser.add_argument("--repeats", type=int, default=MIN_REPEATS, help="number of rounds (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file to write")
    for option, default in options.items():
        parser.add_argument(f"--{option}", default=default, metavar="LIST", help="default: %(default)s")
    return parser.parse_args(argv)


def report(name: str, tables: Sequence[Table], json_path: Path | None = None) -> Report:
    """Print tables and a description of the machine, write them as JSON if there is a path, and return the report."""
    result = Report(
        script=name,
        date=datetime.now(timezone.utc).date().isoformat(),
        machine=machine(),
        versions=versions(),
        tables=list(tables),
    )
    print("\n\n".join(_text(table) for table in tables))
    print(f"\n{_provenance(result)}", flush=True)
    if json_path:
        json_path.write_text(json.dumps(asdict(result), indent=2, default=float) + "\n")
    return result


def load(path: Path) -> Report:
    """Return a report written by `report`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    tables = [Table(title=t["title"], rows=[Row(**row) for row in t["rows"]]) for t in content.pop("tables")]
    return Report(**content, tables=tables)


def to_markdown(result: Report) -> str:
    """Return a report as a section of a Markdown page."""
    return "\n\n".join([f"## {result.script}", *map(_markdown, result.tables), _provenance(result)])


def _markdown(table: Table) -> str:
    lines = [HEAD, *(_cells(row) for row in table.rows)]
    rule = "|---|--:|--:|--:|--:|---|"
    first, *rest = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"**{table.title}**", "", first, rule, *rest])


def _provenance(result: Report) -> str:
    machine = ", ".join(f"{k} {v}" for k, v in result.machine.items())
    return f"{result.date}; {machine}; {', '.join(f'{k} {v}' for k, v in result.versions.items())}."


def _text(table: Table) -> str:
    lines = [HEAD, *(_cells(row) for row in table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    body = [
        "  ".join(
            c.ljust(w) if i in (0, 5) else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, *body])


def _cells(row: Row) -> tuple[str, ...]:
    memory = "" if row.peak_mb is None else f"{row.peak_mb:.0f} MB"
    return row.name, _time(row.median_s), _time(row.fastest_s), f"{row.times_slower:.2f}", memory, row.note


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
