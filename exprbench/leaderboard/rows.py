"""Build table rows from records: comparability, best values, and notes on incomplete ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exprbench.core.errors import UserError
from exprbench.leaderboard.floor_lines import floor_lines
from exprbench.metrics import COLUMNS, METRICS, Metric
from exprbench.records import Aggregate, Group, ScoreRecord

LOW_DETECT_RATE = 0.95
FULL_COVERAGE = 0.999
DATASETS = {"single": "Single", "multi": "Multi"}
NOTES = {
    "d": f"fewer than {LOW_DETECT_RATE:.0%} of the reference's faces are detected; the others are excluded, so the"
    " value can be too favourable and is never marked as best",
    "c": "frames or whole cases are missing; the value covers the others",
    "m": "different protocol or benchmark than the first row (--mix)",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric, or an extra, on a track."""

    track: str
    metric: Metric

    @property
    def title(self) -> str:
        """Return the column heading, such as `FID`, or an extra's name."""
        return self.metric.title

    @property
    def key(self) -> str:
        """Return the unique key of the column, such as `self_FID`; MAE is a column of both tracks."""
        return f"{self.track}_{self.title}"

    @property
    def shows_faces(self) -> bool:
        """Return whether the number depends on faces being found."""
        return self.metric.kind == "face"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as printed and as measured; `notes` are keys of `NOTES`, `why` is the reason if there is no number."""

    text: str = ""
    aggregate: Aggregate | None = None
    best: bool = False
    notes: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method's results on a split."""

    dataset: str
    method: str
    cells: dict[str, Cell]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Table of rows and columns; `about` are lines on benchmark, protocol and missing columns."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    about: tuple[str, ...] = ()

    @property
    def notes(self) -> dict[str, str]:
        """Return key -> text of the notes used by a cell."""
        used = {note for row in self.rows for cell in row.cells.values() for note in cell.notes}
        return {key: text for key, text in NOTES.items() if key in used}


def paper_columns() -> tuple[Column, ...]:
    """Return the nine columns of the paper's Table 1."""
    return tuple(Column(track=t, metric=m) for t in ("self", "cross") for m in METRICS.values() if t in m.tracks)


def make_table(records: Sequence[ScoreRecord], *, mix: bool = False, extras: bool = False) -> Table:
    """Return a table with the records as rows, in the given order.

    Args:
        records: at least one record.
        mix: allow records of different protocols or benchmarks, marked.
        extras: add every further column of the records.

    Raises:
        UserError: the records have different protocols, ids or benchmarks, and `mix` is false.
    """
    if not records:
        raise UserError("a table needs at least one record")
    incomparable = _incomparable(records, mix)
    columns = paper_columns() + (_extra_columns(records) if extras else ())
    rows = [
        _row(record, split, columns, "m" if i in incomparable else "")
        for split in DATASETS
        for i, record in enumerate(records)
        if any(record.group(split, track) for track in ("self", "cross"))
    ]
    return Table(columns=columns, rows=tuple(_mark_best(rows, columns)), about=tuple(_about(records, columns)))


def _extra_columns(records: Sequence[ScoreRecord]) -> tuple[Column, ...]:
    present = {(g.track, name) for r in records for g in r.groups for name in g.aggregates}
    shown = {(c.track, c.metric.name) for c in paper_columns()}
    extra = [(t, m) for t in ("self", "cross") for m in COLUMNS.values() if (t, m.name) in present - shown]
    return tuple(Column(track=track, metric=metric) for track, metric in extra)


def _incomparable(records: Sequence[ScoreRecord], mix: bool) -> set[int]:
    """Return the indices of records that cannot be compared with the first."""
    indices = set()
    for i, record in enumerate(records[1:], 1):
        differences = list(_differences(records[0], record))
        if differences and not mix:
            raise UserError(
                f"{records[0].method} and {record.method} cannot be in one table: {differences[0]};"
                " score them with the same settings, or pass --mix to mark the difference"
            )
        indices |= {i} if differences else set()
    return indices


