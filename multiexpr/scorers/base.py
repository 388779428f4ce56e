"""Interface of scorers: a scorer requests frames of a clip, measures them and returns columns; it decides nothing."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

Row = dict[str, Any]
DIGITS = 4  # decimals of stored scores
GOLDEN_RATIO = (1 + 5**0.5) / 2
SIZES = "whole divisors"  # of the sizes of clips are those of their frames; see `decoded_short_side`
MARGIN = 0.1  # share of a part of a clip at both of its ends in which no scattered time is


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Request for frames of a clip.

    Attributes:
        times_s: seconds from the start of the clip.
        short_side: minimum short side in pixels; 0 for any.
        long_side: minimum long side in pixels; 0 for any.
    """

    times_s: tuple[float, ...]
    short_side: int = 0
    long_side: int = 0


def largest_size(requests: list[Frames]) -> Frames:
    """Return the size, without times, that satisfies all requests.

    It does not depend on which of the scorers run, so that a scorer always gets the same pixels.
    """
    short_side, long_side = max(r.short_side for r in requests), max(r.long_side for r in requests)
    return Frames(times_s=(), short_side=short_side, long_side=long_side)


def decoded_short_side(facts: Row, size: Frames) -> int:
    """Return the short side in pixels at which a clip is decoded for a request of a size.

    It is that of the clip divided by the largest whole number that leaves both sides large enough: scaling frames by
    other factors takes several times as long, in the decoder and in the scorers.

    Args:
        facts: columns of the container.
        size: minimum sides.
    """
    short, long = sorted((facts["width"], facts["height"]))
    return short // max(1, min(short // max(1, size.short_side), long // max(1, size.long_side)))


class Measurement(Protocol):
    """Measurement of one clip by one scorer."""

    def update(self, frame: np.ndarray, time_s: float) -> None:
        """Add a requested frame, (H, W, 3) uint8 RGB; frames arrive in order of time."""

    def compute(self) -> Row:
        """Return the columns of the clip, after the last frame."""


class BufferedMeasurement:
    """Base of measurements that compute from all frames at once, in `compute`: most clips are dropped before."""

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []

    def update(self, frame: np.ndarray, time_s: float) -> None:
        """Keep a frame, (H, W, 3) uint8 RGB."""
        self.frames.append(frame)


class Scorer(Protocol):
    """Scorer of clips.

    Attributes:
        name: name of the folder of its columns.
        costly: whether it needs many frames; it then gets only clips that pass the rules on all cheap scorers.
        columns: names and types of its columns.
    """

    name: str
    costly: bool
    columns: list[tuple[str, pa.DataType]]

    def fingerprint(self) -> Row:
        """Return everything its columns depend on: model, parameters, and a version of the code."""

    def frames(self, facts: Row) -> Frames:
        """Return the frames needed of a clip, given the columns of its container."""

    def start(self, facts: Row) -> Measurement:
        """Start the measurement of a clip."""


def evenly_spaced(duration_s: float, count: int) -> tuple[float, ...]:
    """Return the times in seconds of the middles of `count` equal parts of a clip."""
    return tuple(round((i + 0.5) / count * duration_s, 3) for i in range(count))


def scattered(duration_s: float, count: int) -> tuple[float, ...]:
    """Return a time in seconds in each of `count` equal parts of a clip, at places that do not repeat.

    Equal distances can miss damage that comes back every few frames: with 10 frames of 100, all are at the same place
    of a cycle of 5, as that of film in interlaced video. Multiples of the golden ratio are at all places.
    """
    places = (MARGIN + (1 - 2 * MARGIN) * ((i + 0.5) * GOLDEN_RATIO % 1) for i in range(count))
    return tuple(round((i + place) / count * duration_s, 3) for i, place in enumerate(places))


def constant_rate(duration_s: float, fps: float) -> tuple[float, ...]:
    """Return times in seconds at a constant rate, from 0."""
    return tuple(round(k / fps, 4) for k in range(max(1, round(duration_s * fps))))


def rounded(value: float) -> float | None:
    """Return a score rounded for storage, None if it is not finite."""
    return round(float(value), DIGITS) if np.isfinite(value) else None


def rounded_all(values: np.ndarray | list[float]) -> list[float | None]:
    """Return scores rounded for storage, None for those that are not finite."""
    return [rounded(value) for value in np.asarray(values, np.float64).ravel()]
