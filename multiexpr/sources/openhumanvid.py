"""OpenHumanVid: CSV files with unnamed columns; `path` names clips without suffix, in two levels of folders.

Rows and files match only in part. Each CSV is read twice: for the folders that it names, and to join it with the files
in these, separately from the other CSVs.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from exprbench.core.errors import UserError
from multiexpr.sources.catalogue import catalogue, files_with_suffix
from multiexpr.sources.entry import Entry, Location, Problem
from multiexpr.sources.joining import FileIndex, SourceOptions, join, map_path, unmatched_files
from multiexpr.sources.tabular import Row, column_names, iter_rows, rename_columns

PATH_MAP = {"clips/": ""}  # prefix of every path in the tables that does not exist on disk


def is_openhumanvid(root: Path) -> bool:
    """Return whether there is a CSV with OpenHumanVid's name or columns."""
    return any(_is_table(path) for path in files_with_suffix(root, ".csv"))


def _is_table(path: Path) -> bool:
    return "openhumanvid" in path.name.lower() or {"clip_id", "path"} <= set(column_names(path))


def read_openhumanvid(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield an entry per clip, keyed by its clip id (the name of its file).

    Raises:
        UserError: there is no table with OpenHumanVid's columns.
    """
    options = SourceOptions(
        columns={"path": "path", **options.columns},
        path_map=options.path_map or ({} if (root / "clips").is_dir() else PATH_MAP),
        unlisted=options.unlisted,
    )
    seen: set[str] = set()
    tables = [path for path in files_with_suffix(root, ".csv") if _is_table(path)]
    if not tables:
        raise UserError(
            f"there is no table with OpenHumanVid's columns in {root}; list the videos alone with --kind folder"
        )
    for table in tables:
        rows = (row for row in _rows(table, options) if not isinstance(row, Problem))
        folders = sorted({_folder(row, options) for row in rows})
        yield from _join_table(root, table, [folder for folder in folders if folder not in seen], options)
        seen.update(folders)
    yield from _unnamed_folders(root, seen, options)


def _folder(row: Row, options: SourceOptions) -> str:
    """Return the top folder of a row's file; empty for one outside of the collection."""
    parts = PurePosixPath(map_path(str(row.get("path", "")), options.path_map)).parts
    if {"/", ".."} & set(parts):
        return ""
    depth = 2 if parts and parts[0] == "clips" else 1
    return "/".join(parts[:-1][:depth])


def _rows(table: Path, options: SourceOptions) -> Iterator[Row | Problem]:
    for row in iter_rows(table):
        yield row if isinstance(row, Problem) else rename_columns(row, options.columns)


def _join_table(root: Path, table: Path, folders: list[str], options: SourceOptions) -> Iterator[Entry | Problem]:
    files = FileIndex()
    for item in (item for folder in folders for item in (catalogue(root, folder) if folder else _top(root))):
        if isinstance(item, Problem):
            yield item
        else:
            files.add(item)
    yield from join(_rows(table, options), files, options, _key)
    yield from unmatched_files(files, options, _key)


def _top(root: Path) -> Iterator[Location | Problem]:
    return (item for item in catalogue(root) if "/" not in item.path)


def _unnamed_folders(root: Path, seen: set[str], options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield the files in folders that no table names."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        is_named = any(name == folder.name or name.startswith(f"{folder.name}/") for name in seen)
        if not is_named:
            files = FileIndex(item for item in catalogue(root, folder.name) if isinstance(item, Location))
            yield from unmatched_files(files, options, _key)


def _key(location: Location) -> str:
    return PurePosixPath(location.name).stem
