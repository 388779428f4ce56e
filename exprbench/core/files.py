"""Atomic writes, hashes, JSON, and paths that stay inside their folder."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds, and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
        value = json.loads(path.read_text())
    except ValueError as error:
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
