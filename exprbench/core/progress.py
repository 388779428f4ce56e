"""Progress display: a bar on a terminal, otherwise a plain line every ten seconds and one at the end."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
LINE_INTERVAL_S = 10.0
QUIET, NORMAL, VERBOSE = -1, 0, 1
_verbosity = NORMAL


def set_verbosity(level: int) -> None:
    """Choose what `progress` and `say` print: nothing if `QUIET`, lines for details too if `VERBOSE`."""
    global _verbosity  # noqa: PLW0603 (a setting of the process, as in logging)
    _verbosity = level


def progress(items: Iterable[T], *, total: int, label: str, unit: str = "item") -> Iterator[T]:
    """Yield `items` and report progress on standard error."""
    if _verbosity > QUIET and sys.stderr and sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=label, unit=unit, dynamic_ncols=True)
        return
    yield from _plain(items, total, label, unit)


def _plain(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= LINE_INTERVAL_S and done < total:
            last = now
            remaining_s = (now - start) / done * (total - done)
            say(f"{label}: {done}/{total} {unit}s, {remaining_s:.0f} s left")
    if total:
        say(f"{label}: {total}/{total} {unit}s in {time.monotonic() - start:.0f} s")


def say(line: str, *, only_verbose: bool = False) -> None:
    """Print a line on standard error, which keeps standard output for data; if it cannot be written, go on without."""
    if sys.stderr and _verbosity >= (VERBOSE if only_verbose else NORMAL):
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)
