"""Resample timestamped frames to a constant frame rate, by time and without drift."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

F = TypeVar("F")


def resample(frames: Iterable[tuple[F, Fraction, Fraction]], fps: Fraction) -> Iterator[tuple[F, int]]:
    """Yield (frame, count): how often each frame is repeated at `fps`.

    The output frame at time k / fps is the input frame whose start is nearest; the earlier of two equally near ones.
    Counts are 0 or more and add up to round(fps * end of the last frame), at least one. Times are fractions, so that
    there is no drift, for example at 29.97 fps.

    Args:
        frames: (frame, start, end) with times in seconds; starts are non-decreasing, the first is 0.
        fps: output frames per second.
    """
    shown = 0
    previous = None
    for frame, start_s, end_s in frames:
        if previous is not None:
            middle_s = (previous[1] + start_s) / 2
            upto = max(shown, int(middle_s * fps) + 1)  # all k with k / fps <= middle
            yield previous[0], upto - shown
            shown = upto
        previous = frame, start_s, end_s
    if previous is not None:
        yield previous[0], max(0, max(1, round(fps * previous[2])) - shown)
