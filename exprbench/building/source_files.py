"""List the input files of a folder, with their metadata from `sources.csv`."""

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.text import guess_encoding, printable

COLUMNS = ("file", "source", "licence", "person", "faces", "url", "author", "start_s")
MAX_START_S = 86_400
MAX_CELL = 10_000  # characters
NOT_MEDIA = {".npz", ".csv", ".md", ".txt", ".json", ".html"}


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input file of a benchmark.

    Attributes:
        kind: `portrait` or `driver`.
        split: `single` or `multi`.
        name: file name in the benchmark, without its suffix.
        persons: people the file shows.
        faces: number of faces according to `sources.csv`.
        start_s: seconds at the beginning of a video that are skipped.
    """

    path: Path
    kind: str
    split: str
    name: str
    persons: tuple[str, ...]
    source: str = ""
    licence: str = ""
    faces: int | None = None
    url: str = ""
    author: str = ""
    start_s: float = 0.0

    @property
    def file_name(self) -> str:
        """Return the name of the file, with escapes for bytes that are not UTF-8."""
        return printable(self.path.name)


def list_inputs(folder: Path, kind: str, split: str) -> Iterator[Input]:
    """Yield the input files of a folder in the order of their names."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected a folder of images or videos")
    sources = read_sources(folder)
    taken: set[str] = set()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_dir() or path.suffix.lower() in NOT_MEDIA:
            continue
        row = sources.get(path.name, {})
        name = safe_name(path, taken)
        taken.add(name)
        yield Input(
            path=path,
            kind=kind,
            split=split,
            name=name,
            persons=_persons(row) or (printable(path.stem),),
            source=row.get("source") or "",
            licence=row.get("licence") or "",
            faces=_parse_count(row.get("faces"), folder, path.name),
            url=row.get("url") or "",
            author=row.get("author") or "",
            start_s=_parse_start(row.get("start_s"), kind, folder, path.name),
        )


def _persons(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in (row.get("person") or "").split(";") if name.strip())


def read_sources(folder: Path) -> dict[str, dict[str, str]]:
    """Return the rows of `sources.csv` by file name, an empty dict if the folder has none.

    It can be in UTF-8, UTF-16 or Windows-1252. Rows can be short: missing cells are empty.

    Raises:
        UserError: a column is unknown, a row is damaged, or it names no file of the folder.
    """
    path = folder / "sources.csv"
    if not path.is_file():
        return {}
    reader = csv.DictReader(io.StringIO(_decode(path), newline=""), restval="")
    try:
        columns = list(reader.fieldnames or ())
        _check_columns(path, columns)
        rows = {row["file"]: row for row in reader if _is_row(path, reader.line_num, row)}
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num + 1}: {error}; correct or remove the line") from error
    missing = [name for name in rows if not _exists(folder / name)]
    if missing:
        raise UserError(f"{path} names {missing[0][:200]!r}, which is not in {folder}")
    return rows


def _decode(path: Path) -> str:
    data = path.read_bytes()
    return data.decode(guess_encoding(data), "replace")


def _check_columns(path: Path, columns: list[str]) -> None:
    for column in columns:
        if column not in COLUMNS:
            raise UserError(f"{path}: {unknown_name('column', column, list(COLUMNS))}")
    if "file" not in columns:
        raise UserError(f"{path} has no column 'file'; it is required")


def _is_row(path: Path, line: int, row: dict[str, str]) -> bool:
    """Return whether a row names a file; false for an empty one."""
    if None in row:
        raise UserError(f"{path}, line {line}: there are more cells than columns; quote cells that contain commas")
    if not row["file"] and any(row.values()):
        raise UserError(f"{path}, line {line}: the row names no file")
    if any(len(cell) > MAX_CELL for cell in row.values()):
        raise UserError(f"{path}, line {line}: a cell has more than {MAX_CELL} characters; is a quote missing?")
    return bool(row["file"])


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or contains a NUL byte
        return False


def _parse_count(text: str | None, folder: Path, name: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{1,2}", text.strip(), re.ASCII):
        raise UserError(f"{folder / 'sources.csv'}: {name} has {text!r} faces; expected a number")
    return int(text)


def _parse_start(text: str | None, kind: str, folder: Path, name: str) -> float:
    if not text or not text.strip():
        return 0.0
    seconds = float(text) if re.fullmatch(r"\s*\d{1,6}(\.\d{1,9})?\s*", text, re.ASCII) else -1.0
    if not 0 <= seconds <= MAX_START_S:
        raise UserError(f"{folder / 'sources.csv'}: {name} has start_s {text!r}; expected seconds, like 12.5")
    if seconds and kind == "portrait":
        raise UserError(f"{folder / 'sources.csv'}: {name} is an image and has start_s {text!r}; expected none")
    return seconds


def safe_name(path: Path, taken: set[str]) -> str:
    """Return a unique name without suffix, of letters, digits, dots, dashes and underscores, for a file."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).strip("._-")[:80]
    if name == path.stem and name not in taken:
        return name
    return f"{name or 'file'}-{hashlib.sha256(path.name.encode(errors='surrogateescape')).hexdigest()[:8]}"
