"""Render a table as Markdown, CSV, JSON or HTML; `latex` renders LaTeX."""

import csv
import html
import io
import re
from collections.abc import Sequence
from typing import Any

from exprbench.core.files import dump_json
from exprbench.leaderboard.marks import NOTES
from exprbench.leaderboard.receipts import VERIFIED
from exprbench.leaderboard.rows import Cell, Column, Row, Table, printed

TRACK_NAMES = {"self": "Self Reenactment", "cross": "Cross Reenactment"}
NOTHING = "\u2013"
CHECK = "\u2713"
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # what a spreadsheet takes for the start of one


def to_markdown(table: Table) -> str:
    """Return the table as GitHub Markdown, with the best values in bold, notes and protocol; then further tables."""
    return "\n".join(map(_md_table, (table, *table.further)))


def _md_table(table: Table) -> str:
    titles = [f"{_prefix(c)}{c.title}{arrow(c)}{unit_suffix(c)}" for c in table.columns]
    lines = [["Dataset", "Method", *titles, *(["Borda \u2191", "Rank"] if table.rank else [])]]
    for row in table.rows:
        cells = [_md_cell(row.cells[c.key], c if table.intervals else None) for c in table.columns]
        lines.append([row.dataset, _md_method(row), *cells, *(borda_cells(table, row) if table.rank else [])])
    notes = [f"{NOTES[key].symbol} {text}." for key, text in table.notes.items()]
    about = [md_escape(line) for line in table.about]
    return "\n".join([*md_lines(lines), "", *_paragraphs([*notes, *about])]) + "\n"


def md_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; the first row is its header, and all but two columns are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * w if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    padded = [
        [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))] for row in rows
    ]
    return [f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:])]


def _prefix(column: Column) -> str:
    return f"{TRACK_NAMES[column.track].split()[0]} "


def arrow(column: Column) -> str:
    """Return an arrow that points to the better values, with a space before it; empty for a number of cases."""
    return "" if column.is_count else " \u2191" if column.metric.higher_is_better else " \u2193"


def unit_suffix(column: Column) -> str:
    """Return the unit of a column in parentheses, empty if it has none."""
    return f" ({column.metric.unit})" if column.metric.unit else ""


def _paragraphs(lines: Sequence[str]) -> list[str]:
    return [line for text in lines for line in (text, "")][:-1]


def _md_method(row: Row) -> str:
    return md_escape(row.method) + (f" {CHECK}" if row.status == VERIFIED else "")


def _md_cell(cell: Cell, with_interval: Column | None) -> str:
    return (f"**{cell.text}**" if cell.best else cell.text or NOTHING) + symbols(cell) + _interval(cell, with_interval)


def _interval(cell: Cell, column: Column | None) -> str:
    """Return the interval of a number after a space; empty without a column, that of a table without intervals."""
    text = interval_text(column, cell) if column else ""
    return f" {text}" if text else ""


def interval_text(column: Column, cell: Cell) -> str:
    """Return the 95 % interval of a number as printed in a table, empty if it has none."""
    ends = interval_ends(column, cell)
    return f"[{', '.join(ends)}]" if ends else ""


def interval_ends(column: Column, cell: Cell) -> tuple[str, str] | None:
    """Return the ends of the 95 % interval of a number as printed in a table, None if it has no interval."""
    if cell.aggregate is None or cell.aggregate.low is None or cell.aggregate.high is None:
        return None
    return printed(column.metric, cell.aggregate.low), printed(column.metric, cell.aggregate.high)


def borda_cells(table: Table, row: Row) -> list[str]:
    """Return the Borda score and the rank of a row among those of its dataset; equal scores share a rank."""
    if row.borda is None:
        return [NOTHING, NOTHING]
    scores = [other.borda for other in table.rows if other.dataset == row.dataset and other.borda is not None]
    return [f"{row.borda:.2f}", str(1 + sum(score > row.borda + 1e-9 for score in scores))]


def symbols(cell: Cell) -> str:
    """Return the symbols of the notes on a number."""
    return "".join(NOTES[key].symbol for key in cell.notes)


def md_escape(text: str) -> str:
    """Escape text for Markdown; underscores within words and ids such as `fid[a,b]` need no escaping."""
    escaped = re.sub(r"([\\`*|#~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<!\w)\[|\](?=[(:\[]))", r"\\\1", one_line(text))
    return html.escape(escaped, quote=False)


def one_line(text: str) -> str:
    """Return a text without line breaks and control characters, either of which could end a comment or a cell."""
    return "".join(c if c.isprintable() else " " for c in text)


