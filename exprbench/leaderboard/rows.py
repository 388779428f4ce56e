"""Build table rows from records: comparability, best values, and notes on incomplete ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exprbench.core.errors import UserError
from exprbench.leaderboard.common_cases import restrict_to_common
from exprbench.leaderboard.comparability import find_incomparable
from exprbench.leaderboard.cost_lines import cost_lines
from exprbench.leaderboard.floor_lines import floor_lines
from exprbench.leaderboard.marks import NOTES, partial_notes
from exprbench.leaderboard.receipts import SELF_SCORED, VERIFIED
from exprbench.leaderboard.several_people import PEOPLE_COLUMNS, SEVERAL, restrict_to_several_people
from exprbench.leaderboard.ties import is_tie
from exprbench.metrics import COLUMNS, METRICS, Metric
from exprbench.records import Aggregate, Group, ScoreRecord

STATUSES = (VERIFIED, SELF_SCORED, "reported")
DATASETS = {"single": "Single", "multi": "Multi"}
NUM_CASES = Metric(
    name="cases",
    title="cases",
    meaning="number of cases that the values are means of",
    kind="face",
    compute="",
    ids={},
    defined_on=("self", "cross"),
    decimals=0,
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric, or an extra, on a track; the number of cases is a column of which no value is the best."""

    track: str
    metric: Metric

    @property
    def is_count(self) -> bool:
        """Return whether the column is a number of cases."""
        return self.metric is NUM_CASES

    @property
    def title(self) -> str:
        """Return the column heading, such as `FID`, or an extra's name."""
        return self.metric.title

    @property
    def key(self) -> str:
        """Return the unique key of the column, such as `self_FID`; MAE is a column of both tracks."""
        return f"{self.track}_{self.title}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as printed and as measured; `notes` are keys of `NOTES`, `why` is the reason if there is no number.

    A reported number has no aggregate. `best` is marked among two or more comparable numbers, `second` among three.
    """

    text: str = ""
    aggregate: Aggregate | None = None
    best: bool = False
    second: bool = False
    notes: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method's results on a split.

    Attributes:
        status: `reported`, `self-scored` or `verified`.
        borda: mean share of the other methods that it beats, a tie counting half; None if there is nothing to compare.
    """

    dataset: str
    method: str
    cells: dict[str, Cell]
    status: str = SELF_SCORED
    borda: float | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Table of rows and columns.

    Attributes:
        about: lines on benchmark, protocol and missing columns.
        further: tables that are printed below it.
        intervals: whether formats print the 95 % interval of each number.
        rank: whether formats print the Borda score and rank of each method.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    about: tuple[str, ...] = ()
    further: tuple["Table", ...] = ()
    intervals: bool = False
    rank: bool = False

    @property
    def notes(self) -> dict[str, str]:
        """Return key -> text of the notes used by a cell."""
        used = {note for row in self.rows for cell in row.cells.values() for note in cell.notes}
        return {key: note.text for key, note in NOTES.items() if key in used}


def paper_columns() -> tuple[Column, ...]:
    """Return the nine columns of the paper's Table 1."""
    return tuple(Column(track=t, metric=m) for t in ("self", "cross") for m in METRICS.values() if t in m.tracks)


def make_table(
    records: Sequence[ScoreRecord],
    *,
    mix: bool = False,
    extras: bool = False,
    common: bool = False,
    columns: Sequence[Column] | None = None,
    statuses: Sequence[str] | None = None,
    reported: Callable[[tuple[Column, ...]], Sequence[Row]] | None = None,
    intervals: bool = False,
    rank: bool = False,
) -> Table:
    """Return a table with the records as rows, in the given order.

    Args:
        records: at least one record.
        mix: allow records of different protocols, benchmarks, weights or versions, marked.
        extras: add every further column of the records, and a table of the cases of three and more people.
        common: average over the cases that all records have.
        columns: columns of the table; those of the paper's Table 1 by default.
        statuses: `self-scored` or `verified` for each record.
        reported: returns rows of numbers from elsewhere for the table's columns.
        intervals: print the 95 % interval of each number.
        rank: print the Borda score and rank of each method.

    Raises:
        UserError: the records have different protocols, ids, benchmarks, weights or versions, and `mix` is false; or
            `common`, and they have no case in common.
    """
    if not records:
        raise UserError("a table needs at least one record")
    statuses = statuses or [SELF_SCORED] * len(records)
    mixed = find_incomparable(records, mix)
    records, about = restrict_to_common(records) if common else (records, [])
    columns = (*(paper_columns() if columns is None else columns), *(_extra_columns(records) if extras else ()))
    rows = _rows(records, columns, mixed, statuses, reported(columns) if reported else ())
    return Table(
        columns=columns,
        rows=tuple(rows),
        about=(*about, *_about(records, columns), *_status_lines(rows)),
        further=_several_people(records, mixed, statuses) if extras else (),
        intervals=intervals,
        rank=rank,
    )