def _differences(a: ScoreRecord, b: ScoreRecord) -> Iterable[str]:
    if a.benchmark.sha256 != b.benchmark.sha256:
        names = [f"{r.benchmark.name} ({r.benchmark.sha256[:12]})" for r in (a, b)]
        yield f"one is of benchmark {names[0]}, one of {names[1]}"
    for name in sorted(a.ids.keys() & b.ids.keys()):
        if a.ids[name] != b.ids[name]:
            yield f"one has {a.ids[name]}, one has {b.ids[name]}"
    for key in sorted(a.protocol.keys() | b.protocol.keys()):
        if a.protocol.get(key) != b.protocol.get(key):
            yield f"{key} is {a.protocol.get(key)!r} in one and {b.protocol.get(key)!r} in the other"


def _row(record: ScoreRecord, split: str, columns: Sequence[Column], note: str) -> Row:
    cells = {column.key: _cell(record.group(split, column.track), column, note) for column in columns}
    return Row(dataset=DATASETS[split], method=record.method, cells=cells)


def _cell(group: Group | None, column: Column, note: str) -> Cell:
    if group is None:
        return Cell(why="not scored")
    aggregate = group.aggregates.get(column.metric.name)
    if aggregate is None:
        return Cell(why=group.unscored.get(column.metric.name, "not scored"))
    low = column.shows_faces and group.detect_rate is not None and group.detect_rate < LOW_DETECT_RATE
    notes = ("d" if low else "") + ("c" if group.coverage < FULL_COVERAGE else "") + note
    return Cell(text=printed(column.metric, aggregate.value), aggregate=aggregate, notes=notes)


def printed(metric: Metric, value: float) -> str:
    """Return a value as printed in a table: scaled, with the metric's number of decimals."""
    return f"{value * metric.table_scale:.{metric.decimals}f}"


def _mark_best(rows: Sequence[Row], columns: Sequence[Column]) -> Iterable[Row]:
    """Yield the rows with the best value of each column and dataset marked, and ties; a single method has none."""
    for row in rows:
        peers = [r for r in rows if r.dataset == row.dataset]
        cells = {}
        for column in columns:
            cell, values = row.cells[column.key], [_comparable(r.cells[column.key], column) for r in peers]
            value, known = _comparable(cell, column), [v for v in values if v is not None]
            best = value is not None and len(known) > 1 and value == max(known)
            cells[column.key] = replace(cell, best=best)
        yield replace(row, cells=cells)


def _comparable(cell: Cell, column: Column) -> float | None:
    """Return a number that is larger for a better value, None for a cell that must not be marked as best."""
    if cell.aggregate is None or "d" in cell.notes or "m" in cell.notes:
        return None
    return float(cell.text) * (1 if column.metric.higher_is_better else -1)


def _about(records: Sequence[ScoreRecord], columns: Sequence[Column]) -> Iterable[str]:
    first = records[0]
    yield f"Benchmark {first.benchmark.name}, {first.benchmark.num_cases} cases, sha256 {first.benchmark.sha256[:16]}."
    ids = {record.ids[c.metric.name]: None for record in records for c in columns if c.metric.name in record.ids}
    yield f"Ids: {', '.join(ids)}."
    yield f"Protocol: {', '.join(f'{key} {value}' for key, value in sorted(first.protocol.items()))}."
    devices = sorted({record.device for record in records})
    if len(devices) > 1:
        yield f"Scored on different devices, whose network features differ slightly: {', '.join(devices)}."
    missing: dict[str, Any] = {}
    for record in records:
        for group in record.groups:
            for name, reason in group.unscored.items():
                if any(c.metric.name == name and c.track == group.track for c in columns):
                    missing.setdefault(f"{name}: {reason}", []).append(f"{record.method}, {group.split} {group.track}")
    for reason, groups in missing.items():
        yield f"No {reason} ({'; '.join(groups)})."
    yield from floor_lines(records, [(column.track, column.metric) for column in columns])
