"""Files that appear whole or not at all, hashes, and paths that stay in their folder."""

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
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes otherwise."""
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
    """Write a file whole or not at all, like the others here."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """UTF-8 text."""
    write_bytes(path, text.encode())


def dump_json(value: Any) -> str:
    """JSON as this project writes it: sorted keys, two spaces, NaN refused."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """JSON as `dump_json` gives it."""
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
        raise UserError(f"{path} is not whole JSON ({error}); restore or remove it") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not an object; restore or remove it")
    return value


def sha256_bytes(data: bytes) -> str:
    """Hash in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Hash of a JSON value, whatever the order of its keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def sha256_path(path: Path) -> str:
    """Hash of a file's bytes; of a folder, the hash over the names and bytes of the files that lie in it directly."""
    if path.is_dir():  # a folder in it may be a link to anywhere, a pipe never ends
        return sha256_json({child.name: sha256_path(child) for child in sorted(path.iterdir()) if child.is_file()})
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def inside(folder: Path, relative: str) -> Path:
    """`folder/relative`, refused when it would lie outside `folder` (absolute, `..`, or through a link)."""
    try:
        within = not Path(relative).is_absolute() and (folder / relative).resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):  # a NUL, half a character, a link to itself
        within = False
    if not within:
        raise UserError(f"{relative!r} leads out of {folder}; paths in a benchmark are relative to its folder")
    return folder / relative
