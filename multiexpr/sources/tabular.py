"""Read the tables of collections (CSV, TSV, JSON Lines, JSON, Parquet); unreadable lines are problems."""

import csv
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from multiexpr.sources.entry import Problem

TABLES = {".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"}
CAPTIONS = ("caption", "text", "prompt", "description", "captions", "long_caption")
BLANK = re.compile(r"unnamed_\d+|")

csv.field_size_limit(min(sys.maxsize, 1 << 31))

Row = dict[str, Any]


def iter_rows(path: Path) -> Iterator[Row | Problem]:
    """Yield the rows of a table with normalized column names (see `normalize_name`), and a problem per unreadable row.

    Columns without a name and empty cells are skipped.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _csv(path, "\t" if suffix == ".tsv" else ",")
    if suffix == ".parquet":
        return _parquet(path)
    return _json(path) if suffix == ".json" else _json_lines(path)


def normalize_name(name: str) -> str:
    """Return a column name in lower case, with an underscore for every run of other characters than word characters."""
    return re.sub(r"\W+", "_", str(name).strip().lower()).strip("_")


def column_names(path: Path) -> list[str]:
    """Return the normalized column names of a table; those of the first row if it has no header (JSON)."""
    if path.suffix.lower() in (".csv", ".tsv"):
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            header = next(csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), [])
        return [name for name in map(normalize_name, header) if not BLANK.fullmatch(name)]
    first = next((row for row in iter_rows(path) if isinstance(row, dict)), {})
    return list(first)


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
    except (TypeError, ValueError):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return number if math.isfinite(number) else str(value)


def _make_row(names: list[str], values: list[Any]) -> Row:
    cells = zip(names, values, strict=False)
    return {name: value for name, value in cells if not BLANK.fullmatch(name) and value not in ("", None)}


def _csv(path: Path, delimiter: str) -> Iterator[Row | Problem]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = csv.reader((line.replace("\0", "") for line in file), delimiter=delimiter)
        header = [normalize_name(name) for name in next(lines, [])]
        while True:
            try:
                cells = next(lines)
            except StopIteration:
                return
            except csv.Error as error:
                yield Problem("unreadable", f"{path.name}, line {lines.line_num}", str(error))
                continue
            if not any(cells):
                continue
            if any(cells[len(header) :]):
                detail = f"{len(cells)} cells under {len(header)} columns"
                yield Problem("unreadable", f"{path.name}, line {lines.line_num}", detail)
            else:
                yield _make_row(header, cells)


def _json_lines(path: Path) -> Iterator[Row | Problem]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _json_row(path, line, number)


def _json_row(path: Path, line: str, number: int) -> Row | Problem:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return Problem("unreadable", f"{path.name}, line {number}", f"not JSON: {error.msg}")
    return _parse_row(row) or Problem("unreadable", f"{path.name}, line {number}", "not an object")


def _parse_row(value: Any) -> Row | None:
    if not isinstance(value, dict):
        return None
    return _make_row([normalize_name(name) for name in value], list(value.values()))


def _json(path: Path) -> Iterator[Row | Problem]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig", errors="replace"))
    except json.JSONDecodeError as error:
        yield Problem("unreadable", path.name, f"not JSON: {error.msg}")
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
    except (pa.ArrowInvalid, OSError) as error:
        yield Problem("unreadable", path.name, f"not Parquet: {error}")


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
