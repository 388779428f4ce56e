"""Read the tables of collections (CSV, TSV, JSON Lines, JSON, Parquet); unreadable lines are problems."""

import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from exprbench.core.errors import UserError
from exprbench.core.text import guess_encoding
from multiexpr.sources.catalogue import is_regular
from multiexpr.sources.entry import Problem

TABLES = {".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"}
CAPTIONS = ("caption", "text", "prompt", "description", "captions", "long_caption")
BLANK = re.compile(r"unnamed_\d+|")

MAX_CHARS = 1 << 24  # of a line, and of a cell
MAX_JSON_BYTES = 1 << 30  # of a file that is read as a whole
MAX_CAPTION = 1 << 20  # characters of a caption file
SNIFFED_BYTES = 1 << 20  # from which the encoding is guessed

csv.field_size_limit(MAX_CHARS)

Row = dict[str, Any]


def iter_rows(path: Path) -> Iterator[Row | Problem]:
    """Yield the rows of a table with normalized column names (see `normalize_name`), and a problem per unreadable row.

    Columns without a name and empty cells are skipped.
    """
    suffix = path.suffix.lower()
    read = READERS.get(suffix, _json_lines)
    try:
        yield from read(path)
    except OSError as error:
        yield Problem("unreadable", path.name, f"it cannot be read: {error.strerror or error}")


def open_text(path: Path) -> TextIO:
    """Open a text file in UTF-8, UTF-16 or Windows-1252; other bytes are replaced."""
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    encoding = guess_encoding(head, is_whole=len(head) < SNIFFED_BYTES)
    return path.open(encoding=encoding, errors="replace", newline="")


def normalize_name(name: str) -> str:
    """Return a column name in lower case, with an underscore for every run of other characters than word characters."""
    return re.sub(r"\W+", "_", str(name).strip().lower()).strip("_")


def column_names(path: Path) -> list[str]:
    """Return the normalized column names of a table; those of the first row if it has no header (JSON)."""
    if path.suffix.lower() in (".csv", ".tsv"):
        return [name for name in _header(path) if not BLANK.fullmatch(name)]
    first = next((row for row in iter_rows(path) if isinstance(row, dict)), {})
    return list(first)


def _header(path: Path) -> list[str]:
    """Return the normalized names in the first line of a table; empty if it cannot be read."""
    try:
        with open_text(path) as file:
            return [normalize_name(name) for name in next(_CsvReader(path, file), [])]
    except (OSError, csv.Error):
        return []


def read_caption(path: Path) -> str | Problem:
    """Return the text of a caption file, empty if there is none; its suffix can be in upper case."""
    path = path if is_regular(path) else path.with_suffix(path.suffix.upper())
    if not is_regular(path):
        return ""
    try:
        with open_text(path) as file:
            text = file.read(MAX_CAPTION + 1)
    except OSError as error:
        return Problem("unreadable", path.name, f"the caption cannot be read: {error.strerror or error}")
    if len(text) > MAX_CAPTION:
        return Problem("unreadable", path.name, f"the caption has more than {MAX_CAPTION} characters")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def pop_caption(row: Row) -> str:
    """Remove the caption columns from a row, and return the first one in the order of `CAPTIONS`, or an empty text."""
    captions = [str(row.pop(name)) for name in CAPTIONS if name in row]
    return captions[0].strip() if captions else ""


def parse_scores(row: Row) -> dict[str, float | str]:
    """Return the values of a row: finite numbers as float, everything else as text."""
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> float | str:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return value if isinstance(value, str) else _dump(value)
    return number if math.isfinite(number) else str(value)


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        return "(a value that is nested too deeply)"


def _make_row(names: list[str], values: list[Any]) -> Row:
    cells = zip(names, values, strict=False)
    return {name: value for name, value in cells if not BLANK.fullmatch(name) and value not in ("", None)}


def _lines(file: TextIO) -> Iterator[str | None]:
    """Yield the lines of a file, None for one of more than `MAX_CHARS`."""
    while line := file.readline(MAX_CHARS):
        is_whole = len(line) < MAX_CHARS or line.endswith(("\n", "\r"))
        yield line if is_whole else None
        while not is_whole and (rest := file.readline(MAX_CHARS)):
            is_whole = len(rest) < MAX_CHARS or rest.endswith(("\n", "\r"))


