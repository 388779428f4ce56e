"""The variants panel: AED, APD and MAE under every formula that records have, and whether the order changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exprbench.core.errors import UserError
from exprbench.core.files import dump_json
from exprbench.leaderboard.comparability import find_incomparable
from exprbench.leaderboard.rendering import md_escape, md_lines
from exprbench.leaderboard.rows import DATASETS, printed
from exprbench.leaderboard.verification import load_verified
from exprbench.metrics import COLUMNS, Metric
from exprbench.records import ScoreRecord

FAMILIES = ("aed", "apd", "mae")
OTHER_QUANTITIES = ("follow", "lag", "swap")  # computed along with a family, but not another formula of it


@dataclass(frozen=True, kw_only=True)
class VariantRow:
    """A formula on a split and track: the value and the order of every method, best first.

    `changes` is whether its order differs from that of the family's column in Table 1.
    """

    dataset: str
    track: str
    metric: str
    id: str
    values: dict[str, float]
    order: list[str]
    changes: bool


def variants(records: Sequence[ScoreRecord | Path | str], *, mix: bool = False) -> list[VariantRow]:
    """Return AED, APD and MAE of methods under every formula that all records have.

    Args:
        records: two or more records, or paths of their files.
        mix: allow records of different protocols, benchmarks, weights or versions.

    Raises:
        UserError: fewer than two records, two of the same method, or records that cannot be compared.
    """
    loaded = [load_verified(record) for record in records]
    methods = [record.method for record in loaded]
    if len(loaded) < 2 or len(set(methods)) < len(methods):
        raise UserError("the variants panel compares methods; expected records of two or more different methods")
    find_incomparable(loaded, mix)
    rows = [
        row
        for family in FAMILIES
        for split in DATASETS
        for track in ("self", "cross")
        for row in _family(loaded, family, split, track)
    ]
    if not rows:
        raise UserError("the records have no AED, APD or MAE in common; score them with --metrics aed,apd,mae")
    return rows


def _family(records: Sequence[ScoreRecord], family: str, split: str, track: str) -> list[VariantRow]:
    rows: list[VariantRow] = []
    for metric in (m for m in COLUMNS.values() if _is_of(m, family)):
        groups = [record.group(split, track) for record in records]
        if not all(group and metric.name in group.aggregates for group in groups):
            continue
        values = {r.method: g.aggregates[metric.name].value for r, g in zip(records, groups, strict=True)}  # type: ignore[union-attr]
        order = _order(metric, values)
        first = rows[0].order if rows else order
        rows.append(
            VariantRow(
                dataset=DATASETS[split],
                track=track,
                metric=metric.name,
                id=records[0].ids[metric.name],
                values=values,
                order=order,
                changes=order != first,
            )
        )
    return rows if rows and rows[0].metric == family else []


def _is_of(metric: Metric, family: str) -> bool:
    return metric.parent == family and not metric.name.startswith(OTHER_QUANTITIES)


def _order(metric: Metric, values: dict[str, float]) -> list[str]:
    """Return the methods from best to worst by the values as printed; equal ones keep their order."""
    sign = -1 if metric.higher_is_better else 1
    return sorted(values, key=lambda method: sign * float(printed(metric, values[method])))


def variants_text(rows: Sequence[VariantRow], format: str = "md") -> str:
    """Return the panel as `md` or `json`."""
    if format == "json":
        return dump_json([vars(row) for row in rows])
    methods = list(rows[0].values)
    head = ["Dataset", "Formula", *map(md_escape, methods), "order"]
    lines = [
        [
            f"{row.dataset}, {row.track}",
            row.id,
            *(printed(COLUMNS[row.metric], row.values[method]) for method in methods),
            "changes" if row.changes else "same",
        ]
        for row in rows
    ]
    num_changes = sum(row.changes for row in rows)
    about = f"The order of methods changes under {num_changes} of {len(rows)} formulas, as printed."
    return "\n".join([*md_lines([head, *lines]), "", about]) + "\n"
