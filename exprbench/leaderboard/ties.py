"""Ties: differences between two methods that are within the 95 % interval of the paired difference.

Methods are scored on the same videos, so the interval is that of the mean difference per video, which is narrower than
those of the two means. For distances between sets it is that of the difference of the influences of the videos.
"""

import numpy as np

from exprbench.metrics import Metric
from exprbench.metrics.intervals import mean_interval
from exprbench.metrics.set_distance import half_width
from exprbench.records import Aggregate, ScoreRecord


def is_tie(a: ScoreRecord, b: ScoreRecord, split: str, track: str, metric: Metric) -> bool:
    """Return whether the data do not show which of two records has the better number of a column.

    A difference below the noise floor is a tie. A single common video shows nothing, so it is a tie. Records without
    the values of their videos have no other ties.
    """
    groups = (a.group(split, track), b.group(split, track))
    sides = [group.aggregates[metric.name] for group in groups if group and metric.name in group.aggregates]
    if len(sides) == 2 and not metric.higher_is_better and is_below_floor(*sides):
        return True
    if metric.per == "group":
        return len(sides) == 2 and all(side.influence for side in sides) and _contains_zero(difference_of_sets(*sides))
    differences = paired_differences(a, b, split, track, metric.name)
    return len(differences) > 0 and _contains_zero(mean_interval(differences))


def is_below_floor(a: Aggregate, b: Aggregate) -> bool:
    """Return whether two numbers differ by less than the noise floor of the column."""
    return any(side.floor is not None and abs(a.value - b.value) < side.floor for side in (a, b))


def _contains_zero(bounds: tuple[float | None, float | None]) -> bool:
    low, high = bounds
    return low is None or high is None or low <= 0 <= high


def paired_differences(a: ScoreRecord, b: ScoreRecord, split: str, track: str, column: str) -> np.ndarray:
    """Return (n,) differences of the values of the videos that both records have."""
    first, second = (
        {c.case_id: c.values[column] for c in r.cases if (c.split, c.track) == (split, track) and column in c.values}
        for r in (a, b)
    )
    return np.array([first[case_id] - second[case_id] for case_id in sorted(first.keys() & second.keys())])


def difference_of_sets(a: Aggregate, b: Aggregate) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the difference a - b of two distances between sets."""
    keys = sorted(a.influence.keys() | b.influence.keys())
    half = half_width([a.influence.get(key, 0.0) - b.influence.get(key, 0.0) for key in keys])
    return (None, None) if half is None else (a.value - b.value - half, a.value - b.value + half)
