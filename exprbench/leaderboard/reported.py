"""Numbers of the paper's tables, as printed, and rows of them for other tables."""

import csv
from functools import lru_cache
from pathlib import Path

from exprbench.core.errors import UserError
from exprbench.leaderboard.rows import Cell, Column, Row, paper_columns

FOLDER = Path(__file__).with_name("paper")
TABLES = {
    "table1": "Table 1, quantitative results (LMD in 1e-3, AED in 1e-2, APD in 1e-3)",
    "table2": "Table 2, user study (0 to 10; higher is better)",
    "table3": "Table 3, ablation in cross reenactment",
}
SOURCES = {"paper": "table1", "ablation": "table3"}
REPORTED = "reported"


@lru_cache
def paper_table(number: int) -> list[dict[str, str]]:
    """Return the rows of the paper's Table 1, 2 or 3, every number as printed.

    Raises:
        UserError: there is no such table.
    """
    name = f"table{number}"
    if name not in TABLES:
        raise UserError(f"the paper has no results in Table {number}; expected 1, 2 or 3")
    with (FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reported_rows(source: str, columns: tuple[Column, ...]) -> list[Row]:
    """Return the rows of a table of the paper, `paper` (Table 1) or `ablation` (Table 3), for a table's columns.

    Their numbers are marked and never the best: the paper does not specify its protocol.

    Raises:
        UserError: an unknown source.
    """
    if source not in SOURCES:
        raise UserError(f"--with is {source!r}; expected paper (its Table 1) or ablation (its Table 3)")
    known = {column.key for column in paper_columns()}
    return [
        Row(
            dataset=row["dataset"],
            method=row["method"],
            cells={column.key: _cell(row, column.key if column.key in known else "") for column in columns},
            status=REPORTED,
        )
        for row in paper_table(int(SOURCES[source][-1]))
    ]


def _cell(row: dict[str, str], key: str) -> Cell:
    return Cell(text=row[key], notes="r") if row.get(key) else Cell(why="not reported")
