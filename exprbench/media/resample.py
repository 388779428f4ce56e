"""From timestamped frames to a constant frame rate, by time, without drift."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

F = TypeVar("F")


def resample(frames: Iterable[tuple[F, Fraction, Fraction]], fps: Fraction) -> Iterator[tuple[F, int]]:
    """How often each frame is shown at `fps`: the output frame at time k/fps is the input frame that starts nearest.

    Args:
        frames: (frame, start, end) with times in seconds, starts non-decreasing, the first at 0.
        fps: output frames a second.

    Yields:
        (frame, count) with count >= 0, in the order of the input. Of two frames equally near, the earlier is taken;
        the counts add up to round(fps * end of the last frame), at least one. Times are fractions, so that an hour of
        29.97 fps ends on the frame it should.
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
