"""Progress display: a bar on a terminal, otherwise a plain line every ten seconds."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
LINE_INTERVAL_S = 10.0


def progress(items: Iterable[T], *, total: int, label: str, unit: str = "item") -> Iterator[T]:
    """Yield `items` and report progress on standard error."""
    if sys.stderr and sys.stderr.isatty():
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


def say(line: str) -> None:
    """Print a line on standard error, which keeps standard output for data; if it cannot be written, go on without."""
    if sys.stderr:
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)
