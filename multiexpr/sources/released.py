"""The released Multi-Expr dataset, and whatever looks like it: a folder of videos with a table that names them.

Which column names the videos is found by looking which of them do.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from exprbench.core.errors import UserError
from multiexpr.sources.catalogue import catalogue
from multiexpr.sources.entry import Entry, Place, Problem
from multiexpr.sources.joining import Files, SourceOptions, full_name, join, left_over, mapped
from multiexpr.sources.tabular import TABLES, Row, renamed, rows_of

LOOKED_AT = 50  # rows of a table, to find the column that names files
MIN_SHARE = 0.2  # of these that must name one: rows without a file are common


def tables_in(root: Path) -> list[Path]:
    """Tables at the top of a folder and one level below."""
    found = {path for pattern in ("*", "*/*") for path in root.glob(pattern) if path.suffix.lower() in TABLES}
    return sorted(path for path in found if path.is_file())


def is_released(root: Path) -> bool:
    """Does a table have a column that names videos which lie here?"""
    tables = tables_in(root)
    files = Files(item for item in catalogue(root) if isinstance(item, Place)) if tables else None
    return any(_path_column(path, files, SourceOptions()) for path in tables) if files else False


def read_released(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Entries under their paths.

    Raises:
        UserError: no table names any of the videos.
    """
    found = list(catalogue(root))
    yield from (item for item in found if isinstance(item, Problem))
    files = Files(item for item in found if isinstance(item, Place))
    named = [(path, _path_column(path, files, options)) for path in tables_in(root)]
    if not any(column for _, column in named):
        raise UserError(f"no table in {root} names its videos; say which column does with --columns path=NAME")
    for path, column in named:
        if column:
            yield from join(_rows(path, options), files, options, full_name, column)
    yield from left_over(files, options, full_name)


def _rows(path: Path, options: SourceOptions) -> Iterator[Row | Problem]:
    for row in rows_of(path):
        yield row if isinstance(row, Problem) else renamed(row, options.columns)


def _path_column(path: Path, files: Files, options: SourceOptions) -> str:
    """The column most of whose first values name files; empty where none does."""
    rows = [row for row in islice(_rows(path, options), LOOKED_AT) if not isinstance(row, Problem)]
    if "path" in options.columns:
        return "path"
    hits: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str) and files.find(mapped(value, options.path_map)) is not None:
                hits[name] = hits.get(name, 0) + 1
    best = max(hits, key=lambda name: hits[name], default="")
    return best if best and hits[best] >= MIN_SHARE * len(rows) else ""