def _rows(
    records: Sequence[ScoreRecord],
    columns: Sequence[Column],
    mixed: set[int],
    statuses: Sequence[str],
    others: Sequence[Row] = (),
) -> list[Row]:
    """Return the rows of all splits, those of `others` last; numbers of the `mixed` records are marked."""
    most_videos = _most_videos(records)
    rows: list[Row] = []
    for split, dataset in DATASETS.items():
        shown = [i for i, r in enumerate(records) if any(r.group(split, track) for track in ("self", "cross"))]
        unmarked = [
            replace(_row(records[i], split, columns, most_videos, "m" if i in mixed else ""), status=statuses[i])
            for i in shown
        ]
        shown_records = [records[i] for i in shown]
        ranked = with_borda(unmarked, shown_records, split, columns)  # first: cells with the mark of a tie count too
        rows += _mark_best(ranked, shown_records, split, columns)
        rows += [row for row in others if row.dataset == dataset]
    return rows


def _several_people(records: Sequence[ScoreRecord], mixed: set[int], statuses: Sequence[str]) -> tuple[Table, ...]:
    """Return the table of the cases of three and more people, none if there is no such case with a value."""
    restricted = restrict_to_several_people(records)
    tracks = {group.track for record in restricted for group in record.groups if group.aggregates}
    metrics = (NUM_CASES, *PEOPLE_COLUMNS)
    columns = tuple(Column(track=t, metric=m) for t in ("self", "cross") if t in tracks for m in metrics)
    rows = [replace(row, dataset=f"{SEVERAL}+ people") for row in _rows(restricted, columns, mixed, statuses)]
    about = f"Means over the cases of {SEVERAL} and more people, with 95 % intervals."
    return (Table(columns=columns, rows=tuple(rows), about=(about,), intervals=True),) if columns else ()


def _status_lines(rows: Sequence[Row]) -> Iterable[str]:
    """Yield a line on who measured the numbers."""
    methods = {status: list(dict.fromkeys(r.method for r in rows if r.status == status)) for status in STATUSES}
    shown = [f"{status}: {', '.join(names)}" for status, names in methods.items() if names]
    yield f"Status: {'; '.join(shown)}."


def with_borda(rows: Sequence[Row], records: Sequence[ScoreRecord], split: str, columns: Sequence[Column]) -> list[Row]:
    """Return a split's rows with their Borda scores over the columns, of numbers that can be compared."""
    shares: list[list[float]] = [[] for _ in rows]
    for column in columns:
        values = {i: v for i, row in enumerate(rows) if (v := _comparable(row.cells[column.key], column))}
        for i in values if len(values) > 1 else ():
            others = [j for j in values if j != i]
            points = [_points(records[i], records[j], values[i], values[j], split, column) for j in others]
            shares[i].append(sum(points) / len(points))
    return [replace(row, borda=sum(s) / len(s) if s else None) for row, s in zip(rows, shares, strict=True)]


def _points(
    a: ScoreRecord, b: ScoreRecord, first: tuple[float, float], second: tuple[float, float], split: str, column: Column
) -> float:
    """Return 1 if the first method is better, 0 if it is worse, 0.5 for a tie."""
    if first[0] == second[0] or is_tie(a, b, split, column.track, column.metric):
        return 0.5
    return float(first > second)


def _extra_columns(records: Sequence[ScoreRecord]) -> tuple[Column, ...]:
    present = {(g.track, name) for r in records for g in r.groups for name in g.aggregates}
    shown = {(c.track, c.metric.name) for c in paper_columns()}
    extra = [(t, m) for t in ("self", "cross") for m in COLUMNS.values() if (t, m.name) in present - shown]
    return tuple(Column(track=track, metric=metric) for track, metric in extra)


