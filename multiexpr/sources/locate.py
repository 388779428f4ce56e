"""From a row of the index to the video it stands for, and whether that still is the one that was listed."""

import struct
from pathlib import Path
from typing import Any

from exprbench.core.errors import ItemError
from exprbench.media import MediaError, VideoSource
from exprbench.media.video import open_bytes
from multiexpr.sources.catalogue import pieces_of, stamp_of

LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip's member: signature, lengths of name and extra field
SIGNATURE = b"PK\x03\x04"

Row = dict[str, Any]


class ClipError(ItemError):
    """A clip that cannot be used, beyond what `MediaError` names: source_changed, worker_crashed, scorer_failed."""


def video_of(row: Row, root: Path) -> VideoSource:
    """The video a row of the index tells of, in a collection that lies in `root`.

    Raises:
        MediaError: missing_file or open_failed.
    """
    span = {"start_s": row["start_s"], "duration_s": row["duration_s"]}
    if row["packing"] == "file":
        return VideoSource(path=str(root / row["path"]), **span)
    paths = tuple(row["parts"] or [row["path"]])
    missing = [path for path in paths if not (root / path).exists()]
    if missing:
        raise MediaError("missing_file", f"there is no file {missing[0]}")
    offset = row["offset"] if row["packing"] == "tar" else _data_offset(root, paths, row["offset"])
    pieces = tuple(pieces_of(root, paths, offset, row["packed_bytes"]))
    return VideoSource(pieces=pieces, unpacked_bytes=row["num_bytes"] if row["packing"] == "deflated" else 0, **span)


def _data_offset(root: Path, paths: tuple[str, ...], header: int) -> int:
    """Where a zip's member begins: after its local header, whose length only it tells itself."""
    try:
        with open_bytes(pieces_of(root, paths, header, LOCAL_HEADER.size), 0) as file:
            data = file.read(LOCAL_HEADER.size)
    except OSError as error:
        raise MediaError("open_failed", f"the archive cannot be read: {error.strerror}") from error
    if len(data) < LOCAL_HEADER.size or not data.startswith(SIGNATURE):
        raise MediaError("open_failed", "the archive does not hold what its list of contents tells")
    _, name, extra = LOCAL_HEADER.unpack(data)
    return header + LOCAL_HEADER.size + name + extra


def check_unchanged(row: Row, root: Path) -> None:
    """Raise where the file or archive is not as it was when it was listed.

    Raises:
        MediaError: missing_file.
        ClipError: source_changed.
    """
    if row["problem"]:
        raise MediaError(row["problem"], f"{row['path']} was there once, and is not any more")
    stamp = stamp_of(root, tuple(row["parts"] or [row["path"]]))
    if not stamp:
        raise MediaError("missing_file", f"there is no file {row['path']}")
    if stamp != row["stamp"].partition("@")[0]:
        raise ClipError("source_changed", f"{row['path']} has changed since it was listed; run the command again")
