"""The child process of `exprbench.core.processes`, and the exit with the parent that all child processes share."""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import cloudpickle

from exprbench.core.errors import ItemError

POLL_S = 1.0
PARENT = "EXPRBENCH_PARENT"  # variable with its process id; os.getppid() differs if it ended before the child asked


def end_with_parent() -> None:
    """End this process within a second of its parent's death, and cleanly on SIGTERM and SIGHUP.

    Call it first, from the main thread.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)
    parent = int(os.environ.pop(PARENT, os.getppid()))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _exit(number: int, _: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the removal of temporary files
    sys.exit(128 + number)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


def main() -> None:
    """Handle the items that come through the connection on the file descriptor `sys.argv[1]`."""
    end_with_parent()
    connection = Connection(int(sys.argv[1]))
    try:
        sys.path, setup = cloudpickle.loads(connection.recv_bytes())
        handler = setup()
        _send(connection, "ready", None)
        while True:
            _send(connection, "result", _handle(handler, cloudpickle.loads(connection.recv_bytes())))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except Exception as error:
        _send(connection, "error", _with_traceback(error))


def _handle(handler: Any, item: Any) -> Any:
    try:
        return handler(item)
    except ItemError as error:
        return error


def _with_traceback(error: Exception) -> tuple[Exception, str]:
    """Return the exception in a form that survives pickling, and its traceback, which does not."""
    text = "".join(traceback.format_exception(error))
    try:
        return pickle.loads(cloudpickle.dumps(error)), text  # noqa: S301
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}"), text


def _send(connection: Connection, kind: str, value: Any) -> None:
    connection.send_bytes(cloudpickle.dumps((kind, value)))


if __name__ == "__main__":
    main()
