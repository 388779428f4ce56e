"""Tables on disk: Parquet files that appear whole or not at all, with a JSON note in their metadata."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exprbench.core.errors import UserError
from exprbench.core.files import atomic_path

NOTE = b"multiexpr"
ROW_GROUP = 1 << 17


def write_table(path: Path, table: pa.Table, note: dict[str, Any] | None = None) -> None:
    """Write a table; the same rows and note give the same bytes."""
    noted = table.replace_schema_metadata({NOTE: json.dumps(note or {}, sort_keys=True).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(noted, temporary, compression="zstd", row_group_size=ROW_GROUP)


def write_rows(
    path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema, note: dict[str, Any] | None = None
) -> None:
    """Write rows; keys a row lacks are null."""
    write_table(path, pa.Table.from_pylist(list(rows), schema=schema), note)


def read_note(path: Path) -> dict[str, Any] | None:
    """The note of a file; None where there is no file, or one that is not a whole Parquet file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return json.loads(metadata.get(NOTE, b"{}"))


def num_rows(path: Path) -> int:
    """How many rows a file holds, from its footer."""
    return pq.read_metadata(path).num_rows


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A table, or some of its columns.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        if not path.exists():
            raise
        raise UserError(f"{path} is damaged ({error}); delete it and run the same command again") from error


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a table."""
    return read_table(path, columns).to_pylist()


def shards_in(folder: Path) -> list[int]:
    """Numbers of the shards that lie in a folder, ascending."""
    names = os.listdir(folder) if folder.is_dir() else []
    stems = (name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"{shard:05d}.parquet"
