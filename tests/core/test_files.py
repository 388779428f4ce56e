"""Files that appear whole or not at all, hashes, and paths that stay inside."""

import errno
import hashlib
import os
import re

import pytest

from exprbench.core.errors import UserError
from exprbench.core.files import (
    atomic_path,
    dump_json,
    inside,
    read_json,
    sha256_json,
    sha256_path,
    write_json,
    write_text,
)


def write_half(target):
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (OSError(errno.ENOSPC, "Error writing bytes to file"), "table.parquet"),  # as pyarrow raises it
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "table.parquet"),
        (OSError(errno.ENOSPC, "No space left on device", "log"), "log"),
        (OSError(errno.EIO, "Input/output error"), None),  # perhaps of a file that is read
    ],
)
def test_an_error_of_a_full_disk_names_the_file(tmp_path, error, name):
    with pytest.raises(OSError, match=re.escape(error.strerror)) as raised, atomic_path(tmp_path / "table.parquet"):
        raise error
    assert raised.value.filename == (str(tmp_path / name) if name == "table.parquet" else name)


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "new" / "record.json"
    write_text(target, "first")
    with pytest.raises(RuntimeError):
        write_half(target)
    assert target.read_text() == "first"
    assert [p.name for p in target.parent.iterdir()] == ["record.json"]


def test_json_refuses_what_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("python", ["3.10", "3.11"])
def test_hashes_of_files_and_folders(tmp_path, monkeypatch, python):
    if python == "3.10":  # has no hashlib.file_digest
        monkeypatch.delattr(hashlib, "file_digest", raising=False)
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert sha256_path(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    before = sha256_path(tmp_path)
    (tmp_path / "b").write_bytes(b"")
    assert sha256_path(tmp_path) != before


@pytest.mark.parametrize("relative", ["../x", "/etc/passwd", "a/../../x", "link/x", "x\0y"])
def test_paths_do_not_leave_their_folder(tmp_path, relative):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out of"):
        inside(folder, relative)
    assert inside(folder, "a/../b.mp4") == folder / "a/../b.mp4"


def test_a_temporary_file_is_hidden_in_the_same_folder_with_the_same_suffix(tmp_path):
    """So that renaming is atomic, listings skip it, and writers recognise the suffix."""
    with atomic_path(tmp_path / "a.mp4") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".mp4")
        assert temporary.name.startswith(".")
        assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_permissions_of_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a", "text")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_json_is_the_same_text_whatever_the_order():
    assert dump_json({"b": [1, 2.5], "a": "\u00e9"}) == '{\n  "a": "\u00e9",\n  "b": [\n    1,\n    2.5\n  ]\n}\n'
    assert dump_json({"a": 1, "b": 2}) == dump_json({"b": 2, "a": 1})
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})


def test_the_hash_of_a_folder_is_of_its_files_names_and_contents(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "a").write_bytes(b"one")
    (folder / "b").write_bytes(b"two")
    hashes = [sha256_path(folder)]
    (folder / "within").mkdir()
    (folder / "within" / "c").write_bytes(b"not of the folder itself")
    assert sha256_path(folder) == hashes[0]
    (folder / "a").write_bytes(b"eno")
    hashes.append(sha256_path(folder))
    (folder / "b").rename(folder / "c")
    hashes.append(sha256_path(folder))
    assert len(set(hashes)) == 3


def test_a_folder_can_be_reached_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path / "link", "a.mp4") == tmp_path / "link" / "a.mp4"
    with pytest.raises(UserError, match="leads out of"):
        inside(tmp_path / "real", str(tmp_path / "real" / "a.mp4"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[1]", '{"a": 1'], ids=lambda text: text[:8])
def test_json_that_cannot_be_read_is_a_users_mistake_of_one_line(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=r"x\.json (is not valid JSON|holds a list, not an object)") as error:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(error.value)
