"""OpenVid-1M: CSV files whose column `video` names files in zips, split zips or a folder.

The CSV does not say which archive has a video, and depending on the mirror it lists more or fewer videos than exist.
"""

from collections.abc import Iterator
from pathlib import Path
from posixpath import basename

from exprbench.core.errors import UserError
from multiexpr.sources.catalogue import catalogue, files_with_suffix
from multiexpr.sources.entry import Entry, Location, Problem
from multiexpr.sources.joining import FileIndex, SourceOptions, full_path, join, unmatched_files
from multiexpr.sources.on_disk import DiskDict
from multiexpr.sources.tabular import Row, column_names, iter_rows, rename_columns

FOLDERS = ("", "data/train", "data", "csv")


def is_openvid(root: Path) -> bool:
    """Return whether there is a table with OpenVid's columns."""
    return any(_is_table(path) for path in _tables(root))


def _tables(root: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in files_with_suffix(root / folder, ".csv")]


def _is_table(path: Path) -> bool:
    columns = column_names(path)
    return "video" in columns and any(name.startswith(("aesthetic_score", "motion_score")) for name in columns)


def read_openvid(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield an entry per video, keyed by its file name.

    Raises:
        UserError: there is no table with OpenVid's columns.
    """
    first, files = DiskDict(), FileIndex()
    for item in catalogue(root):
        if isinstance(item, Problem):
            yield item
        elif (path := first.setdefault(_key(item), full_path(item))) != full_path(item):
            yield Problem("duplicate", full_path(item), f"{path} has the same name")
        else:
            files.add(item)
    tables = [path for path in _tables(root) if options.columns or _is_table(path)]
    if not tables:
        raise UserError(f"there is no table with OpenVid's columns in {root}; list the videos alone with --kind folder")
    yield from join((row for path in tables for row in _rows(path, options)), files, options, _key, "video")
    yield from unmatched_files(files, options, _key)


def _rows(path: Path, options: SourceOptions) -> Iterator[Row | Problem]:
    columns = {"video": options.columns.get("path", "video"), "caption": options.columns.get("caption", "caption")}
    for row in iter_rows(path):
        yield row if isinstance(row, Problem) else rename_columns(row, columns)


def _key(location: Location) -> str:
    return basename(location.name)
