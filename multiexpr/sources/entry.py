"""Items that readers of collections yield: entries and problems."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

ProblemKind = Literal["row_without_file", "file_without_row", "duplicate", "unreadable", "suspicious_caption"]


class Location(NamedTuple):
    """Location of a video in a collection; paths are relative to its root, with forward slashes.

    Attributes:
        path: file, or archive (the first part of a split one).
        parts: all parts of a split archive, in order.
        member: name of the video in the archive.
        packing: "file", or the storage in an archive: "tar", "zip" (stored) or "deflated" (in a zip).
        offset: offset in bytes of the data in a tar, or of the local header in a zip.
        packed_bytes: number of bytes in the archive.
        num_bytes: number of bytes of the video.
        stamp: sizes and modification times (in nanoseconds) of the files, to detect changes.
        crc: checksum of the content in a zip; -1 if there is none.
    """

    path: str
    parts: tuple[str, ...] = ()
    member: str = ""
    packing: Literal["file", "tar", "zip", "deflated"] = "file"
    offset: int = 0
    packed_bytes: int = 0
    num_bytes: int = 0
    stamp: str = ""
    crc: int = -1

    @property
    def name(self) -> str:
        """Return the path of the video, inside its archive if it is in one."""
        return self.member or self.path


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Video of a collection.

    Attributes:
        key: name of the video that does not depend on where the collection is stored; clip ids are hashes of it.
        location: file or archive member.
        caption: caption in the collection.
        scores: other columns of the collection's tables.
    """

    key: str
    location: Location
    caption: str = ""
    scores: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """File or table row that has no entry, or an entry with a suspicious caption.

    Attributes:
        kind: kind of the mismatch.
        path: path of the file, or name in the table.
        detail: what is wrong, in words.
    """

    kind: ProblemKind
    path: str
    detail: str = ""
