"""Load records for a table, and check that their aggregates follow from their cases."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.errors import UserError
from exprbench.metrics import COLUMNS
from exprbench.metrics.intervals import mean_interval
from exprbench.records import Aggregate, CaseScore, Group, ScoreRecord, load_record

TOLERANCE = 1e-9  # sums in another order differ by less


def load_verified(record: ScoreRecord | Path | str) -> ScoreRecord:
    """Return a record, and load it if it is given as a file, which anyone can have written.

    Raises:
        UserError: the file is missing or not a record, or a number differs from that of its cases.
    """
    if isinstance(record, ScoreRecord):
        return record
    loaded = load_record(record)
    for problem in aggregate_problems(loaded):
        raise UserError(f"{record}: {problem}; score again to get a record that agrees with itself")
    return loaded


def load_all(records: Iterable[ScoreRecord | Path | str] | ScoreRecord | Path | str) -> list[ScoreRecord]:
    """Return records, loaded as `load_verified` does if they are given as files; a single one is a list of one."""
    single = isinstance(records, (ScoreRecord, Path, str))
    return [load_verified(record) for record in ([records] if single else records)]  # type: ignore[list-item, union-attr]


def aggregate_problems(record: ScoreRecord) -> Iterator[str]:
    """Yield the numbers of a record that do not follow from its cases, one line each."""
    groups = Counter((group.split, group.track) for group in record.groups)
    if set(groups) != {(case.split, case.track) for case in record.cases} or max(groups.values(), default=1) > 1:
        yield "its groups are not those of its cases"
    for group in record.groups:
        cases = [case for case in record.cases if (case.split, case.track) == (group.split, group.track)]
        for name, stored, computed in _numbers(group, cases):
            if not _is_equal(stored, computed):
                yield f"{name} of {group.split} {group.track} is {stored}, but its cases give {computed}"


def _numbers(group: Group, cases: Sequence[CaseScore]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, stored value, value computed from the cases) of everything that the cases determine."""
    scored = [case for case in cases if case.outcome == "scored"]
    yield "num_cases", group.num_cases, len(cases)
    yield "num_scored", group.num_scored, len(scored)
    yield "num_resized", group.num_resized, sum(case.resized for case in scored)
    yield "num_other_aspect", group.num_other_aspect, sum(case.has_other_aspect for case in scored)
    yield "num_extra_faces", group.num_extra_faces, sum(case.num_faces_extra > 0 for case in scored)
    yield "coverage", group.coverage, _mean([case.coverage for case in scored], len(cases)) or 0.0
    yield "detect_rate", group.detect_rate, _mean([c.detect_rate for c in scored if c.detect_rate is not None])
    errors = Counter(case.code for case in cases if case.outcome == "error")
    yield "the number of errors", dict(group.errors), dict(sorted(errors.items()))
    for name, aggregate in group.aggregates.items():
        yield from _numbers_of_column(name, aggregate, scored)


def _numbers_of_column(name: str, aggregate: Aggregate, scored: Sequence[CaseScore]) -> Iterator[tuple[str, Any, Any]]:
    values = [case.values[name] for case in scored if name in case.values]
    if name in COLUMNS and COLUMNS[name].per == "group":  # computed from features, which a record does not hold
        yield f"num_videos of {name}", aggregate.num_videos, min(aggregate.num_videos, len(scored))
        return
    yield name, aggregate.value, _mean(values)
    low, high = mean_interval(np.array(values)) if values else (None, None)
    yield f"the interval's low end of {name}", aggregate.low, low
    yield f"the interval's high end of {name}", aggregate.high, high
    yield f"num_videos of {name}", aggregate.num_videos, len(values)


def _mean(values: Sequence[float], count: int | None = None) -> float | None:
    count = len(values) if count is None else count
    return sum(values) / count if count else None


def _is_equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return a == b
