"""Marks of numbers that cannot be compared with the others of their column, or are tied, and the notes of a table."""

from dataclasses import dataclass

from exprbench.metrics import Metric
from exprbench.records import ASPECT_TOLERANCE, Group

LOW_DETECT_RATE = 0.95
EXTRA_FACES_RATE = 0.05


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a mark means; `symbol` marks a number in text, `latex` in LaTeX."""

    symbol: str
    latex: str
    text: str


NOTES = {
    "d": Note(
        symbol="\u2020",
        latex=r"\dagger",
        text=f"fewer than {LOW_DETECT_RATE:.0%} of the reference's faces are detected; the others are excluded, so the"
        " value can be too favourable; never the best",
    ),
    "c": Note(
        symbol="\u2021",
        latex=r"\ddagger",
        text="frames or whole videos are missing; the value covers the others; never the best",
    ),
    "s": Note(symbol="\u00b6", latex=r"\P", text="only a part of the benchmark was scored (--shard); never the best"),
    "a": Note(
        symbol="\u2016",
        latex=r"\|",
        text=f"some videos differ in aspect ratio from their reference (in cross reenactment, from the source image) by"
        f" more than {ASPECT_TOLERANCE:.0%}: they are padded, cropped or stretched; never the best",
    ),
    "e": Note(
        symbol="\u25c7",
        latex=r"\diamond",
        text=f"more than {EXTRA_FACES_RATE:.0%} of the videos show faces that the reference does not; never the best",
    ),
    "t": Note(
        symbol="\u2248",
        latex=r"\approx",
        text="tied: the 95 % interval of its difference from the best value, paired by video, contains 0, or the"
        " difference is below the noise floor",
    ),
    "r": Note(
        symbol="\u25cb",
        latex=r"\circ",
        text="reported in the paper, protocol unknown: the benchmark, the networks and most settings were not released;"
        " never the best",
    ),
    "m": Note(
        symbol="\u00a7",
        latex=r"\S",
        text="different benchmark, protocol, weights or versions than the first row (--mix); never the best",
    ),
}


def partial_notes(group: Group, metric: Metric, num_videos: int, most_videos: int) -> str:
    """Return the keys of the notes on a number that rests on less than the whole reference.

    Args:
        group: the group of the number.
        metric: its column.
        num_videos: number of videos behind it.
        most_videos: the largest number of videos behind a number of the column.
    """
    low = metric.kind == "face" and group.detect_rate is not None and group.detect_rate < LOW_DETECT_RATE
    is_shard = group.num_cases < group.num_cases_benchmark
    conditions = {
        "d": low,
        "c": group.coverage < 1 or (num_videos < most_videos and not is_shard),
        "s": is_shard,
        "a": group.num_other_aspect > 0,
        "e": group.num_extra_faces > EXTRA_FACES_RATE * group.num_scored,
    }
    return "".join(key for key, holds in conditions.items() if holds)
