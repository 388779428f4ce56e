"""Readers of raw collections: each yields entries and problems, and decides nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path

from exprbench.core.errors import UserError, unknown_name
from multiexpr.sources.entry import Entry, Place, Problem
from multiexpr.sources.hallo3 import is_hallo3, read_hallo3
from multiexpr.sources.joining import SourceOptions
from multiexpr.sources.openhumanvid import is_openhumanvid, read_openhumanvid
from multiexpr.sources.openvid import is_openvid, read_openvid
from multiexpr.sources.plain_folder import read_folder
from multiexpr.sources.released import is_released, read_released
from multiexpr.sources.webdataset import is_webdataset, read_webdataset

__all__ = ["READERS", "Entry", "Place", "Problem", "SourceOptions", "detect", "read"]

Reader = Callable[[Path, SourceOptions], Iterator[Entry | Problem]]

READERS: dict[str, Reader] = {
    "openvid": read_openvid,
    "openhumanvid": read_openhumanvid,
    "hallo3": read_hallo3,
    "multiexpr": read_released,
    "webdataset": read_webdataset,
    "folder": read_folder,
}
SIGNS: dict[str, Callable[[Path], bool]] = {
    "openvid": is_openvid,
    "openhumanvid": is_openhumanvid,
    "hallo3": is_hallo3,
    "webdataset": is_webdataset,
    "multiexpr": is_released,
}


def detect(root: Path) -> str:
    """Which kind of collection lies in a folder; `folder` where it is none of the known ones.

    Raises:
        UserError: there is nothing.
    """
    if not root.exists():
        raise UserError(f"there is no collection {root}")
    if root.is_file():
        return "folder"
    return next((kind for kind, fits in SIGNS.items() if fits(root)), "folder")


def read(root: Path, kind: str, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Entries and problems of a collection, always in the same order."""
    if kind not in READERS:
        raise unknown_name("kind of collection", kind, list(READERS))
    return READERS[kind](root, options)
