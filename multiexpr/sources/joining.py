"""Join the rows of a table with the files of a folder; what has no match is a problem."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from posixpath import basename, splitext

from exprbench.media import VIDEO_SUFFIXES
from multiexpr.sources.catalogue import is_video
from multiexpr.sources.entry import Entry, Location, Problem
from multiexpr.sources.on_disk import DiskList, connect, dump, load
from multiexpr.sources.tabular import Row, parse_scores, pop_caption

# A row can name a file by another file of the same clip.
SUFFIXES = {*VIDEO_SUFFIXES, ".gif", ".wav", ".mp3", ".json", ".txt", ".npy", ".npz", ".pkl", ".pt", ".jpg", ".png"}
FIND = "SELECT number, location FROM names JOIN videos USING (number) WHERE hash = ? ORDER BY number"
MIN_ID = 16  # characters of a name without suffix that is not a word

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
    """Index on disk of videos by path, path in the archive, and name, each with and without suffix.

    Names are stored as 64-bit hashes; what they find is compared with the name itself.
    """

    def __init__(self, locations: Iterable[Location] = ()) -> None:
        self._database = connect()
        self._database.execute("CREATE TABLE videos (number INTEGER PRIMARY KEY, location BLOB)")
        self._database.execute("CREATE TABLE names (hash INTEGER, number INTEGER)")
        self._database.execute("BEGIN")
        self._is_indexed = False
        self.is_used = bytearray()
        for location in locations:
            self.add(location)

    def __len__(self) -> int:
        return len(self.is_used)

    def add(self, location: Location) -> None:
        """Add a video."""
        number = len(self)
        hashes = {_hash(name) for name in _names(location)}
        self._database.execute("INSERT INTO videos VALUES (?, ?)", (number, dump(location)))
        self._database.executemany("INSERT INTO names VALUES (?, ?)", [(value, number) for value in sorted(hashes)])
        self.is_used.append(False)

    def __iter__(self) -> Iterator[Location]:
        for row in self._database.execute("SELECT location FROM videos ORDER BY number"):
            yield load(row[0])

    def find(self, name: str) -> tuple[int, Location] | None:
        """Return the number and the location of the video with this name, None if there is none or more than one.

        A suffix is ignored only if it is one of a media file: `john.smith` is not `john.mp4`.
        """
        self._build_index()
        path = _clean(name)
        stem = _stem(path)
        candidates = dict.fromkeys((path, stem, basename(path), basename(stem)))
        return next((video for video in map(self._find_one, candidates) if video), None) if path else None

    def _build_index(self) -> None:
        """Index the names that were added: in one sort, which is much faster than one by one."""
        if not self._is_indexed:
            self._database.execute("CREATE INDEX by_hash ON names (hash, number)")
            self._is_indexed = True

    def _find_one(self, name: str) -> tuple[int, Location] | None:
        """Return the only video with a name; ambiguous names match no video."""
        rows = self._database.execute(FIND, (_hash(name),))
        videos = ((number, load(location)) for number, location in rows)
        matches = list(islice((video for video in videos if name in _names(video[1])), 2))
        return matches[0] if len(matches) == 1 else None


def _hash(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _clean(name: str) -> str:
    """Return a path relative to the collection, without `.` and empty parts."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _stem(path: str) -> str:
    """Return a path without the suffix of a media file."""
    stem, suffix = splitext(path)
    return stem if suffix.lower() in SUFFIXES else path


def _has_path(location: Location, name: str) -> bool:
    """Return whether the path of a file ends with this name, including its folders; suffixes are ignored."""
    return f"/{_stem(full_path(location))}".endswith(f"/{_stem(_clean(name))}")


def _names(location: Location) -> tuple[str, ...]:
    path = _clean(location.name)
    stem, _ = splitext(path)
    return full_path(location), path, stem, basename(path), basename(stem)


def join(
    rows: Iterable[Row | Problem], files: FileIndex, options: SourceOptions, key: Key, path_column: str = "path"
) -> Iterator[Entry | Problem]:
    """Yield an entry for every row with a file; rows without a file, or with a file named before, are problems.

    A row whose folders differ from those of its file gets the file only if no row has the path of a file: then the
    paths in the table are those of another disk. Otherwise they are right, and its file is missing.

    Args:
        rows: rows with normalized column names.
        files: the videos of the collection; matched ones are marked in `files.is_used`.
        options: its `path_map` applies.
        key: function from a location to the key of the entry.
        path_column: name of the column that names the file.
    """
    moved = DiskList()  # of (row, name, video)
    has_paths = False
    for row in rows:
        if isinstance(row, Problem):
            yield row
            continue
        name = str(row.pop(path_column, ""))
        video = files.find(map_path(name, options.path_map))
        if video is None:
            yield Problem("row_without_file", name or "(a row that names no file)")
        elif _has_path(video[1], map_path(name, options.path_map)):
            has_paths = has_paths or "/" in _clean(name)
            yield from _entry(row, name, video, files, key)
        else:
            moved.append((row, name, video))
    for row, name, video in moved:
        if has_paths:
            yield Problem("row_without_file", name, "another folder has a file of this name")
        else:
            yield from _entry(row, name, video, files, key)


def _entry(row: Row, name: str, video: tuple[int, Location], files: FileIndex, key: Key) -> Iterator[Entry | Problem]:
    """Yield the entry of a row; without its caption, and with a problem, if that contains another row."""
    i, location = video
    if files.is_used[i]:
        yield Problem("duplicate", name, "another row names the same file")
        return
    files.is_used[i] = True
    caption = pop_caption(row)
    if other := _row_inside(caption, files):
        yield Problem(
            "suspicious_caption", name, f"left out, since it contains the row of {other}; is a quote missing?"
        )
        caption = ""
    yield Entry(key=key(location), location=location, caption=caption, scores=parse_scores(row))


def _row_inside(caption: str, files: FileIndex) -> str:
    """Return the name of a video in a line after the first of a caption, as a cell of a table; empty if there is none.

    A quote that is not closed makes the following rows part of its cell.
    """
    for line in caption.split("\n")[1:]:
        for cell in (part.strip(" \"'\r") for part in re.split(r"[,;\t]", line)):
            is_id = len(cell) >= MIN_ID and " " not in cell and files.find(cell) is not None
            if is_video(cell) or is_id:
                return cell
    return ""


def unmatched_files(files: FileIndex, options: SourceOptions, key: Key) -> Iterator[Entry | Problem]:
    """Yield the files that no row names: as entries with `options.unlisted`, else as problems."""
    for i, location in enumerate(files):
        if files.is_used[i]:
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
