"""What a scorer is: it tells which frames it needs, sees them, and gives columns. None decides anything."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

Row = dict[str, Any]
DIGITS = 4  # decimals that scores keep


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames a scorer needs of a clip: seconds from its start, and sides they must at least have (0: any)."""

    times_s: tuple[float, ...]
    short_side: int = 0
    long_side: int = 0


class Measurement(Protocol):
    """One clip being looked at by one scorer."""

    def update(self, frame: np.ndarray, time_s: float) -> None:
        """Take one of the frames asked for, (H, W, 3) uint8 RGB; they come in order."""

    def compute(self) -> Row:
        """The columns, after the last frame."""


class Scorer(Protocol):
    """One measurement.

    Attributes:
        name: of its columns' folder, and of its table in the recipe.
        costly: it sees many frames, and only of clips that the cheap verdicts left.
        columns: names and types of what it writes.
    """

    name: str
    costly: bool
    columns: list[tuple[str, pa.DataType]]

    def fingerprint(self) -> Row:
        """All that its columns depend on: model, parameters, and a version raised when its code changes them."""

    def frames(self, facts: Row) -> Frames:
        """What it needs of a clip whose container told these facts."""

    def start(self, facts: Row) -> Measurement:
        """Begin with a clip."""


def evenly_spaced(duration_s: float, count: int) -> tuple[float, ...]:
    """The middles of `count` equal parts of a clip."""
    return tuple(round((i + 0.5) / count * duration_s, 3) for i in range(count))


def constant_rate(duration_s: float, fps: float) -> tuple[float, ...]:
    """Times at a constant rate."""
    return tuple(round(k / fps, 4) for k in range(max(1, round(duration_s * fps))))


def rounded(value: float) -> float | None:
    """A score as it is written; None where it is not a number."""
    return round(float(value), DIGITS) if np.isfinite(value) else None


def rounded_all(values: np.ndarray | list[float]) -> list[float | None]:
    """The same for a list."""
    return [rounded(value) for value in np.asarray(values, np.float64).ravel()]