def _most_videos(records: Sequence[ScoreRecord]) -> dict[tuple[str, str, str], int]:
    """Return (split, track, column) -> largest number of videos behind a number of a record."""
    most: dict[tuple[str, str, str], int] = {}
    for group in (group for record in records for group in record.groups):
        for name, aggregate in group.aggregates.items():
            key = group.split, group.track, name
            most[key] = max(most.get(key, 0), aggregate.num_videos)
    return most


def _row(
    record: ScoreRecord,
    split: str,
    columns: Sequence[Column],
    most_videos: dict[tuple[str, str, str], int],
    note: str,
) -> Row:
    cells = {}
    for column in columns:
        most = most_videos.get((split, column.track, column.metric.name), 0)
        cells[column.key] = _cell(record.group(split, column.track), column, most, note)
    return Row(dataset=DATASETS[split], method=record.method, cells=cells)


def _cell(group: Group | None, column: Column, most_videos: int, note: str) -> Cell:
    if group is None:
        return Cell(why="not scored")
    if column.is_count:
        count = max((a.num_videos for a in group.aggregates.values()), default=0)
        return Cell(text=str(count), aggregate=Aggregate(value=count, num_videos=count))
    aggregate = group.aggregates.get(column.metric.name)
    if aggregate is None:
        return Cell(why=group.unscored.get(column.metric.name, "not scored"))
    notes = partial_notes(group, column.metric, aggregate.num_videos, most_videos) + note
    return Cell(text=printed(column.metric, aggregate.value), aggregate=aggregate, notes=notes)


def printed(metric: Metric, value: float) -> str:
    """Return a value as printed in a table: scaled, with the metric's number of decimals."""
    return f"{value * metric.table_scale:.{metric.decimals}f}"


def _mark_best(rows: Sequence[Row], records: Sequence[ScoreRecord], split: str, columns: Sequence[Column]) -> list[Row]:
    """Return a split's rows with the best value of each column marked, and those tied with it; one row has none."""
    found = {column.key: _find_best(rows, records, split, column) for column in columns}
    second = {column.key: _find_second(rows, column) for column in columns}
    marked = []
    for i, row in enumerate(rows):
        cells = {}
        for key, cell in row.cells.items():
            best, tied = found[key]
            notes = cell.notes + ("t" if i in tied and len(tied) > 1 else "")
            cells[key] = replace(cell, best=i in best, second=i in second[key], notes=notes)
        marked.append(replace(row, cells=cells))
    return marked


def _find_best(
    rows: Sequence[Row], records: Sequence[ScoreRecord], split: str, column: Column
) -> tuple[set[int], set[int]]:
    """Return the rows with the best value of a column as printed, and those tied with it, the best ones included."""
    values = {i: value for i, row in enumerate(rows) if (value := _comparable(row.cells[column.key], column))}
    if len(values) < 2:
        return set(), set()
    first = max(values, key=lambda i: values[i])
    best = {i for i in values if rows[i].cells[column.key].text == rows[first].cells[column.key].text}
    tied = {i for i in values if is_tie(records[first], records[i], split, column.track, column.metric)}
    return best, best | tied


def _find_second(rows: Sequence[Row], column: Column) -> set[int]:
    """Return the rows with the second-best value of a column as printed, if three or more can be compared."""
    printed_values = {i: v[0] for i, row in enumerate(rows) if (v := _comparable(row.cells[column.key], column))}
    ranked = sorted(set(printed_values.values()), reverse=True)
    if len(printed_values) < 3 or len(ranked) < 2 or list(printed_values.values()).count(ranked[0]) > 1:
        return set()
    return {i for i, value in printed_values.items() if value == ranked[1]}


def _comparable(cell: Cell, column: Column) -> tuple[float, float] | None:
    """Return the value as printed and in full, larger if better, or None for a cell that must not be the best."""
    if cell.aggregate is None or cell.notes or column.is_count:
        return None
    sign = 1 if column.metric.higher_is_better else -1
    return sign * float(cell.text), sign * cell.aggregate.value


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
    yield from cost_lines(records)
