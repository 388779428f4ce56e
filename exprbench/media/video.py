"""Where the bytes of a video lie: a file, or a part of an archive that is read without being unpacked."""

import io
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from exprbench.media.errors import MediaError

CHUNK = 1 << 20
IN_MEMORY = 1 << 26  # bytes of an unpacked member that are held in memory; more go to a temporary file


@dataclass(frozen=True)
class Piece:
    """`num_bytes` bytes of a file from `offset` on."""

    path: str
    offset: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """A span of a video, wherever it lies.

    Attributes:
        path: the file, where the video is a file of its own.
        pieces: otherwise, the runs of bytes that make it up, in order: one for a member of a zip or tar; several where
            the archive itself was cut into parts.
        unpacked_bytes: the video's size where the pieces are deflated; 0 where they are stored.
        start_s: where the span begins, in seconds from the video's first frame.
        duration_s: how long it lasts; None to the end.
    """

    path: str = ""
    pieces: tuple[Piece, ...] = ()
    unpacked_bytes: int = 0
    start_s: float = 0.0
    duration_s: float | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the video, as far as it is known without unpacking it.

        Raises:
            MediaError: missing_file, where the file or one of the pieces' files is gone.
        """
        paths = [piece.path for piece in self.pieces] or [self.path]
        for path in paths:
            if not Path(path).exists():
                raise MediaError("missing_file", f"there is no file {path}")
        if not self.pieces:
            return Path(self.path).stat().st_size
        return self.unpacked_bytes or sum(piece.num_bytes for piece in self.pieces)


def open_bytes(pieces: list[Piece], unpacked_bytes: int) -> BinaryIO:
    """A seekable file over the pieces, inflated where `unpacked_bytes` says that they are deflated."""
    joined = io.BufferedReader(_Joined(pieces), CHUNK)
    return _inflate(joined, unpacked_bytes) if unpacked_bytes else joined


class _Joined(io.RawIOBase):
    """Pieces of files, read as one file."""

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

    def tell(self) -> int:
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
    unpacked = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (the caller closes it)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with packed:
        while unpacked.tell() < unpacked_bytes and (block := packed.read(CHUNK)):
            try:
                unpacked.write(inflater.decompress(block, unpacked_bytes - unpacked.tell()))
            except zlib.error as error:
                raise MediaError("open_failed", f"its archive is damaged: {error}") from error
    if unpacked.tell() < unpacked_bytes:
        raise MediaError("truncated", f"its archive gives {unpacked.tell()} of {unpacked_bytes} bytes")
    unpacked.seek(0)
    return unpacked
