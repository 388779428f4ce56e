"""Base of all command lines in this repository: exit statuses, and help with examples."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from exprbench.core.errors import UserError

DONE, USER_MISTAKE, TOO_MANY_FAILED, STOPPED = 0, 2, 3, 130
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EIO}

Handler = Callable[[argparse.Namespace], int | None]


class Parser(argparse.ArgumentParser):
    """Argument parser with an examples section in its help and one-line error messages."""

    def __init__(self, *, examples: str = "", **options: object) -> None:
        epilog = f"examples:\n{examples}" if examples else None
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=formatter, allow_abbrev=False, epilog=epilog, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:  # noqa: D102
        self.exit(USER_MISTAKE, f"error: {message} (see {self.prog} --help)\n")


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, call the verb's `handler` and return the exit status.

    0 done; 1 a bug, with its traceback; 2 a user error, or a full or read-only disk, with a one-line message; 3 done,
    but more items failed than allowed (returned by the handler); 130 stopped by Ctrl-C.
    """
    args = parser.parse_args(argv)
    if not hasattr(args, "handler"):
        parser.print_help()
        return DONE
    try:
        return args.handler(args) or DONE
    except UserError as error:
        return _report_user_error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command resumes from here", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # the reader of the output (head, less) has ended: not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        return _report_user_error(f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror))


def shard(text: str) -> tuple[int, int]:
    """Parse the value of a flag `--shard I/N`: every N-th item, from the I-th, counted from 1."""
    part, _, whole = text.partition("/")
    if not (part.isdecimal() and whole.isdecimal() and 1 <= int(part) <= int(whole)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected I/N, like 2/8")
    return int(part), int(whole)


def _report_user_error(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return USER_MISTAKE
