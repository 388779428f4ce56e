"""Restrict records to the cases of three and more people, and recompute the means of the columns of several people."""

from collections.abc import Sequence
from dataclasses import replace

from exprbench.metrics import COLUMNS
from exprbench.records import CaseScore, Group, ScoreRecord

SEVERAL = 3
PEOPLE_COLUMNS = tuple(metric for metric in COLUMNS.values() if metric.over == "people")


def restrict_to_several_people(records: Sequence[ScoreRecord]) -> list[ScoreRecord]:
    """Return the records over their cases of three and more people, with no groups where `swap` was not scored.

    The number of people of a case that failed in one record is taken from the others, so that the failed case counts as
    missing.
    """
    ids = {case.case_id for record in records for case in record.cases if case.num_faces >= SEVERAL}
    return [_restrict(record, ids) for record in records]


def _restrict(record: ScoreRecord, ids: set[str]) -> ScoreRecord:
    cases = [case for case in record.cases if case.case_id in ids]
    groups = [_group(record, group, cases) for group in record.groups if group.split == "multi"]
    return replace(record, groups=[g for g in groups if g.aggregates or g.unscored], cases=cases)


def _group(record: ScoreRecord, group: Group, cases: Sequence[CaseScore]) -> Group:
    from exprbench.scoring.groups import make_group  # imports the scoring code, which other tables do not need

    own = [case for case in cases if (case.split, case.track) == (group.split, group.track)]
    columns = [metric for metric in PEOPLE_COLUMNS if own and metric.name in record.ids]
    num_cases = len(own) + group.num_cases_benchmark - group.num_cases  # more than `own` for a shard, which marks it
    return make_group(group.split, group.track, own, columns, {}, num_cases)
