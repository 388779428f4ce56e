"""Base of all command lines in this repository: exit statuses, signals, and help with examples."""

import argparse
import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from exprbench.core.errors import UserError

DONE, USER_MISTAKE, TOO_MANY_FAILED, STOPPED = 0, 2, 3, 130
MACHINE_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EIO),
    *(errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOTDIR),
}

Handler = Callable[[argparse.Namespace], int | None]


class Parser(argparse.ArgumentParser):
    """Argument parser with an examples section in its help and one-line error messages."""

    def __init__(self, *, examples: str = "", **options: object) -> None:
        epilog = f"examples:\n{examples}" if examples else None
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=formatter, allow_abbrev=False, epilog=epilog, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:  # noqa: D102
        self.exit(USER_MISTAKE, f"error: {message} (see {self.prog} --help)\n")

    def print_help(self, file: Any = None) -> None:
        """Print the help; unlike argparse, raise if it cannot be written."""
        print(self.format_help(), end="", file=file)


class _Terminated(BaseException):
    """A signal asked the command to end; `args[0]` is its number."""


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, call the verb's `handler` and return the exit status.

    0 done; 1 a bug, with its traceback; 2 a user error, or a full or read-only disk, with a one-line message; 3 done,
    but more items failed than allowed (returned by the handler); 130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
    """
    _accept_any_text()
    try:
        with _signals_raise():
            return _call_handler(parser, argv)
    except UserError as error:
        return _report_user_error(str(error))
    except KeyboardInterrupt:
        return _report_stop("stopped", STOPPED)
    except _Terminated as stop:
        return _report_stop(f"stopped by {signal.Signals(stop.args[0]).name}", 128 + stop.args[0])
    except OSError as error:
        return _report_os_error(error)


def _call_handler(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    try:
        args = parser.parse_args(argv)
        if not hasattr(args, "handler"):
            parser.print_help()
            return DONE
        return args.handler(args) or DONE
    finally:
        if sys.stdout:
            sys.stdout.flush()  # here, where a full disk or a closed pipe can still be reported


def _accept_any_text() -> None:
    """Print characters that the terminal's encoding does not have as escapes, such as `\\u2020`."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # a stream that is closed, or replaced by the caller
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Raise `_Terminated` on SIGTERM and SIGHUP, so that child processes are ended and temporary files removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, _raise_terminated) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _raise_terminated(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the removal of temporary files
    raise _Terminated(number)


def shard(text: str) -> tuple[int, int]:
    """Parse the value of a flag `--shard I/N`: every N-th item, from the I-th, counted from 1."""
    part, _, whole = text.partition("/")
    if not (part.isdecimal() and whole.isdecimal() and 1 <= int(part) <= int(whole)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected I/N, like 2/8")
    return int(part), int(whole)


def _report_user_error(line: str) -> int:
    _report(f"error: {line}")
    return USER_MISTAKE


def _report_stop(how: str, status: int) -> int:
    _report(f"{how}; the same command resumes from here")
    return status


def _report_os_error(error: OSError) -> int:
    """Report an error of the machine in one line and return the exit status; raise any other error."""
    if isinstance(error, BrokenPipeError) and not all(map(_has_reader, (sys.stdout, sys.stderr))):
        _discard_output()  # the reader of the output (head, less) has ended: not an error
        return DONE
    if error.errno not in MACHINE_ERRORS:
        raise error
    _discard_output()
    reason = os.strerror(error.errno)  # libraries put sentences of their own into `error.strerror`
    return _report_user_error(f"{reason}: {error.filename}" if error.filename else reason)


def _report(line: str) -> None:
    with suppress(OSError):  # standard error is closed or full
        print(line, file=sys.stderr, flush=True)


def _has_reader(stream: Any) -> bool:
    """Return whether a stream can be written to: false for a pipe whose reader has ended."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return not any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no file, or a system without poll
        return True


def _discard_output() -> None:
    """Redirect standard output to the null device if flushing it fails: Python would try again at exit and fail."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
