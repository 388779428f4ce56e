"""Locate the video of an index row, and check that its file has not changed since it was listed."""

import struct
from pathlib import Path
from typing import Any

from exprbench.core.errors import ItemError
from exprbench.media import MediaError, VideoSource
from exprbench.media.video import open_bytes
from multiexpr.sources.catalogue import file_stamp, range_to_pieces

LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of the name and of the extra field
SIGNATURE = b"PK\x03\x04"

Row = dict[str, Any]


class ClipError(ItemError):
    """Error of one clip that is not a `MediaError`: source_changed, caption_failed, caption_refused or caption_cut."""


def video_source(row: Row, root: Path) -> VideoSource:
    """Return the video of an index row, in the collection at `root`.

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
    pieces = tuple(range_to_pieces(root, paths, offset, row["packed_bytes"]))
    return VideoSource(pieces=pieces, unpacked_bytes=row["num_bytes"] if row["packing"] == "deflated" else 0, **span)


def _data_offset(root: Path, paths: tuple[str, ...], header: int) -> int:
    """Return the offset of a zip member's data: only its local header states the length of that header."""
    try:
        with open_bytes(range_to_pieces(root, paths, header, LOCAL_HEADER.size), 0) as file:
            data = file.read(LOCAL_HEADER.size)
    except OSError as error:
        raise MediaError("open_failed", f"the archive cannot be read: {error.strerror}") from error
    if len(data) < LOCAL_HEADER.size or not data.startswith(SIGNATURE):
        raise MediaError("open_failed", "the archive does not match its list of contents")
    _, name, extra = LOCAL_HEADER.unpack(data)
    return header + LOCAL_HEADER.size + name + extra


def check_unchanged(row: Row, root: Path) -> None:
    """Raise an error if the file or archive has changed since it was listed.

    Raises:
        MediaError: missing_file.
        ClipError: source_changed.
    """
    if row["problem"]:
        raise MediaError(row["problem"], f"{row['path']} was there once, and is not any more")
    stamp = file_stamp(root, tuple(row["parts"] or [row["path"]]))
    if not stamp:
        raise MediaError("missing_file", f"there is no file {row['path']}")
    if stamp != row["stamp"].partition("@")[0]:
        raise ClipError("source_changed", f"{row['path']} has changed since it was listed; run the command again")