def csv_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before a first =, +, - or @."""
    return f"'{one_line(text)}" if one_line(text).strip()[:1] in FORMULA else one_line(text)


def to_csv(table: Table) -> str:
    """Return CSV with one row per method and dataset; numbers as printed in the table, empty if there is none.

    Rows of further tables follow, with columns of their own for what the first table lacks. The column `notes` holds
    the notes on the numbers of the row, such as `self_PSNR self_SSIM: frames are missing`; the column `status` is
    `reported`, `self-scored` or `verified`.
    """
    rows = [_csv_row(part, row) for part in (table, *table.further) for row in part.rows]
    last = {"notes": None, "status": None}
    fields = dict.fromkeys(["dataset", "method", *(column.key for column in table.columns)])
    fields |= dict.fromkeys(field for row in rows for field in row if field not in last) | last
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fields), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_row(table: Table, row: Row) -> dict[str, str]:
    intervals = {f"{c.key}_interval": interval_text(c, row.cells[c.key]) for c in table.columns if table.intervals}
    return {
        "dataset": row.dataset,
        "method": csv_cell(row.method),
        **{column.key: row.cells[column.key].text for column in table.columns},
        **{key: text for key, text in intervals.items() if text},
        "notes": csv_cell(_row_notes(row)),
        "status": row.status,
    }


def _row_notes(row: Row) -> str:
    marked = {key: [name for name, cell in row.cells.items() if key in cell.notes] for key in NOTES}
    return ". ".join(f"{' '.join(names)}: {NOTES[key].text}" for key, names in marked.items() if names)


def to_json(table: Table) -> str:
    """Return JSON with unscaled values, intervals, counts, notes and reasons."""
    return dump_json({**_json_table(table), "further": [_json_table(further) for further in table.further]})


def _json_table(table: Table) -> dict[str, Any]:
    return {
        "columns": [_json_column(c) for c in table.columns],
        "rows": [_json_row(row) for row in table.rows],
        "notes": table.notes,
        "about": list(table.about),
    }


def _json_column(column: Column) -> dict[str, Any]:
    metric = column.metric
    fields = {"key": column.key, "track": column.track, "metric": metric.name, "unit": metric.unit}
    kind = "count" if column.is_count else "extra" if metric.is_extra else "metric"
    return {**fields, "kind": kind, "table_scale": metric.table_scale, "higher_is_better": metric.higher_is_better}


def _json_row(row: Row) -> dict[str, Any]:
    fields = {"dataset": row.dataset, "method": row.method, "status": row.status, "borda": row.borda}
    return {**fields, "cells": {k: _json_cell(c) for k, c in row.cells.items()}}


def _json_cell(cell: Cell) -> dict[str, Any]:
    if cell.aggregate is None:
        return {"text": cell.text, "notes": cell.notes} if cell.text else {"text": "", "why": cell.why}
    numbers = {name: value for name, value in vars(cell.aggregate).items() if name != "influence"}
    return {**numbers, "text": cell.text, "best": cell.best, "notes": cell.notes}


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2330 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #e3e6ec }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
thead tr:last-child th { border-bottom: 2px solid #1c2330 } .group { text-align: center; color: #5b6575 }
.best { font-weight: 700 } .none { color: #9aa3b2 } .about { color: #5b6575; font-size: 13px }
"""


def to_html(table: Table) -> str:
    """Return a standalone HTML page; each number has its interval as a tooltip."""
    tables = "".join(map(html_table, (table, *table.further)))
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>ExprBench</title>\n<style>{STYLE}</style>\n'
        f"{tables}</html>\n"
    )


def html_table(table: Table) -> str:
    """Return the `<table>` of a page and the paragraphs below it."""
    groups = [(name, sum(c.track == t for c in table.columns)) for t, name in TRACK_NAMES.items()]
    spans = "".join(f'<th class="group" colspan="{n}">{name}</th>' for name, n in groups if n)
    titles = "".join(f"<th>{html.escape(c.title)}{arrow(c)}{html.escape(unit_suffix(c))}</th>" for c in table.columns)
    rows = "".join(f"<tr>{_html_row(table, row)}</tr>\n" for row in table.rows)
    notes = _html_paragraphs([f"{NOTES[key].symbol} {text}." for key, text in table.notes.items()])
    about = f"<details><summary>Benchmark, ids and protocol</summary>\n{_html_paragraphs(table.about)}</details>\n"
    return (
        f"<table><thead><tr><th></th><th></th>{spans}</tr>\n<tr><th>Dataset</th><th>Method</th>{titles}</tr></thead>\n"
        f"<tbody>\n{rows}</tbody></table>\n{notes}{about if table.about else ''}"
    )


def _html_paragraphs(lines: Sequence[str]) -> str:
    return "".join(f'<p class="about">{html.escape(line)}</p>\n' for line in lines)


def _html_row(table: Table, row: Row) -> str:
    cells = "".join(_html_cell(row.cells[c.key], c if table.intervals else None) for c in table.columns)
    check = f' <span title="verified">{CHECK}</span>' if row.status == VERIFIED else ""
    return f"<td>{html.escape(row.dataset)}</td><td>{html.escape(row.method)}{check}</td>{cells}"


def _html_cell(cell: Cell, with_interval: Column | None) -> str:
    if cell.aggregate is None:
        title = html.escape(cell.why or "; ".join(NOTES[key].text for key in cell.notes))
        return f'<td class="none" title="{title}">{cell.text or NOTHING}{symbols(cell)}</td>'
    low, high = cell.aggregate.low, cell.aggregate.high
    interval = f"95 % interval {low:.6g} to {high:.6g}, unscaled; " if low is not None and high is not None else ""
    notes = "".join(f"; {NOTES[key].text}" for key in cell.notes)
    title = html.escape(f"{interval}{cell.aggregate.num_videos} videos{notes}")
    kind = ' class="best"' if cell.best else ""
    return f'<td{kind} title="{title}">{cell.text}{symbols(cell)}{_interval(cell, with_interval)}</td>'
