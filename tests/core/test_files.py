"""Files that appear whole or not at all, hashes, and paths that stay inside."""

import hashlib

import pytest

from exprbench.core.errors import UserError
from exprbench.core.files import atomic_path, inside, sha256_path, write_json, write_text


def write_half(target):
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError


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


def test_hashes_of_files_and_folders(tmp_path):
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
