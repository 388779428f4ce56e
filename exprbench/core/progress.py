"""Progress: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def progress(items: Iterable[T], *, total: int, label: str, unit: str = "item") -> Iterator[T]:
    """Yield `items` while telling standard error how far along they are."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=label, unit=unit, dynamic_ncols=True)
        return
    yield from _plain(items, total, label, unit)


def _plain(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    start = said = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN_LINES and done < total:
            said = now
            left_s = (now - start) / done * (total - done)
            print(f"{label}: {done}/{total} {unit}s, {left_s:.0f} s left", file=sys.stderr, flush=True)


def say(line: str) -> None:
    """A line for people, on standard error, so that standard output stays data."""
    print(line, file=sys.stderr, flush=True)
