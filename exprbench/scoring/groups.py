"""Aggregate case scores to the numbers of a leaderboard: means over videos, with intervals, coverage and reasons."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from exprbench.metrics import Metric
from exprbench.metrics.intervals import mean_interval
from exprbench.records import Aggregate, CaseScore, Group


def make_group(
    split: str,
    track: str,
    cases: Sequence[CaseScore],
    columns: Sequence[Metric],
    sets: dict[str, Aggregate | str],
    num_cases_benchmark: int,
) -> Group:
    """Return the aggregates of the cases of one split and track.

    Args:
        split, track: of the group.
        cases: scores of its cases.
        columns: columns that are defined on the track.
        sets: group column -> its distance, or the reason why it has none.
        num_cases_benchmark: number of cases of the split and track in the benchmark.
    """
    scored = [case for case in cases if case.outcome == "scored"]
    results = {m.name: sets[m.name] if m.per == "group" else _mean_over_videos(m.name, scored) for m in columns}
    rates = [case.detect_rate for case in scored if case.detect_rate is not None]
    return Group(
        split=split,  # type: ignore[arg-type]
        track=track,  # type: ignore[arg-type]
        num_cases=len(cases),
        num_cases_benchmark=num_cases_benchmark,
        num_scored=len(scored),
        num_resized=sum(case.resized for case in scored),
        num_other_aspect=sum(case.has_other_aspect for case in scored),
        num_extra_faces=sum(case.num_faces_extra > 0 for case in scored),
        coverage=_mean([case.coverage if case.outcome == "scored" else 0.0 for case in cases]) or 0.0,
        detect_rate=_mean(rates),
        errors=dict(sorted(Counter(case.code for case in cases if case.outcome == "error").items())),
        aggregates={name: value for name, value in results.items() if isinstance(value, Aggregate)},
        unscored={name: reason for name, reason in results.items() if isinstance(reason, str)},
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _mean_over_videos(column: str, scored: Sequence[CaseScore]) -> Aggregate | str:
    values = np.array([case.values[column] for case in scored if column in case.values])
    if not len(values):
        reasons = Counter(case.unscored[column] for case in scored if column in case.unscored)
        return reasons.most_common(1)[0][0] if reasons else "no case was scored"
    low, high = mean_interval(values)
    return Aggregate(value=float(values.mean()), num_videos=len(values), low=low, high=high)
