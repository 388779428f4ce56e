"""From cases to the numbers of a leaderboard: means over videos, with intervals, coverage and reasons."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from exprbench.metrics import EXTRAS, METRICS
from exprbench.records import Aggregate, CaseScore, Group
from exprbench.scoring.plan import parent_of

NUM_RESAMPLES = 2000
SEED = 0
SETS = ("fid", "fvd")  # distances between sets: no mean over videos


def is_of_sets(column: str) -> bool:
    """Is the column a distance between the sets of all videos, rather than a mean over them?"""
    return column.startswith(SETS) and not column.endswith("video_mean")


def make_group(
    split: str, track: str, cases: Sequence[CaseScore], columns: Sequence[str], sets: dict[str, Aggregate | str]
) -> Group:
    """The cases of one split and track as numbers; `sets` holds what the set distances gave, or why they gave none."""
    scored = [case for case in cases if case.outcome == "scored"]
    aggregates, unscored = {}, {}
    for column in columns:
        made = sets[column] if is_of_sets(column) else _mean_over_videos(column, scored)
        if isinstance(made, Aggregate):
            aggregates[column] = made
        else:
            unscored[column] = made
    rates = [case.detect_rate for case in scored if case.detect_rate is not None]
    return Group(
        split=split,
        track=track,
        num_cases=len(cases),
        num_scored=len(scored),
        num_resized=sum(case.resized for case in scored),
        coverage=_mean([case.coverage if case.outcome == "scored" else 0.0 for case in cases]) or 0.0,
        detect_rate=_mean(rates),
        errors=dict(sorted(Counter(case.code for case in cases if case.outcome == "error").items())),
        aggregates=aggregates,
        unscored=unscored,
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _mean_over_videos(column: str, scored: Sequence[CaseScore]) -> Aggregate | str:
    values = np.array([case.values[column] for case in scored if column in case.values])
    if not len(values):
        reasons = Counter(case.unscored[column] for case in scored if column in case.unscored)
        return reasons.most_common(1)[0][0] if reasons else "no case was scored"
    low, high = interval(values)
    return Aggregate(value=float(values.mean()), num_videos=len(values), low=low, high=high)


def interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """95 % of the means of so many videos drawn anew, with replacement; none for a single video."""
    if len(values) < 2:
        return None, None
    drawn = np.random.default_rng(SEED).integers(0, len(values), (NUM_RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def columns_of(track: str, wanted: Sequence[str]) -> list[str]:
    """Those of the wanted columns that mean something on a track, in the registry's order."""
    known = [name for name in (*METRICS, *EXTRAS) if name in wanted]
    return [name for name in known if track in METRICS[parent_of(name)].defined_on]