class _CsvReader:
    """Reader of the rows of a table; `line` is the number of the last line that was read.

    A row that cannot be read raises `csv.Error`; the next call returns the row after it.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        self.line = 0
        self.rows = csv.reader(map(self._check_line, _lines(file)), delimiter=delimiter)

    def _check_line(self, line: str | None) -> str:
        self.line += 1
        if line is None:
            raise csv.Error(f"the line has more than {MAX_CHARS} characters")
        return line.replace("\0", "")

    def __next__(self) -> list[str]:
        return next(self.rows)


def _csv(path: Path) -> Iterator[Row | Problem]:
    header = _header(path)
    with open_text(path) as file:
        lines = _CsvReader(path, file)
        is_header = True
        while True:
            try:
                cells = next(lines)
            except StopIteration:
                return
            except csv.Error as error:
                yield Problem("unreadable", f"{path.name}, line {lines.line}", str(error))
                continue
            if is_header or not any(cells):
                is_header = False
            elif any(cells[len(header) :]):
                detail = f"{len(cells)} cells under {len(header)} columns"
                yield Problem("unreadable", f"{path.name}, line {lines.line}", detail)
            else:
                yield _make_row(header, cells)


def _json_lines(path: Path) -> Iterator[Row | Problem]:
    with open_text(path) as file:
        for number, line in enumerate(_lines(file), 1):
            if line is None or line.strip():
                yield _json_row(path, line, number)


def _json_row(path: Path, line: str | None, number: int) -> Row | Problem:
    name = f"{path.name}, line {number}"
    if line is None:
        return Problem("unreadable", name, f"the line has more than {MAX_CHARS} characters")
    value, detail = parse_json(line)
    if detail:
        return Problem("unreadable", name, detail)
    return _parse_row(value) or Problem("unreadable", name, "not an object")


def parse_json(text: str | bytes) -> tuple[Any, str]:
    """Return (value, "") of JSON, or (None, what is wrong with it)."""
    try:
        return json.loads(text), ""
    except RecursionError:
        return None, "JSON that is nested too deeply"
    except ValueError as error:  # also numbers of thousands of digits, and bytes that are not UTF-8
        return None, f"not JSON: {error}"


def _parse_row(value: Any) -> Row | None:
    if not isinstance(value, dict):
        return None
    return _make_row([normalize_name(name) for name in value], list(value.values()))


def _json(path: Path) -> Iterator[Row | Problem]:
    if path.stat().st_size > MAX_JSON_BYTES:
        yield Problem("unreadable", path.name, f"it has more than {MAX_JSON_BYTES} bytes; use JSON Lines (.jsonl)")
        return
    with open_text(path) as file:
        value, detail = parse_json(file.read())
    if detail:
        yield Problem("unreadable", path.name, detail)
        return
    for row in _to_list(value):
        yield _parse_row(row) or Problem("unreadable", path.name, "an entry is not an object")


def _to_list(value: Any) -> list[Any]:
    """Return the rows of a JSON value: a list of rows, an object of rows by name, or a single row."""
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        return [{"name": name, **row} for name, row in value.items()]
    return value if isinstance(value, list) else [value]


def _parquet(path: Path) -> Iterator[Row | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from (_parse_row(row) or {} for row in batch.to_pylist())
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Problem("unreadable", path.name, f"not Parquet: {error}")


READERS = {".csv": _csv, ".tsv": _csv, ".parquet": _parquet, ".json": _json}


def rename_columns(row: Row, names: dict[str, str]) -> Row:
    """Return a row with renamed columns; `names` maps new names to the collection's names."""
    new_names = {normalize_name(old): new for new, old in names.items()}
    return {new_names.get(name, name): value for name, value in row.items()}


def parse_columns(text: str) -> dict[str, str]:
    """Return `path=video_name,caption=text` as a dictionary.

    Raises:
        UserError: the text does not have this form.
    """
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not all(ours and equals and theirs for ours, equals, theirs in pairs):
        raise UserError(f"--columns is {text!r}; expected OURS=THEIRS, such as path=video_name,caption=text")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
