import os

import pyarrow as pa
import pytest

from exprbench import UserError
from multiexpr.storage import parquet
from multiexpr.storage.parquet import (
    list_shards,
    read_metadata,
    read_parts,
    read_rows,
    read_table,
    shard_path,
    write_rows,
)
from tests.writing import assert_atomic


def test_tables_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path, schema = shard_path(tmp_path, 0), pa.schema([("x", pa.int32())])
    write_rows(path, [{"x": 1}], schema)
    assert_atomic(lambda: write_rows(path, [{"x": 2}], schema), path, monkeypatch)


def test_the_same_rows_and_note_give_the_same_bytes(tmp_path):
    for name, note in (("a", {"x": 1, "y": 2}), ("b", {"y": 2, "x": 1})):
        write_rows(tmp_path / name, [{"x": 1}], pa.schema([("x", pa.int32())]), note)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    write_rows(tmp_path / "year=2024/00000.parquet", [{"x": 1}], pa.schema([("x", pa.int32())]))
    assert read_rows(tmp_path / "year=2024/00000.parquet") == [{"x": 1}]


def test_a_table_that_is_absent_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "absent.parquet")
    assert read_metadata(tmp_path / "absent.parquet") is None


def test_a_table_is_read_in_parts(tmp_path, monkeypatch):
    path = tmp_path / "long.parquet"
    write_rows(path, [{"x": i, "y": -i} for i in range(5)], pa.schema([("x", pa.int32()), ("y", pa.int32())]))
    monkeypatch.setattr(parquet, "ROW_GROUP", 2)
    assert [part.to_pydict() for part in read_parts(path, ["x"])] == [{"x": [0, 1]}, {"x": [2, 3]}, {"x": [4]}]


@pytest.mark.parametrize("kept", [0, 20, 0.5, -3])
def test_a_table_cut_short_is_called_damaged_and_one_that_is_absent_is_not(tmp_path, kept):
    path = tmp_path / "cut.parquet"
    write_rows(path, [{"x": i} for i in range(5)], pa.schema([("x", pa.int32())]))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    for read in (lambda: list(read_parts(path, ["x"])), lambda: read_table(path)):
        with pytest.raises(UserError, match="delete it and run the same command again"):
            read()
    with pytest.raises(FileNotFoundError):
        list(read_parts(tmp_path / "absent.parquet", ["x"]))


def test_shards_are_numbered_files_in_the_order_of_their_numbers(tmp_path, monkeypatch):
    names = ["00002.parquet", "100000.parquet", "notes.parquet", "00010.parquet", ".tmp-1.parquet", "00001.json"]
    monkeypatch.setattr(os, "listdir", lambda _: names)
    assert list_shards(tmp_path) == [2, 10, 100000]
