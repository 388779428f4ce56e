"""Tables of score records in the layout of the paper's Table 1, and the pages under `results/`."""

from collections.abc import Sequence
from pathlib import Path

from exprbench.core.errors import unknown_name
from exprbench.leaderboard.rendering import FORMATS
from exprbench.leaderboard.rows import Table, make_table
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
) -> str:
    """Return a table of score records as text.

    Args:
        records: records, or paths of their files; a single one too.
        format: `md`, `latex`, `csv`, `json` or `html`.
        mix: allow records of different protocols, benchmarks, weights or versions in one table, marked.
        extras: add every further column of the records, and a table of the cases of three and more people.
        common: average over the cases that all records have.

    Raises:
        UserError: unknown format, invalid record, a record in a file whose numbers do not follow from its cases, or
            records that cannot be in one table.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, list(FORMATS))
    loaded = load_all(records)
    return FORMATS[format](make_table(loaded, mix=mix, extras=extras, common=common))
