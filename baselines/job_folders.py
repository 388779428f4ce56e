"""Private folders of jobs, whose paths every method can handle."""

import hashlib
import os
from pathlib import Path

from baselines.stage import PLAIN
from exprbench.core.errors import UserError


def job_root(out: Path) -> Path:
    """Return the folder of an output folder's jobs; its path has only letters, digits, `_`, `-` and `/`.

    Some methods cut names at the first dot of a path, or read brackets as patterns, so that an output folder with such
    a name has its jobs in `/tmp`.
    """
    if PLAIN.fullmatch(str(out)):
        return out / "jobs"
    name = hashlib.sha256(str(out).encode()).hexdigest()[:12]
    return Path("/tmp") / f"exprbench-jobs-{os.getuid()}" / name  # noqa: S108 (private: made with mode 700)


def make_private(folder: Path) -> None:
    """Make a folder that only this user can read.

    Raises:
        UserError: it belongs to someone else.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder} belongs to another user; choose another --out")
