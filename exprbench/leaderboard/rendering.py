"""Render a table as Markdown, LaTeX, CSV, JSON or HTML."""

import csv
import html
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from exprbench.core.files import dump_json
from exprbench.leaderboard.marks import NOTES
from exprbench.leaderboard.rows import Cell, Column, Row, Table

TRACK_NAMES = {"self": "Self Reenactment", "cross": "Cross Reenactment"}
NOTHING = "\u2013"
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # what a spreadsheet takes for the start of one


def to_markdown(table: Table) -> str:
    """Return the table as GitHub Markdown, with the best values in bold, notes and protocol; then further tables."""
    return "\n".join(map(_md_table, (table, *table.further)))


def _md_table(table: Table) -> str:
    lines = [["Dataset", "Method", *(f"{_prefix(c)}{c.title}{arrow(c)}{unit_suffix(c)}" for c in table.columns)]]
    lines += [
        [row.dataset, md_escape(row.method), *(_md_cell(row.cells[c.key]) for c in table.columns)] for row in table.rows
    ]
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


def _md_cell(cell: Cell) -> str:
    return (f"**{cell.text}**" if cell.best else cell.text or NOTHING) + symbols(cell) + _in_brackets(cell.interval)


def _in_brackets(interval: str) -> str:
    return f" ({interval})" if interval else ""


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


def to_latex(table: Table) -> str:
    """Return a LaTeX `tabular` for the package booktabs, in the layout of the paper's Table 1; one for each table."""
    return "\n".join(map(_tex_table, (table, *table.further)))


def _tex_table(table: Table) -> str:
    spans = [(name, sum(c.track == t for c in table.columns)) for t, name in TRACK_NAMES.items()]
    groups = " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{name}}}" for name, n in spans if n)
    titles = " & ".join(f"{_tex(c.title)}{_tex_arrow(c)}" for c in table.columns)
    lines = [rf"\begin{{tabular}}{{ll{'r' * len(table.columns)}}}", r"\toprule", rf" & & {groups} \\"]
    lines += [rf"Dataset & Method & {titles} \\", r"\midrule"]
    for i, row in enumerate(table.rows):
        if i and row.dataset != table.rows[i - 1].dataset:
            lines.append(r"\midrule")
        first = i == 0 or row.dataset != table.rows[i - 1].dataset
        cells = " & ".join(_tex_cell(row.cells[c.key]) for c in table.columns)
        lines.append(rf"{row.dataset if first else ''} & {_tex(row.method)} & {cells} \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [f"% ${NOTES[key].latex}$: {text}" for key, text in table.notes.items()]
    return "\n".join([*lines, *notes, *(f"% {one_line(line)}" for line in table.about)]) + "\n"


def _tex_arrow(column: Column) -> str:
    return "" if column.is_count else r" $\uparrow$" if column.metric.higher_is_better else r" $\downarrow$"


def _tex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{cell.text}}}" if cell.best else cell.text or "--"
    marks = "".join(NOTES[key].latex for key in cell.notes)
    return (f"{text}$^{{{marks}}}$" if marks else text) + _in_brackets(cell.interval)


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in one_line(text))


def to_csv(table: Table) -> str:
    """Return CSV with one row per method and dataset; numbers as printed in the table, empty if there is none.

    Rows of further tables follow, with columns of their own for what the first table lacks. The last column holds the
    notes on the numbers of the row, such as `self_PSNR self_SSIM: frames are missing`.
    """
    rows = [_csv_row(row) for part in (table, *table.further) for row in part.rows]
    fields = dict.fromkeys(["dataset", "method", *(column.key for column in table.columns)])
    fields |= dict.fromkeys(field for row in rows for field in row if field != "notes") | {"notes": None}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fields), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_row(row: Row) -> dict[str, str]:
    cells = {key: cell.text for key, cell in row.cells.items()}
    intervals = {f"{key}_interval": cell.interval for key, cell in row.cells.items() if cell.interval}
    return {
        "dataset": row.dataset,
        "method": csv_cell(row.method),
        **cells,
        **intervals,
        "notes": csv_cell(_row_notes(row)),
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
    return {"dataset": row.dataset, "method": row.method, "cells": {k: _json_cell(c) for k, c in row.cells.items()}}


def _json_cell(cell: Cell) -> dict[str, Any]:
    if cell.aggregate is None:
        return {"text": "", "why": cell.why}
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
    tables = "".join(map(_html_table, (table, *table.further)))
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>ExprBench</title>\n<style>{STYLE}</style>\n'
        f"{tables}</html>\n"
    )


def _html_table(table: Table) -> str:
    groups = [(name, sum(c.track == t for c in table.columns)) for t, name in TRACK_NAMES.items()]
    spans = "".join(f'<th class="group" colspan="{n}">{name}</th>' for name, n in groups if n)
    titles = "".join(f"<th>{html.escape(c.title)}{arrow(c)}{html.escape(unit_suffix(c))}</th>" for c in table.columns)
    rows = "".join(f"<tr>{_html_row(table, row)}</tr>\n" for row in table.rows)
    notes = [f"{NOTES[key].symbol} {text}." for key, text in table.notes.items()]
    about = "".join(f'<p class="about">{html.escape(line)}</p>\n' for line in [*notes, *table.about])
    return (
        f"<table><thead><tr><th></th><th></th>{spans}</tr>\n<tr><th>Dataset</th><th>Method</th>{titles}</tr></thead>\n"
        f"<tbody>\n{rows}</tbody></table>\n{about}"
    )


def _html_row(table: Table, row: Row) -> str:
    cells = "".join(_html_cell(row.cells[c.key]) for c in table.columns)
    return f"<td>{html.escape(row.dataset)}</td><td>{html.escape(row.method)}</td>{cells}"


def _html_cell(cell: Cell) -> str:
    if cell.aggregate is None:
        return f'<td class="none" title="{html.escape(cell.why)}">{NOTHING}</td>'
    low, high = cell.aggregate.low, cell.aggregate.high
    interval = f"95 % interval {low:.6g} to {high:.6g}, unscaled; " if low is not None and high is not None else ""
    notes = "".join(f"; {NOTES[key].text}" for key in cell.notes)
    title = html.escape(f"{interval}{cell.aggregate.num_videos} videos{notes}")
    kind = ' class="best"' if cell.best else ""
    return f'<td{kind} title="{title}">{cell.text}{symbols(cell)}{_in_brackets(cell.interval)}</td>'


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "json": to_json,
    "html": to_html,
}
