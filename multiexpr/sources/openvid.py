"""OpenVid-1M: CSV files whose `video` column names files that lie flat in zips, cut zips or a folder.

The CSV does not tell which archive holds a video, and lists more and fewer of them than there are, by mirror.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from exprbench.core.errors import UserError
from multiexpr.sources.catalogue import catalogue
from multiexpr.sources.entry import Entry, Place, Problem
from multiexpr.sources.joining import Files, SourceOptions, full_name, join, left_over
from multiexpr.sources.tabular import Row, columns_of, renamed, rows_of

FOLDERS = ("", "data/train", "data", "csv")


def is_openvid(root: Path) -> bool:
    """Does a table here have OpenVid's columns?"""
    return any(_fits(path) for path in _tables(root))


def _tables(root: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((root / folder).glob("*.csv"))]


def _fits(path: Path) -> bool:
    columns = columns_of(path)
    return "video" in columns and any(name.startswith(("aesthetic_score", "motion_score")) for name in columns)


def read_openvid(root: Path, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Entries under the names of their videos, wherever these lie.

    Raises:
        UserError: there is no table.
    """
    found = list(catalogue(root))
    yield from (item for item in found if isinstance(item, Problem))
    first: dict[str, Place] = {}
    for place in found:
        if isinstance(place, Place) and first.setdefault(_key(place), place) is not place:
            yield Problem("duplicate", full_name(place), f"{full_name(first[_key(place)])} has the same name")
    files = Files(first.values())
    tables = [path for path in _tables(root) if options.columns or _fits(path)]
    if not tables:
        raise UserError(f"{root} holds no table with OpenVid's columns; --kind folder takes the videos alone")
    yield from join((row for path in tables for row in _rows(path, options)), files, options, _key, "video")
    yield from left_over(files, options, _key)


def _rows(path: Path, options: SourceOptions) -> Iterator[Row | Problem]:
    columns = {"video": options.columns.get("path", "video"), "caption": options.columns.get("caption", "caption")}
    for row in rows_of(path):
        yield row if isinstance(row, Problem) else renamed(row, columns)


def _key(place: Place) -> str:
    return PurePosixPath(place.name).name
