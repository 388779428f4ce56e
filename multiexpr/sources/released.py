"""Layout of the released Multi-Expr dataset: a folder of videos with a table that names them.

The column that names the videos is detected from its values.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from exprbench.core.errors import UserError
from multiexpr.sources.catalogue import catalogue, is_regular
from multiexpr.sources.entry import Entry, Location, Problem
from multiexpr.sources.joining import FileIndex, SourceOptions, full_path, join, map_path, unmatched_files
from multiexpr.sources.tabular import TABLES, Row, iter_rows, rename_columns

NUM_PROBED_ROWS = 50  # rows of a table that are read to detect the column
MIN_SHARE = 0.2  # minimum share of these that name a file; it is low because rows without a file are common


def tables_in(root: Path) -> list[Path]:
    """Return the tables in a folder and in its subfolders, one level deep."""
    paths = {path for pattern in ("*", "*/*") for path in root.glob(pattern) if path.suffix.lower() in TABLES}
    return sorted(path for path in paths if is_regular(path))


def is_released(root: Path) -> bool:
    """Return whether a table has a column that names videos of the folder."""
    tables = tables_in(root)
    files = FileIndex(item for item in catalogue(root) if isinstance(item, Location)) if tables else None
    return any(_path_column(path, files, SourceOptions()) for path in tables) if files else False


def read_released(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield an entry per video, keyed by its path.

    Raises:
        UserError: no table names any of the videos.
    """
    files = FileIndex()
    for item in catalogue(root):
        if isinstance(item, Problem):
            yield item
        else:
            files.add(item)
    tables = [(path, _path_column(path, files, options)) for path in tables_in(root)]
    if not any(column for _, column in tables):
        raise UserError(f"no table in {root} names its videos; give the column that does with --columns path=NAME")
    for path, column in tables:
        if column:
            yield from join(_rows(path, options), files, options, full_path, column)
    yield from unmatched_files(files, options, full_path)


def _rows(path: Path, options: SourceOptions) -> Iterator[Row | Problem]:
    for row in iter_rows(path):
        yield row if isinstance(row, Problem) else rename_columns(row, options.columns)


def _path_column(path: Path, files: FileIndex, options: SourceOptions) -> str:
    """Return the column whose first values most often name files; empty if none does."""
    rows = [row for row in islice(_rows(path, options), NUM_PROBED_ROWS) if not isinstance(row, Problem)]
    if "path" in options.columns:
        return "path"
    num_files: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str) and files.find(map_path(value, options.path_map)) is not None:
                num_files[name] = num_files.get(name, 0) + 1
    best = max(num_files, key=lambda name: num_files[name], default="")
    return best if best and num_files[best] >= MIN_SHARE * len(rows) else ""
