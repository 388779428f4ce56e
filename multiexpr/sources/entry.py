"""What a reader of collections yields: entries, and what does not fit."""

from dataclasses import dataclass, field
from typing import Literal

Problems = Literal["row_without_file", "file_without_row", "duplicate", "unreadable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a video lies in a collection; paths are relative to its root, with forward slashes.

    Attributes:
        path: the file, or the archive (of one cut into parts, the first).
        parts: all parts of such an archive, in order.
        member: the video's name in the archive.
        packing: "file", or how the archive holds it: "tar", "zip" (stored) or "deflated" (in a zip).
        offset: of its data in a tar, of its local header in a zip.
        packed_bytes: what it takes there.
        num_bytes: the video's own size.
        stamp: changes when the video may have changed: size and time of change of the file or files, in nanoseconds.
        crc: the zip's checksum of the content; -1 where there is none.
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
        """The video's own path: in the archive, where it lies in one."""
        return self.member or self.path


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A video of a collection, and what the collection says of it. `key` names it wherever the collection lies."""

    key: str
    place: Place
    caption: str = ""
    scores: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that did not become an entry."""

    kind: Problems
    path: str
    detail: str = ""
