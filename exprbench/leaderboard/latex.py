"""Render a table as LaTeX that is ready for a paper: a `table*` for the package booktabs."""

from dataclasses import replace

from exprbench.leaderboard.marks import NOTES
from exprbench.leaderboard.receipts import VERIFIED
from exprbench.leaderboard.rendering import TRACK_NAMES, borda_cells, interval_ends, one_line
from exprbench.leaderboard.rows import Cell, Column, Row, Table

ARROWS = {True: r"$\uparrow$", False: r"$\downarrow$"}
UNITS = {"1e-2": r"$10^{-2}$", "1e-3": r"$10^{-3}$", "degrees": r"deg."}
MOST, MOST_WITH_INTERVALS = 9, 6  # columns of numbers that fit the width of a page
LONG_NAME, WRAPPED = 24, "36mm"  # characters above which a method's name is wrapped, and the width of its lines


def to_latex(table: Table) -> str:
    """Return a LaTeX `table*` in the layout of the paper's Table 1, and one for each further table.

    It needs the package booktabs only.

    The best value of a column is bold, the second underlined; units are in the header, the legend of the marks is below
    the table, and what the numbers depend on is in comments.
    """
    return "\n".join(map(_latex_table, (table, *table.further)))


def _latex_table(table: Table) -> str:
    size = r"\scriptsize" if table.intervals or table.rank else r"\footnotesize"
    lines = [r"\begin{table*}[t]", r"\centering", size, r"\setlength{\tabcolsep}{3pt}"]
    lines += [r"\renewcommand{\arraystretch}{1.4}"] if table.intervals else []  # room for sub- and superscripts
    lines += [_caption(table), *_tabulars(table), *_legend(table), r"\end{table*}"]
    return "\n".join([*lines, *(f"% {one_line(line)}" for line in table.about)]) + "\n"


def _tabulars(table: Table) -> list[str]:
    """Return the lines of one `tabular` for all columns that fit the width, and of others below it; the last ranks."""
    most = MOST_WITH_INTERVALS if table.intervals else MOST
    lines: list[str] = []
    for start in range(0, len(table.columns), most):
        columns = table.columns[start : start + most]
        part = replace(table, columns=columns, rank=table.rank and columns[-1] == table.columns[-1])
        lines += [r"\par\medskip"] if start else []
        lines += [rf"\begin{{tabular}}{{ll{'r' * (len(columns) + 2 * part.rank)}}}", r"\toprule", *_head(part)]
        lines += [r"\midrule", *_body(part), r"\bottomrule", r"\end{tabular}"]
    return lines


def _caption(table: Table) -> str:
    ranked = any(cell.second for row in table.rows for cell in row.cells.values())
    second = r", \underline{second best} underlined" if ranked else ""
    intervals = r" Sub- and superscripts are the ends of 95\,\% intervals over videos." if table.intervals else ""
    return rf"\caption{{Results on ExprBench. \textbf{{Best}} values are bold{second}.{intervals}}}"


def _head(table: Table) -> list[str]:
    spans = [(name, sum(c.track == track for c in table.columns)) for track, name in TRACK_NAMES.items()]
    spans = [(name, n) for name, n in spans if n]
    starts = [3 + sum(n for _, n in spans[:i]) for i in range(len(spans))]
    groups = " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{name}}}" for name, n in spans)
    rules = " ".join(rf"\cmidrule(lr){{{start}-{start + n - 1}}}" for start, (_, n) in zip(starts, spans, strict=True))
    more = " & & " if table.rank else ""
    titles = [escape(c.title) + _arrow(c) for c in table.columns]
    titles += [r"Borda $\uparrow$", "Rank"] if table.rank else []
    lines = [rf" & & {groups}{more} \\", rules, rf"Dataset & Method & {' & '.join(titles)} \\"]
    units = [f"({UNITS.get(c.metric.unit, escape(c.metric.unit))})" if c.metric.unit else "" for c in table.columns]
    return [*lines, rf" & & {' & '.join(units)}{more} \\"] if any(units) else lines


def _arrow(column: Column) -> str:
    return "" if column.is_count else f" {ARROWS[column.metric.higher_is_better]}"


def _body(table: Table) -> list[str]:
    lines = []
    for i, row in enumerate(table.rows):
        is_first = i == 0 or row.dataset != table.rows[i - 1].dataset
        if i and is_first:
            lines.append(r"\midrule")
        cells = [_cell(row.cells[c.key], c if table.intervals else None) for c in table.columns]
        cells += [text.replace("\u2013", "--") for text in borda_cells(table, row)] if table.rank else []
        lines.append(rf"{row.dataset if is_first else ''} & {_method(row)} & {' & '.join(cells)} \\")
    return lines


def _method(row: Row) -> str:
    name = escape(row.method) + (r"$^{\mathrm{v}}$" if row.status == VERIFIED else "")
    return rf"\parbox[t]{{{WRAPPED}}}{{\raggedright {name}\strut}}" if len(row.method) > LONG_NAME else name


def _cell(cell: Cell, with_interval: Column | None) -> str:
    text = cell.text or "--"
    if cell.best or cell.second:
        text = rf"\{'textbf' if cell.best else 'underline'}{{{text}}}"
    marks = "".join(NOTES[key].latex for key in cell.notes)
    text = f"{text}$^{{{marks}}}$" if marks else text
    ends = interval_ends(with_interval, cell) if with_interval else None
    return rf"{text}\,$_{{{ends[0]}}}^{{{ends[1]}}}$" if ends else text


def _legend(table: Table) -> list[str]:
    notes = [f"${NOTES[key].latex}$: {escape(text)}." for key, text in table.notes.items()]
    if any(row.status == VERIFIED for row in table.rows):
        notes.append(r"$\mathrm{v}$: verified.")
    text = "\n".join(notes)
    return [r"\par\smallskip", rf"\parbox{{\textwidth}}{{\scriptsize {text}}}"] if notes else []


def escape(text: str) -> str:
    """Return a text in one line in which LaTeX finds no command."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}  # other letters in the default font
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in one_line(text))
