"""Readers of collections: each yields an entry per video and a problem for everything that does not match."""

from collections.abc import Callable, Iterator
from pathlib import Path

from exprbench.core.errors import UserError, unknown_name
from multiexpr.sources.entry import Entry, Location, Problem
from multiexpr.sources.hallo3 import is_hallo3, read_hallo3
from multiexpr.sources.joining import SourceOptions
from multiexpr.sources.openhumanvid import is_openhumanvid, read_openhumanvid
from multiexpr.sources.openvid import is_openvid, read_openvid
from multiexpr.sources.plain_folder import read_folder
from multiexpr.sources.released import is_released, read_released
from multiexpr.sources.webdataset import is_webdataset, read_webdataset

__all__ = ["READERS", "Entry", "Location", "Problem", "SourceOptions", "detect", "read_collection"]

Reader = Callable[[Path, SourceOptions], Iterator[Entry | Problem]]

READERS: dict[str, Reader] = {
    "openvid": read_openvid,
    "openhumanvid": read_openhumanvid,
    "hallo3": read_hallo3,
    "multiexpr": read_released,
    "webdataset": read_webdataset,
    "folder": read_folder,
}
DETECTORS: dict[str, Callable[[Path], bool]] = {
    "openvid": is_openvid,
    "openhumanvid": is_openhumanvid,
    "hallo3": is_hallo3,
    "webdataset": is_webdataset,
    "multiexpr": is_released,
}


def detect(root: Path) -> str:
    """Return the kind of the collection in a folder; `folder` if it matches no other kind.

    Raises:
        UserError: there is no such folder or file.
    """
    if not root.exists():
        raise UserError(f"there is no collection {root}; expected a folder, or a video")
    if root.is_file():
        return "folder"
    return next((kind for kind, is_kind in DETECTORS.items() if is_kind(root)), "folder")


def read_collection(root: Path, kind: str, options: SourceOptions) -> Iterator[Entry | Problem]:
    """Yield the entries and problems of a collection, in a fixed order.

    Raises:
        UserError: the kind is unknown, or its tables are missing.
    """
    if kind not in READERS:
        raise unknown_name("kind of collection", kind, list(READERS))
    return READERS[kind](root, options)
