"""Join the rows of a table with the files of a folder; what has no match is a problem."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from multiexpr.sources.entry import Entry, Location, Problem
from multiexpr.sources.tabular import Row, parse_scores, pop_caption

Key = Callable[[Location], str]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options of a reader.

    Attributes:
        columns: the collection's names of the columns `path` and `caption`, if they differ from the usual ones.
        path_map: prefixes of paths in tables -> their replacements on disk.
        unlisted: whether files that no table names are entries too.
    """

    columns: dict[str, str] = field(default_factory=dict)
    path_map: dict[str, str] = field(default_factory=dict)
    unlisted: bool = False


class FileIndex:
    """Index of videos by path, path in the archive, and name, each with and without suffix."""

    def __init__(self, locations: Iterable[Location]) -> None:
        self.locations = list(locations)
        self.used: set[int] = set()
        self.by_name: dict[str, int | None] = {}
        for i, location in enumerate(self.locations):
            for name in dict.fromkeys(_names(location)):
                self.by_name[name] = None if name in self.by_name else i  # ambiguous names match no file

    def find(self, name: str) -> int | None:
        """Return the index in `locations` of the file with this name, None if there is none or more than one."""
        name = name.replace("\\", "/").removeprefix("./").lstrip("/")
        path = PurePosixPath(name)
        candidates = (name, str(path.with_suffix("")), path.name, path.stem) if path.name else ()
        return next((i for i in map(self.by_name.get, candidates) if i is not None), None)


def _names(location: Location) -> Iterator[str]:
    path = PurePosixPath(location.name)
    yield from (full_path(location), str(path), str(path.with_suffix("")), path.name, path.stem)


def join(
    rows: Iterable[Row | Problem], files: FileIndex, options: SourceOptions, key: Key, path_column: str = "path"
) -> Iterator[Entry | Problem]:
    """Yield an entry for every row with a file; rows without a file, or with a file named before, are problems.

    Args:
        rows: rows with normalized column names.
        files: the videos of the collection; matched ones are added to `files.used`.
        options: its `path_map` applies.
        key: function from a location to the key of the entry.
        path_column: name of the column that names the file.
    """
    for row in rows:
        if isinstance(row, Problem):
            yield row
            continue
        name = str(row.pop(path_column, ""))
        i = files.find(map_path(name, options.path_map)) if name else None
        if i is None:
            yield Problem("row_without_file", name or "(a row that names no file)")
        elif i in files.used:
            yield Problem("duplicate", name, "another row names the same file")
        else:
            files.used.add(i)
            caption = pop_caption(row)
            yield Entry(
                key=key(files.locations[i]), location=files.locations[i], caption=caption, scores=parse_scores(row)
            )


def unmatched_files(files: FileIndex, options: SourceOptions, key: Key) -> Iterator[Entry | Problem]:
    """Yield the files that no row names: as entries with `options.unlisted`, else as problems."""
    for i, location in enumerate(files.locations):
        if i in files.used:
            continue
        if options.unlisted:
            yield Entry(key=key(location), location=location)
        else:
            yield Problem("file_without_row", full_path(location), "--unlisted takes such files too")


def map_path(name: str, path_map: dict[str, str]) -> str:
    """Return a path with its prefix replaced by the first matching item of the map."""
    for old, new in path_map.items():
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def full_path(location: Location) -> str:
    """Return the path in the collection, `archive/member` for a video in an archive."""
    return f"{location.path}/{location.member}" if location.member else location.path
