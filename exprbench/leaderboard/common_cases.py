"""Restrict records to the cases that all of them have, and recompute their means."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from exprbench.core.errors import UserError
from exprbench.metrics import COLUMNS
from exprbench.records import Aggregate, CaseScore, Group, ScoreRecord

Key = tuple[str, str]  # split and track


def restrict_to_common(records: Sequence[ScoreRecord]) -> tuple[list[ScoreRecord], list[str]]:
    """Return the records over the cases that all of them scored, and lines that say how many these are.

    A column is averaged over the common cases for which all records with this column have a value. Distances between
    sets stay where a record has exactly the common cases; a record does not hold the features to recompute the others.

    Raises:
        UserError: no case is scored in all records.
    """
    common = {key: ids for key in _keys(records) if (ids := _common_ids(records, key))}
    if not common:
        raise UserError("no case is scored in all records, so --common leaves nothing; make the table without it")
    kept = set.union(*common.values())
    restricted = []
    for record in records:
        groups = [_restrict(record, key, ids, _with_value(records, ids)) for key, ids in common.items()]
        cases = [case for case in record.cases if case.case_id in kept]
        restricted.append(replace(record, groups=groups, cases=cases))
    return restricted, list(_about(records, common))


def _keys(records: Sequence[ScoreRecord]) -> list[Key]:
    return list(dict.fromkeys((group.split, group.track) for record in records for group in record.groups))


def _scored(record: ScoreRecord) -> dict[str, CaseScore]:
    return {case.case_id: case for case in record.cases if case.outcome == "scored"}


def _common_ids(records: Sequence[ScoreRecord], key: Key) -> set[str]:
    scored = [{i for i, case in _scored(record).items() if (case.split, case.track) == key} for record in records]
    return set.intersection(*scored)


def _with_value(records: Sequence[ScoreRecord], ids: set[str]) -> dict[str, set[str]]:
    """Return column -> the ids of those cases that have a value in every record with the column."""
    cases = [[case for case_id, case in _scored(record).items() if case_id in ids] for record in records]
    result: dict[str, set[str]] = {}
    for of_record in cases:
        for name in dict.fromkeys(name for case in of_record for name in case.values):
            result[name] = result.get(name, ids) & {case.case_id for case in of_record if name in case.values}
    return result


def _restrict(record: ScoreRecord, key: Key, ids: set[str], with_value: dict[str, set[str]]) -> Group:
    from exprbench.scoring.groups import make_group  # imports the scoring code, which other tables do not need

    split, track = key
    cases = [
        replace(case, values={n: v for n, v in case.values.items() if case.case_id in with_value[n]})
        for case_id, case in _scored(record).items()
        if case_id in ids
    ]
    columns = [metric for name, metric in COLUMNS.items() if name in record.ids and track in metric.defined_on]
    sets = {metric.name: _set_column(record, key, metric.name, ids) for metric in columns if metric.per == "group"}
    return make_group(split, track, cases, columns, sets, num_cases_benchmark=len(ids))


def _set_column(record: ScoreRecord, key: Key, name: str, ids: set[str]) -> Aggregate | str:
    group = record.group(*key)
    if group is None or name not in group.aggregates:
        return group.unscored.get(name, "not scored") if group else "not scored"
    if {case.case_id for case in record.cases if (case.split, case.track) == key} == ids:
        return group.aggregates[name]
    return (
        f"a distance between sets cannot be recomputed for the {len(ids)} common cases, because a record does not hold"
        f" features; this one covers {group.num_cases} cases"
    )


def _about(records: Sequence[ScoreRecord], common: dict[Key, set[str]]) -> Iterable[str]:
    parts = []
    for split, track in _keys(records):
        groups = [group for record in records if (group := record.group(split, track))]
        most = max(group.num_cases_benchmark for group in groups)
        parts.append(f"{split} {track} {len(common.get((split, track), ()))} of {most}")
    yield f"Means over the cases that all methods have (--common): {', '.join(parts)}."
