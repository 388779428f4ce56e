"""Files with an equal name or equal content."""

import io
import tarfile
import zipfile

import pytest

from multiexpr.indexing.listing import list_collection
from multiexpr.storage.parquet import read_rows
from tests.multiexpr.indexing.test_listing import keys


@pytest.mark.parametrize("at", [0, (1 << 16) - 1, -(1 << 16), -1])
def test_files_of_one_size_are_compared_at_both_ends(tmp_path, workspace, at):
    content = bytearray(300_000)
    for name in ("a.mp4", "same.mp4", "other.mp4"):
        if name == "other.mp4":
            content[at] = 1
        (tmp_path / "root").mkdir(exist_ok=True)
        (tmp_path / "root" / name).write_bytes(content)
    assert list_collection(tmp_path / "root", workspace).mismatches == {"duplicate": 1}
    assert keys(workspace) == ["a.mp4", "other.mp4"]


def test_members_of_tars_are_compared_by_their_own_bytes(tmp_path, workspace):
    (tmp_path / "root").mkdir()
    with tarfile.open(tmp_path / "root/all.tar", "w") as tar:
        for name, data in (("a", b"first"), ("b", b"other"), ("c", b"first")):
            info = tarfile.TarInfo(f"{name}.mp4")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    list_collection(tmp_path / "root", workspace)
    (row,) = read_rows(workspace.mismatches)
    assert (row["path"], row["detail"]) == ("all.tar/c.mp4", "the same as all.tar/a.mp4")
    assert keys(workspace) == ["all.tar/a", "all.tar/b"]


@pytest.mark.parametrize("content", [b"a video", bytes.fromhex("9d0ad96d")])  # the checksum of the second is 0
def test_members_of_zips_are_compared_by_checksum_however_they_are_packed(tmp_path, workspace, content):
    (tmp_path / "root").mkdir()
    with zipfile.ZipFile(tmp_path / "root/all.zip", "w") as archive:
        archive.writestr("a.mp4", content, zipfile.ZIP_STORED)
        archive.writestr("b.mp4", content, zipfile.ZIP_DEFLATED)
        archive.writestr("c.mp4", content[::-1], zipfile.ZIP_STORED)
    assert list_collection(tmp_path / "root", workspace).mismatches == {"duplicate": 1}
    assert keys(workspace) == ["all.zip/a.mp4", "all.zip/c.mp4"]


def test_two_videos_of_one_key_are_a_duplicate(tmp_path, workspace):
    (tmp_path / "root").mkdir()
    with tarfile.open(tmp_path / "root/all.tar", "w") as tar:
        for name, size in (("a.mp4", 1), ("a.mov", 2), ("b.mp4", 3), ("b.mov", 4)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(b"x" * size))
    assert list_collection(tmp_path / "root", workspace).mismatches == {"duplicate": 2}
    assert keys(workspace) == ["all.tar/a", "all.tar/b"]
