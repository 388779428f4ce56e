"""OpenHumanVid: CSV parts with blank columns, whose `path` names clips without suffix in two levels of folders.

Rows and files agree only in part. A part of the collection is joined at a time, so that memory does not grow with
the 13 million clips.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from exprbench.core.errors import UserError
from multiexpr.sources.catalogue import catalogue
from multiexpr.sources.entry import Entry, Place, Problem
from multiexpr.sources.joining import Files, SourceOptions, join, left_over, mapped
from multiexpr.sources.tabular import Row, columns_of, renamed, rows_of

PATH_MAP = {"clips/": ""}  # stands before every path, and not on disk


def is_openhumanvid(root: Path) -> bool:
    """Is there a table of its name, or with its columns?"""
    return any(_fits(path) for path in sorted(root.glob("*.csv")))


def _fits(path: Path) -> bool:
    return "openhumanvid" in path.name.lower() or {"clip_id", "path"} <= set(columns_of(path))


def read_openhumanvid(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Entries under their clip ids (the names of their files).

    Raises:
        UserError: there is no table.
    """
    options = SourceOptions(
        columns={"path": "path", **options.columns},
        path_map=options.path_map or ({} if (root / "clips").is_dir() else PATH_MAP),
        unlisted=options.unlisted,
    )
    seen: set[str] = set()
    tables = sorted(path for path in root.glob("*.csv") if _fits(path))
    if not tables:
        raise UserError(f"{root} holds no table with OpenHumanVid's columns; --kind folder takes the videos alone")
    for table in tables:
        rows = [row if isinstance(row, Problem) else renamed(row, options.columns) for row in rows_of(table)]
        folders = sorted({_folder(row, options) for row in rows if not isinstance(row, Problem)})
        yield from _part(root, rows, [folder for folder in folders if folder not in seen], options)
        seen.update(folders)
    yield from _never_named(root, seen, options)


def _folder(row: Row, options: SourceOptions) -> str:
    """The top folder a row's file lies in."""
    parts = PurePosixPath(mapped(str(row.get("path", "")), options.path_map)).parts
    depth = 2 if parts and parts[0] == "clips" else 1
    return "/".join(parts[:-1][:depth])


def _part(
    root: Path, rows: list[Row | Problem], folders: list[str], options: SourceOptions
) -> Iterator[Entry | Problem]:
    found = [item for folder in folders for item in (catalogue(root, folder) if folder else _top(root))]
    yield from (item for item in found if isinstance(item, Problem))
    files = Files(item for item in found if isinstance(item, Place))
    yield from join(rows, files, options, _key)
    yield from left_over(files, options, _key)


def _top(root: Path) -> Iterator[Place | Problem]:
    return (item for item in catalogue(root) if "/" not in item.path)


def _never_named(root: Path, seen: set[str], options: SourceOptions) -> Iterator[Entry | Problem]:
    """Files in folders no table mentions."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        named = any(name == folder.name or name.startswith(f"{folder.name}/") for name in seen)
        if not named:
            yield from left_over(Files(p for p in catalogue(root, folder.name) if isinstance(p, Place)), options, _key)


def _key(place: Place) -> str:
    return PurePosixPath(place.name).stem
