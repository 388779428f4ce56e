"""Rows of the tables that come with collections: CSV, TSV, JSON lines, JSON and Parquet, as people write them."""

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


def rows_of(path: Path) -> Iterator[Row | Problem]:
    """The rows of a table with their columns' names normalised (see `column`); what cannot be read is a problem.

    Columns without a name and empty cells are left out.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _csv(path, "\t" if suffix == ".tsv" else ",")
    if suffix == ".parquet":
        return _parquet(path)
    return _json(path) if suffix == ".json" else _json_lines(path)


def column(name: str) -> str:
    """A column's name in lower case, with everything that is not a letter or a digit as one underscore."""
    return re.sub(r"\W+", "_", str(name).strip().lower()).strip("_")


def columns_of(path: Path) -> list[str]:
    """Names of a table's columns, normalised; of JSON, those of its first row."""
    if path.suffix.lower() in (".csv", ".tsv"):
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            header = next(csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), [])
        return [name for name in map(column, header) if not BLANK.fullmatch(name)]
    first = next((row for row in rows_of(path) if isinstance(row, dict)), {})
    return list(first)


def caption_of(row: Row) -> str:
    """The text a row carries, taken out of it."""
    found = [str(row.pop(name)) for name in CAPTIONS if name in row]
    return found[0].strip() if found else ""


def scores_of(row: Row) -> dict[str, float | str]:
    """What else a row says: numbers as numbers, the rest as text."""
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> float | str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return number if math.isfinite(number) else str(value)


def _tidy(names: list[str], values: list[Any]) -> Row:
    cells = zip(names, values, strict=False)
    return {name: value for name, value in cells if not BLANK.fullmatch(name) and value not in ("", None)}


def _csv(path: Path, delimiter: str) -> Iterator[Row | Problem]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = csv.reader((line.replace("\0", "") for line in file), delimiter=delimiter)
        header = [column(name) for name in next(lines, [])]
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
                told = f"{len(cells)} cells under {len(header)} columns"
                yield Problem("unreadable", f"{path.name}, line {lines.line_num}", told)
            else:
                yield _tidy(header, cells)


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
    return _as_row(row) or Problem("unreadable", f"{path.name}, line {number}", "not an object")


def _as_row(value: Any) -> Row | None:
    if not isinstance(value, dict):
        return None
    return _tidy([column(name) for name in value], list(value.values()))


def _json(path: Path) -> Iterator[Row | Problem]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig", errors="replace"))
    except json.JSONDecodeError as error:
        yield Problem("unreadable", path.name, f"not JSON: {error.msg}")
        return
    for row in _listed(value):
        yield _as_row(row) or Problem("unreadable", path.name, "an entry is not an object")


def _listed(value: Any) -> list[Any]:
    """The rows of a JSON value: a list of them, a dictionary by name, or one alone."""
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        return [{"name": name, **row} for name, row in value.items()]
    return value if isinstance(value, list) else [value]


def _parquet(path: Path) -> Iterator[Row | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from (_as_row(row) or {} for row in batch.to_pylist())
    except (pa.ArrowInvalid, OSError) as error:
        yield Problem("unreadable", path.name, f"not Parquet: {error}")


def renamed(row: Row, names: dict[str, str]) -> Row:
    """The row with columns called as this project calls them: `names` tells what the collection calls them."""
    theirs = {column(their): our for our, their in names.items()}
    return {theirs.get(name, name): value for name, value in row.items()}


def parse_columns(text: str) -> dict[str, str]:
    """`path=video_name,caption=text` as a dictionary.

    Raises:
        UserError: it does not read like that.
    """
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not all(ours and equals and theirs for ours, equals, theirs in pairs):
        raise UserError(f"--columns {text}: expected OURS=THEIRS, such as path=video_name,caption=text")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
