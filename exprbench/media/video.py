"""Location of a video's bytes: a file, or a part of an archive that is read without unpacking it."""

import io
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from exprbench.media.errors import MediaError

CHUNK = 1 << 20
IN_MEMORY = 1 << 26  # bytes of an inflated video in memory; a larger one is written to a temporary file


@dataclass(frozen=True)
class Piece:
    """Run of `num_bytes` bytes of a file, starting at `offset`."""

    path: str
    offset: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """Span of a video in a file or an archive.

    Attributes:
        path: the file, if the video is a single file.
        pieces: otherwise, the runs of bytes that make up the video, in order: one for a member of a zip or tar,
            several if the archive is split into parts.
        unpacked_bytes: size of the video if the pieces are deflated; 0 if they are stored uncompressed.
        start_s: start of the span, in seconds from the video's first frame.
        duration_s: duration of the span in seconds; None for the rest of the video.
    """

    path: str = ""
    pieces: tuple[Piece, ...] = ()
    unpacked_bytes: int = 0
    start_s: float = 0.0
    duration_s: float | None = None

    @property
    def num_bytes(self) -> int:
        """Return the size of the video.

        Raises:
            MediaError: `missing_file`, if its file or the file of a piece does not exist; `open_failed`, if it is not
                a regular file.
        """
        paths = [piece.path for piece in self.pieces] or [self.path]
        for path in paths:
            if not Path(path).exists():
                raise MediaError("missing_file", f"there is no file {path}")
            if not Path(path).is_file():
                raise MediaError("open_failed", f"{Path(path).name} is not a regular file; expected a video")
        if not self.pieces:
            return Path(self.path).stat().st_size
        return self.unpacked_bytes or sum(piece.num_bytes for piece in self.pieces)


def open_bytes(pieces: list[Piece], unpacked_bytes: int) -> BinaryIO:
    """Return a seekable file over the pieces, inflated if `unpacked_bytes` is not 0."""
    joined = io.BufferedReader(_Joined(pieces), CHUNK)
    return _inflate(joined, unpacked_bytes) if unpacked_bytes else joined


class _Joined(io.RawIOBase):
    """Pieces of files as one seekable file."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces
        self.files = [Path(piece.path).open("rb") for piece in pieces]  # noqa: SIM115 (closed with the whole)
        self.size = sum(piece.num_bytes for piece in pieces)
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = max(0, base + offset)
        return self.position

    def readinto(self, buffer: Any) -> int:
        start = 0
        for piece, file in zip(self.pieces, self.files, strict=True):
            within = self.position - start
            if 0 <= within < piece.num_bytes:
                file.seek(piece.offset + within)
                count = file.readinto(memoryview(buffer)[: piece.num_bytes - within])
                self.position += count
                return count
            start += piece.num_bytes
        return 0

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()


def _inflate(packed: BinaryIO, unpacked_bytes: int) -> BinaryIO:
    unpacked, size = tempfile.SpooledTemporaryFile(IN_MEMORY), 0  # noqa: SIM115 (the caller closes it)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with packed:
        while size < unpacked_bytes and (block := packed.read(CHUNK)):
            try:
                size += unpacked.write(inflater.decompress(block, unpacked_bytes - size))
            except zlib.error as error:
                raise MediaError("open_failed", f"its archive is damaged: {error}") from error
    if size < unpacked_bytes:
        raise MediaError("truncated", f"its archive gives {size} of {unpacked_bytes} bytes")
    unpacked.seek(0)
    return unpacked
