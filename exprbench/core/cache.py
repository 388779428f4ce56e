"""What was computed once, kept by the content it was computed from.

A key is a JSON value that names everything the result depends on (hashes of files and models, parameters, versions);
its hash is the entry's name. Entries appear whole or not at all and carry their own checksum, so that one damaged on
disk is made again. Losing the cache loses nothing but time.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_bytes, sha256_json, write_bytes

T = TypeVar("T")
DIGEST_BYTES = 32


def cache_root() -> Path:
    """`$EXPRBENCH_CACHE`, or `exprbench` in the user's cache folder."""
    given = os.environ.get("EXPRBENCH_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exprbench"


def entry_path(kind: str, key: Any) -> Path:
    """Where the entry under `key` lies, or would."""
    name = sha256_json(key)
    return cache_root() / kind / name[:2] / name


def read_entry(kind: str, key: Any) -> bytes | None:
    """The bytes kept under `key`; None where there are none, or where they were damaged."""
    try:
        data = entry_path(kind, key).read_bytes()
    except OSError:
        return None
    body = data[:-DIGEST_BYTES]
    return body if bytes.fromhex(sha256_bytes(body)) == data[-DIGEST_BYTES:] else None


def write_entry(kind: str, key: Any, body: bytes) -> None:
    """Keep `body` under `key`."""
    path = entry_path(kind, key)
    try:
        write_bytes(path, body + bytes.fromhex(sha256_bytes(body)))
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise UserError(
            f"cannot write to the cache {cache_root()}; set EXPRBENCH_CACHE to a folder of yours"
        ) from error


@contextmanager
def entry_lock(kind: str, key: Any) -> Iterator[None]:
    """Hold what is kept under `key`, so that two processes do not make it at once."""
    from filelock import FileLock

    path = entry_path(f"locks/{kind}", key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def cached(kind: str, key: Any, make: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
    """The value under `key`, made and kept when it is not there."""
    body = read_entry(kind, key)
    if body is not None:
        return unpack(body)
    value = make()
    write_entry(kind, key, pack(value))
    return value
