"""Rows of a table and files of a folder brought together, and what is left over on either side."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from multiexpr.sources.entry import Entry, Place, Problem
from multiexpr.sources.tabular import Row, caption_of, scores_of

Key = Callable[[Place], str]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What a user says about a collection.

    Attributes:
        columns: names the collection gives to `path` and `caption`, where they are others than usual.
        path_map: beginnings of paths in tables, and what stands in their place on disk.
        unlisted: files that no table names are entries too.
    """

    columns: dict[str, str] = field(default_factory=dict)
    path_map: dict[str, str] = field(default_factory=dict)
    unlisted: bool = False


class Files:
    """Videos to be found by what a row calls them: path, path in an archive, or name, with or without its suffix."""

    def __init__(self, places: Iterable[Place]) -> None:
        self.places = list(places)
        self.used: set[int] = set()
        self.by_name: dict[str, int | None] = {}
        for i, place in enumerate(self.places):
            for name in dict.fromkeys(_names(place)):
                self.by_name[name] = None if name in self.by_name else i  # a name that means two files means none

    def find(self, name: str) -> int | None:
        """Number of the file a row names."""
        name = name.replace("\\", "/").removeprefix("./").lstrip("/")
        path = PurePosixPath(name)
        tried = (name, str(path.with_suffix("")), path.name, path.stem) if path.name else ()
        return next((i for i in map(self.by_name.get, tried) if i is not None), None)


def _names(place: Place) -> Iterator[str]:
    path = PurePosixPath(place.name)
    yield from (full_name(place), str(path), str(path.with_suffix("")), path.name, path.stem)


def join(
    rows: Iterable[Row | Problem], files: Files, options: SourceOptions, key: Key, path_column: str = "path"
) -> Iterator[Entry | Problem]:
    """An entry for every row that has a file; rows without one and rows that name a file again are problems."""
    for row in rows:
        if isinstance(row, Problem):
            yield row
            continue
        told = str(row.pop(path_column, ""))
        i = files.find(mapped(told, options.path_map)) if told else None
        if i is None:
            yield Problem("row_without_file", told or "(a row that names no file)")
        elif i in files.used:
            yield Problem("duplicate", told, "another row names the same file")
        else:
            files.used.add(i)
            caption = caption_of(row)
            yield Entry(key=key(files.places[i]), place=files.places[i], caption=caption, scores=scores_of(row))


def left_over(files: Files, options: SourceOptions, key: Key) -> Iterator[Entry | Problem]:
    """What no row named: problems, or entries where the user wants them."""
    for i, place in enumerate(files.places):
        if i in files.used:
            continue
        if options.unlisted:
            yield Entry(key=key(place), place=place)
        else:
            yield Problem("file_without_row", full_name(place), "--unlisted takes such files too")


def mapped(name: str, path_map: dict[str, str]) -> str:
    """The name with the first beginning that the map knows exchanged."""
    for old, new in path_map.items():
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def full_name(place: Place) -> str:
    """The path in the collection, through the archive where there is one."""
    return f"{place.path}/{place.member}" if place.member else place.path
