"""Collections of items on disk, so that memory does not grow with the number of videos.

They are temporary SQLite files in `$TMPDIR`, which have no name and disappear with their process.
"""

import pickle
import sqlite3
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

CACHE_KIB = 16_000  # of each file, in memory
PRAGMAS = (f"cache_size=-{CACHE_KIB}", "journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE")


def connect() -> sqlite3.Connection:
    """Open a temporary database in which nothing is ever committed or rolled back."""
    database = sqlite3.connect("", isolation_level=None)
    for pragma in PRAGMAS:
        database.execute(f"PRAGMA {pragma}")
    return database


def dump(value: Any) -> bytes:
    """Return a value as bytes, for this process."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def load(data: bytes) -> Any:
    """Return the value of bytes from `dump`."""
    return pickle.loads(data)  # noqa: S301 (of this process, in a file without a name)


class DiskDict:
    """Dictionary from text to values; iteration is in the order of the keys."""

    def __init__(self) -> None:
        self._database = connect()
        self._database.execute("CREATE TABLE items (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._database.execute("BEGIN")
        self._num_items = 0

    def __len__(self) -> int:
        return self._num_items

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def __getitem__(self, key: str) -> Any:
        row = self._find(key)
        if row is None:
            raise KeyError(key)
        return load(row[0])

    def __setitem__(self, key: str, value: Any) -> None:
        if not self._add(key, value):
            self._database.execute("UPDATE items SET value = ? WHERE key = ?", (dump(value), _encode(key)))

    def _add(self, key: str, value: Any) -> bool:
        """Add an item and return true, or return false if there is one with this key."""
        cursor = self._database.execute("INSERT OR IGNORE INTO items VALUES (?, ?)", (_encode(key), dump(value)))
        self._num_items += cursor.rowcount
        return cursor.rowcount == 1

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, `default` if there is none."""
        row = self._find(key)
        return default if row is None else load(row[0])

    def setdefault(self, key: str, value: Any) -> Any:
        """Return the value of a key, which is set first if there is none."""
        return value if self._add(key, value) else self[key]

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield (key, value) in the order of the keys."""
        for key, value in self._database.execute("SELECT key, value FROM items ORDER BY key"):
            yield key.decode("utf-8", "surrogatepass"), load(value)

    def _find(self, key: str) -> tuple[bytes] | None:
        if not self._num_items:
            return None
        return self._database.execute("SELECT value FROM items WHERE key = ?", (_encode(key),)).fetchone()


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class DiskList:
    """List of values that are read in order, once all have been appended."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None

    def append(self, value: Any) -> None:
        """Append a value."""
        self._file = self._file or tempfile.TemporaryFile(prefix="multiexpr-")  # noqa: SIM115 (open as long as the list)
        pickle.dump(value, self._file, pickle.HIGHEST_PROTOCOL)

    def __iter__(self) -> Iterator[Any]:
        if self._file is None:
            return
        self._file.seek(0)
        while True:
            try:
                yield pickle.load(self._file)  # noqa: S301 (as in `load`)
            except EOFError:
                return
