"""Atomic writes, locks, hashes, JSON, and paths that stay inside their folder."""

import errno
import glob
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}  # what a file system without locks answers


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds, and is removed otherwise.

    Raises:
        OSError: it cannot be written; if the disk is full, the error names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.errno in FULL_DISK and not error.filename:  # as those of open files are
            error.filename = os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a private folder next to `path`, which is renamed to it when the block succeeds, and removed otherwise.

    Folders that a killed process of this machine left for the same path are removed.

    Raises:
        UserError: `path` was created by someone else in the meantime.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".tmp-{path.name}-{socket.gethostname()}-"
    for left in path.parent.glob(f"{glob.escape(prefix)}*-*"):
        if not _is_running(left.name.removeprefix(prefix).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _rename_to_new(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:  # the process of another user
        return True
    return True


def _rename_to_new(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError as error:
        if path.exists():
            raise UserError(f"{path} was created by another run in the meantime; nothing was written to it") from error
        raise


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file at `path`. On a file system without locks nothing is locked: outputs still appear whole.

    Raises:
        filelock.Timeout: another process holds the lock, and `wait` is false.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically, like all functions of this module."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8."""
    write_bytes(path, text.encode())


def dump_json(value: Any) -> str:
    """Return JSON text with sorted keys and an indent of two spaces; NaN raises `ValueError`."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a value as `dump_json` formats it."""
    write_text(path, dump_json(value))


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, an empty one if there is no file.

    Raises:
        UserError: the file holds something else.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); restore or remove it") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not an object; restore or remove it")
    return value


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value, independent of the order of its keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def sha256_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of the files directly in a folder."""
    if path.is_dir():  # not recursive: a subfolder can be a link to anywhere, and a pipe never ends
        return sha256_json({child.name: sha256_path(child) for child in sorted(path.iterdir()) if child.is_file()})
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def inside(folder: Path, relative: str) -> Path:
    """Return `folder/relative`.

    Raises:
        UserError: the path is outside `folder` (absolute, with `..`, or through a link).
    """
    try:
        within = not Path(relative).is_absolute() and (folder / relative).resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):  # a NUL byte, an invalid character, a link to itself
        within = False
    if not within:
        raise UserError(f"{relative!r} leads out of {folder}; paths in a benchmark are relative to its folder")
    return folder / relative
