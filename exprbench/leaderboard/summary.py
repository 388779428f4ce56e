"""Summary of one record for a terminal: the columns asked for, a table per track, lines of at most 100 characters."""

import textwrap
from collections.abc import Iterable, Sequence

from exprbench.leaderboard.marks import NOTES
from exprbench.leaderboard.rendering import NOTHING, arrow, one_line, symbols, unit_suffix
from exprbench.leaderboard.rows import Column, Table, make_table, paper_columns
from exprbench.metrics import COLUMNS
from exprbench.records import ScoreRecord
from exprbench.weights import brief_reason

WIDTH = 100


def summary(record: ScoreRecord, metrics: Sequence[str] | None = None) -> str:
    """Return the numbers of a record as text.

    Args:
        metrics: names of columns; the paper's Table 1 by default.
    """
    table = make_table([record], columns=_columns(record, metrics))
    blocks = []
    for track in ("self", "cross"):
        columns = [column for column in table.columns if column.track == track]
        for part in _parts(table, columns):
            title = f"{one_line(record.method)[:60]}, {track} reenactment"
            blocks.append("\n".join([title, *_lines(table, part)]))
    notes = [f"{NOTES[key].symbol} {text}." for key, text in table.notes.items()]
    reasons = list(_reasons(record, table.columns))
    lines = [line for text in (*notes, *reasons) for line in textwrap.wrap(one_line(text), WIDTH)]
    blocks += ["\n".join(lines)] if lines else []
    return "\n\n".join(blocks) + "\n"


def _columns(record: ScoreRecord, metrics: Sequence[str] | None) -> tuple[Column, ...]:
    """Return the columns asked for, on the tracks that the record has."""
    tracks = {group.track for group in record.groups}
    if metrics is None:
        known = [column for column in paper_columns() if column.metric.name in record.ids]
    else:
        names = [name for name in metrics if name in COLUMNS]
        known = [Column(track=t, metric=COLUMNS[n]) for t in ("self", "cross") for n in names]
    return tuple(c for c in known if c.track in tracks and c.track in c.metric.defined_on)


def _grid(table: Table, columns: Sequence[Column]) -> list[list[str]]:
    head = ["", *(f"{c.title}{arrow(c)}{unit_suffix(c)}" for c in columns)]
    rows = [
        [row.dataset, *((row.cells[c.key].text or NOTHING) + symbols(row.cells[c.key]) for c in columns)]
        for row in table.rows
    ]
    return [head, *rows]


def _lines(table: Table, columns: Sequence[Column]) -> list[str]:
    grid = _grid(table, columns)
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    padded = [
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in grid
    ]
    return ["  ".join(row).rstrip() for row in padded]


def _parts(table: Table, columns: Sequence[Column]) -> Iterable[list[Column]]:
    """Yield runs of columns, each of which fits the width."""
    part: list[Column] = []
    for column in columns:
        if part and max(map(len, _lines(table, [*part, column]))) > WIDTH:
            yield part
            part = []
        part.append(column)
    if part:
        yield part


def _reasons(record: ScoreRecord, columns: Sequence[Column]) -> Iterable[str]:
    """Yield why numbers are missing, once for each reason."""
    found: dict[str, None] = {}
    for group in record.groups:
        for column in columns:
            if column.track == group.track and (reason := group.unscored.get(column.metric.name)):
                found[f"No {column.title}: {brief_reason(reason)}."] = None
    return found
