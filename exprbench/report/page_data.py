"""Data of the first page: methods, columns, the values of every case, and the drift curves."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exprbench.benchmark import Benchmark
from exprbench.leaderboard.rendering import html_table
from exprbench.leaderboard.rows import Table
from exprbench.metrics import COLUMNS, METRICS, Metric
from exprbench.records import CaseScore, Group, ScoreRecord
from exprbench.report.case_files import rounded
from exprbench.report.drift import bin_seconds, drift

Curves = Mapping[str, Mapping[tuple[int, str], np.ndarray]]
"""Case id -> (number of the method, column) -> (T,) errors."""


def method_labels(records: Sequence[ScoreRecord]) -> list[str]:
    """Return the methods' names, with a number after a name that came before."""
    labels: list[str] = []
    for record in records:
        same = sum(other.method == record.method for other in records[: len(labels)])
        labels.append(f"{record.method} ({same + 1})" if same else record.method)
    return labels


def page_html(template: str, title: str, table: Table) -> str:
    """Return the page with its title and table; both are escaped."""
    return template.replace("{{title}}", html.escape(title)).replace("{{table}}", html_table(table))


def page_data(
    records: Sequence[ScoreRecord],
    table: Table,
    bench: Benchmark | None,
    curves: Curves,
    figures: Sequence[str],
) -> dict[str, Any]:
    """Return the data of the first page as plain JSON values."""
    columns = _columns(records, table)
    first = records[0]
    return {
        "benchmark": {"name": first.benchmark.name, "sha256": first.benchmark.sha256},
        "methods": method_labels(records),
        "columns": [_column(metric) for metric in columns],
        "table": {
            "columns": [[column.track, column.metric.name] for column in table.columns],
            "rows": _row_methods(records),
        },
        "cases": [
            _case(case, records, columns, bench, case.case_id in curves) for case in _all_cases(records).values()
        ],
        "drift": _drift(bench, curves),
        "figures": list(figures),
    }


def _columns(records: Sequence[ScoreRecord], table: Table) -> list[Metric]:
    """Return the columns with values of single cases: the metrics, and the further columns of the table."""
    shown = {column.metric.name for column in table.columns} | set(METRICS)
    present = {name for record in records for case in record.cases for name in case.values}
    present |= {name for record in records for group in record.groups for name in _influences(group)}
    return [metric for name, metric in COLUMNS.items() if name in shown & present]


def _influences(group: Group) -> dict[str, dict[str, float]]:
    """Return column -> case id -> influence of the case's video on a distance between sets."""
    return {name: aggregate.influence for name, aggregate in group.aggregates.items() if aggregate.influence}


def _column(metric: Metric) -> dict[str, Any]:
    of_set = metric.per == "group"
    influence = f"influence of a case on {metric.title}: the derivative of the distance by the weight of its video"
    return {
        "name": metric.name,
        "title": f"{metric.title} influence" if of_set else metric.title,
        "unit": metric.unit,
        "meaning": influence if of_set else metric.meaning,
        "decimals": metric.decimals,
        "higher": metric.higher_is_better,
    }


def _row_methods(records: Sequence[ScoreRecord]) -> list[list[Any]]:
    """Return (split, number of the method) of every row of the table."""
    tracks = ("self", "cross")
    return [
        [split, i]
        for split in ("single", "multi")
        for i, record in enumerate(records)
        if any(record.group(split, track) for track in tracks)
    ]


def _all_cases(records: Sequence[ScoreRecord]) -> dict[str, CaseScore]:
    cases = {case.case_id: case for record in records for case in record.cases}
    return dict(sorted(cases.items(), key=lambda item: (item[1].split != "single", item[1].track != "self", item[0])))


def _case(
    case: CaseScore,
    records: Sequence[ScoreRecord],
    columns: Sequence[Metric],
    bench: Benchmark | None,
    has_files: bool,
) -> dict[str, Any]:
    known = {c.case_id: c for c in bench.cases} if bench else {}
    scores = [next((c for c in record.cases if c.case_id == case.case_id), None) for record in records]
    return {
        "id": case.case_id,
        "split": case.split,
        "track": case.track,
        "names": _original_names(bench, known[case.case_id]) if bench and case.case_id in known else "",
        "media": has_files,
        "values": [
            _values(case.case_id, record, score, columns) for record, score in zip(records, scores, strict=True)
        ],
        "problems": [_problem(score) for score in scores],
    }


def _original_names(bench: Benchmark, case: Any) -> str:
    names = (bench.assets[path].original or path for path in (case.source, *case.drivers))
    return ", ".join(dict.fromkeys(names))


def _values(
    case_id: str, record: ScoreRecord, score: CaseScore | None, columns: Sequence[Metric]
) -> list[float | None]:
    """Return a case's value of every column, in the unit of the table; of a distance between sets, its influence."""
    known = dict(score.values) if score else {}
    for group in record.groups:
        known |= {name: values[case_id] for name, values in _influences(group).items() if case_id in values}
    return rounded(np.array([known.get(m.name, np.nan) * m.table_scale for m in columns], float))


def _problem(score: CaseScore | None) -> str:
    """Return what a method's score of a case does not cover, empty if nothing."""
    if score is None:
        return "not scored"
    if score.outcome == "error":
        return f"{score.code}: {score.detail}"
    problems = {
        f"{score.num_frames} of {score.num_frames_reference} frames": score.coverage < 1,
        f"{score.num_faces_missing} faces missing": score.num_faces_missing > 0,
        f"{score.num_faces_extra} faces that the reference does not show": score.num_faces_extra > 0,
        "other aspect ratio": score.has_other_aspect,
    }
    return "; ".join(text for text, holds in problems.items() if holds)


def _drift(bench: Benchmark | None, curves: Curves) -> dict[str, Any]:
    """Return the drift curves: split, track and column -> means over time bins for each method."""
    if bench is None or not curves:
        return {"width": 0, "groups": []}
    longest = max((len(c) for by_method in curves.values() for c in by_method.values()), default=0)
    width = bin_seconds(longest / bench.fps)
    groups: dict[tuple[str, str, str], dict[int, list[np.ndarray]]] = {}
    for case in bench.cases:
        for (method, column), curve in curves.get(case.case_id, {}).items():
            groups.setdefault((case.split, case.track, column), {}).setdefault(method, []).append(curve)
    return {"width": width, "groups": [_drift_group(key, group, bench.fps, width) for key, group in groups.items()]}


def _drift_group(
    key: tuple[str, str, str], group: Mapping[int, Sequence[np.ndarray]], fps: float, width: float
) -> dict[str, Any]:
    split, track, column = key
    scale = COLUMNS[column].table_scale
    means, counts = {}, {}
    for method, found in sorted(group.items()):
        values, counts[method] = drift(found, fps, width)
        means[method] = rounded(np.array([np.nan if v is None else v * scale for v in values]))
    return {"split": split, "track": track, "column": column, "means": means, "counts": counts}
