"""Tables of score records in the layout of the paper's Table 1, and the pages under `results/`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from exprbench.core.errors import unknown_name
from exprbench.leaderboard.receipts import status_of
from exprbench.leaderboard.reported import reported_rows
from exprbench.leaderboard.rows import Table, make_table
from exprbench.leaderboard.table_formats import FORMATS
from exprbench.leaderboard.verification import load_all
from exprbench.records import ScoreRecord

__all__ = ["FORMATS", "Table", "make_table", "table"]


def table(
    records: Sequence[ScoreRecord | Path | str] | ScoreRecord | Path | str,
    *,
    format: str = "md",
    mix: bool = False,
    extras: bool = False,
    common: bool = False,
    reported: str | None = None,
    intervals: bool = False,
    rank: bool = False,
) -> str:
    """Return a table of score records as text.

    Args:
        records: records, or paths of their files; a single one too.
        format: `md`, `latex`, `csv`, `json` or `html`.
        mix: allow records of different protocols, benchmarks, weights or versions in one table, marked.
        extras: add every further column of the records, and a table of the cases of three and more people.
        common: average over the cases that all records have.
        reported: add numbers of the paper, marked: `paper` (its Table 1) or `ablation` (its Table 3).
        intervals: print the 95 % interval of each number.
        rank: print the Borda score of each method, the mean share of the other methods that it beats, and its rank.

    Raises:
        UserError: unknown format, invalid record, a record in a file whose numbers do not follow from its cases, or
            records that cannot be in one table.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, list(FORMATS))
    items = [records] if isinstance(records, (ScoreRecord, Path, str)) else list(records)
    made = make_table(
        load_all(items),
        mix=mix,
        extras=extras,
        common=common,
        statuses=[status_of(item) for item in items],
        reported=partial(reported_rows, reported) if reported else None,
        intervals=intervals,
        rank=rank,
    )
    return FORMATS[format](made)
