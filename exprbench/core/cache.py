"""Content-addressed cache of computed results.

A key is a JSON value with everything the result depends on (hashes of files and models, parameters, versions); its hash
is the name of the entry. Entries are written atomically and carry a checksum, so that an entry damaged on disk is
computed again. The cache can be deleted at any time.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from exprbench.core.errors import UserError
from exprbench.core.files import file_lock, sha256_bytes, sha256_json, write_bytes

T = TypeVar("T")
DIGEST_BYTES = 32


def cache_root() -> Path:
    """Return `$EXPRBENCH_CACHE`, or `exprbench` in the user's cache folder.

    Raises:
        UserError: the user has no home folder.
    """
    folder = os.environ.get("EXPRBENCH_CACHE")
    if folder:
        return Path(folder)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exprbench"
    except (RuntimeError, KeyError) as error:
        raise UserError("there is no home folder for the cache; set EXPRBENCH_CACHE to a writable folder") from error


def entry_path(kind: str, key: Any) -> Path:
    """Return the path of the entry under `key`, whether it exists or not."""
    name = sha256_json(key)
    return cache_root() / kind / name[:2] / name


def read_entry(kind: str, key: Any) -> bytes | None:
    """Return the bytes stored under `key`, None if there are none or if they are damaged."""
    try:
        data = entry_path(kind, key).read_bytes()
    except OSError:
        return None
    body = data[:-DIGEST_BYTES]
    return body if bytes.fromhex(sha256_bytes(body)) == data[-DIGEST_BYTES:] else None


def write_entry(kind: str, key: Any, body: bytes) -> None:
    """Store `body` under `key`.

    Raises:
        UserError: the cache folder is not writable.
    """
    path = entry_path(kind, key)
    try:
        write_bytes(path, body + bytes.fromhex(sha256_bytes(body)))
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise UserError(
            f"cannot write to the cache {cache_root()}; set EXPRBENCH_CACHE to a writable folder"
        ) from error


@contextmanager
def entry_lock(kind: str, key: Any) -> Iterator[None]:
    """Lock the entry under `key`, so that two processes do not compute it at once."""
    with file_lock(entry_path(f"locks/{kind}", key)):
        yield


def cached(
    kind: str, key: Any, compute: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]
) -> T:
    """Return the value under `key`; compute and store it if it is not in the cache."""
    body = read_entry(kind, key)
    if body is not None:
        return unpack(body)
    value = compute()
    write_entry(kind, key, pack(value))
    return value


def pack_json(value: Any) -> bytes:
    """Return a JSON value as the bytes of an entry; `json.loads` is its inverse."""
    return json.dumps(value).encode()
