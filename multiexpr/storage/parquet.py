"""Parquet files: written atomically, with JSON in the metadata of the schema; folders of shards."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exprbench.core.errors import UserError
from exprbench.core.files import atomic_path

METADATA_KEY = b"multiexpr"
ROW_GROUP = 1 << 17


def write_table(path: Path, table: pa.Table, metadata: dict[str, Any] | None = None) -> None:
    """Write a table; equal rows and metadata give equal bytes."""
    with_metadata = table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata or {}, sort_keys=True).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(with_metadata, temporary, compression="zstd", row_group_size=ROW_GROUP)


def write_rows(
    path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema, metadata: dict[str, Any] | None = None
) -> None:
    """Write rows as a table; missing keys become null."""
    write_table(path, pa.Table.from_pylist(list(rows), schema=schema), metadata)


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[Sequence[dict[str, Any]]], None]]:
    """Write a table in parts: yield a function that writes some rows, all of one row group."""
    schema = schema.with_metadata({METADATA_KEY: b"{}"})
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as out:
        yield lambda rows: out.write_table(pa.Table.from_pylist(list(rows), schema=schema))


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the metadata of a file; None if there is no file, or if it is not a complete Parquet file."""
    try:
        return schema_metadata(pq.read_schema(path))
    except (OSError, pa.ArrowInvalid):
        return None


def schema_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return the metadata in the schema of a file; empty if it has none."""
    return json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))


def num_rows(path: Path) -> int:
    """Return the number of rows of a file, from its footer."""
    return pq.read_metadata(path).num_rows


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a table, or some of its columns.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from error


def read_parts(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield columns of a table of any length in parts of at most `ROW_GROUP` rows.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROW_GROUP, columns=list(columns)):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> Exception:
    """Return the error of a file that cannot be read: the error itself if there is no file."""
    if not path.exists():
        return error
    return UserError(f"{path} is damaged ({error}); delete it and run the same command again")


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a table, or some of its columns, as dictionaries."""
    return read_table(path, columns).to_pylist()


def list_shards(folder: Path) -> list[int]:
    """Return the numbers of the shards in a folder, ascending."""
    names = os.listdir(folder) if folder.is_dir() else []
    stems = (name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def shard_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard."""
    return folder / f"{shard:05d}.parquet"
