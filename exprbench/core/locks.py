"""Locks on outputs, so that two runs do not write one at once."""

import getpass
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from exprbench.core.cache import entry_path
from exprbench.core.errors import UserError
from exprbench.core.files import file_lock

_held: set[tuple[Path, int]] = set()


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Lock an output file or folder; a thread that holds the lock already can take it again.

    The lock is in the cache, so that nothing is left next to the output. It is released when its process ends, however
    that happens.

    Raises:
        UserError: another run writes the output; the message names its process.
    """
    path = Path(os.path.realpath(path))
    key = (path, threading.get_ident())
    if key in _held:
        yield
        return
    with ExitStack() as stack:
        _lock(path, stack)
        _held.add(key)
        stack.callback(_held.discard, key)
        yield


def _lock(path: Path, stack: ExitStack) -> None:
    from filelock import Timeout

    lock = entry_path("locks/outputs", str(path))
    holder = lock.with_suffix(".holder")
    try:
        stack.enter_context(file_lock(lock, wait=False))
    except Timeout:
        owner = holder.read_text(encoding="utf-8") if holder.is_file() else "another process"
        raise UserError(f"{path} is being written by {owner}; wait for it, or choose another --out") from None
    holder.write_text(f"process {os.getpid()} of {user_name()} on {socket.gethostname()}", encoding="utf-8")


def user_name() -> str:
    """Return the name of the user, or the number of one without an entry in the password database."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "an unknown user"
