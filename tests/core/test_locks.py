"""One run at a time writes an output, and a file system without locks stops nobody."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exprbench.core import files
from exprbench.core.errors import UserError
from exprbench.core.files import atomic_folder, file_lock
from exprbench.core.locks import sole_writer, user_name

HERE = Path(__file__).parents[2]


def take(path):
    with sole_writer(path):
        return "taken"


def in_another_thread(function, *args):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


def test_an_output_has_one_writer_under_all_its_names(own_cache, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with sole_writer(tmp_path / "out"):
        for name in (tmp_path / "out", tmp_path / "link" / "out", tmp_path / "a" / ".." / "out"):
            with pytest.raises(UserError, match=f"is being written by process {os.getpid()} of .* on "):
                in_another_thread(take, name)
        assert in_another_thread(take, tmp_path / "other") == "taken"
        assert take(tmp_path / "out") == "taken"
    assert in_another_thread(take, tmp_path / "out") == "taken"
    assert [p.name for p in tmp_path.iterdir() if p != own_cache] == ["link"]


def test_a_writer_that_is_killed_holds_nothing(own_cache, tmp_path):
    code = (
        "import os, signal, sys\nfrom exprbench.core.locks import sole_writer\n"
        "with sole_writer(sys.argv[1]):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], cwd=HERE, check=False)
    assert run.returncode == -9
    assert take(tmp_path / "out") == "taken"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_used_without_them(own_cache, tmp_path, monkeypatch, number):
    import fcntl

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with file_lock(tmp_path / "a.lock"):
        pass
    assert take(tmp_path / "out") == "taken"


def test_an_error_of_the_block_is_not_taken_for_one_of_the_lock(tmp_path):
    with pytest.raises(OSError, match="mine"), file_lock(tmp_path / "a.lock"):
        raise OSError(errno.ENOLCK, "mine")
    with pytest.raises(NotImplementedError), file_lock(tmp_path / "a.lock"):
        raise NotImplementedError


def test_a_user_without_an_entry_has_a_number(monkeypatch):
    import pwd

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert user_name() == f"user {os.getuid()}"


def test_a_folder_appears_whole_with_usual_permissions(tmp_path):
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("a")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~files._umask()
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["out", "out/a"]


def write_half(path, error):
    with atomic_folder(path) as folder:
        (folder / "a").write_text("a")
        raise error


@pytest.mark.parametrize("error", [UserError("x"), KeyboardInterrupt(), SystemExit(143)])
def test_a_folder_that_is_not_finished_is_removed(tmp_path, error):
    with pytest.raises(type(error)):
        write_half(tmp_path / "out", error)
    assert list(tmp_path.iterdir()) == []
