"""Reading clips: video files through the decoding process, and folders of PNG frames."""

import atexit
import json
import os
import re
import select
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from exprbench.core.processes import spawn
from exprbench.media.decoder import DONE, ERROR, FRAME, INFO, MESSAGE
from exprbench.media.errors import MediaError
from exprbench.media.images import read_image

PIPE_BYTES = 1 << 20
# glibc gives the memory of every frame back to the system and takes it anew, page by page, which costs the decoder a
# quarter of its time; told to keep so much, it does not. Other systems know nothing of these.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
STALL_S = 60.0


@dataclass(frozen=True)
class ClipInfo:
    """What a clip says of itself. `fps` and `duration_s` are the header's word; frames are counted by reading."""

    width: int
    height: int
    fps: float
    duration_s: float
    codec: str
    has_audio: bool


class Clip(Protocol):
    """Frames of one video, once through: (H, W, 3) uint8 RGB arrays at a constant rate, all of one size.

    Iterating raises `MediaError` where the file turns out damaged, after the frames before the damage.
    """

    info: ClipInfo

    def __iter__(self) -> Iterator[np.ndarray]: ...
    def __enter__(self) -> "Clip": ...
    def __exit__(self, *_: object) -> None: ...


def open_clip(
    path: Path | str,
    *,
    fps: float | Fraction | None = None,
    max_frames: int | None = None,
    stall_s: float = STALL_S,
) -> Clip:
    """Open a video file, or a folder of PNG frames, for reading once.

    Args:
        path: an H.264, HEVC, VP9, AV1, MPEG-4 ... file in any common container, or a folder `00000.png, 00001.png ...`.
        fps: the rate wanted; frames are picked by time. None gives every frame as it comes. A folder has no clock:
            its frames are taken to be at the rate wanted.
        max_frames: stop after so many.
        stall_s: seconds without a sign of life after which the decoder is killed (`timeout`).

    Raises:
        MediaError: with one of the codes in `exprbench.media.errors`.
    """
    path = Path(path)
    if path.is_dir():
        return _Folder(path, float(fps or 25), max_frames)
    if not path.exists():
        raise MediaError("missing_file", f"there is no file {path}")
    if path.is_file() and path.stat().st_size == 0:
        raise MediaError("zero_bytes")
    rate = None if fps is None else str(Fraction(fps).limit_denominator(100_000))
    return Decoding({"task": "decode", "path": str(path.absolute()), "fps": rate, "max_frames": max_frames}, stall_s)


def read_clip(path: Path | str, **options: Any) -> tuple[np.ndarray, ClipInfo]:
    """All frames as one (T, H, W, 3) uint8 array; options as for `open_clip`. For clips known to be short."""
    with open_clip(path, **options) as clip:
        return np.stack(list(clip)), clip.info


class _Folder:
    """A folder of lossless frames."""

    def __init__(self, folder: Path, fps: float, max_frames: int | None) -> None:
        numbered = [(int(p.stem), p) for p in folder.glob("*.png") if re.fullmatch(r"\d+", p.stem, re.ASCII)]
        self.paths = [p for _, p in sorted(numbered)][:max_frames]
        numbers = sorted(n for n, _ in numbered)
        if not numbers:
            raise MediaError("no_video_stream", f"{folder} holds no frames named 00000.png, 00001.png ...")
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise MediaError("truncated", f"{folder}: the frame numbers have gaps or come twice")
        height, width = read_image(self.paths[0]).shape[:2]
        self.info = ClipInfo(width, height, fps, len(numbers) / fps, "png", has_audio=False)

    def __iter__(self) -> Iterator[np.ndarray]:
        for path in self.paths:
            frame = read_image(path)
            if frame.shape != (self.info.height, self.info.width, 3):
                raise MediaError("decode_errors", f"{path.name} is of another size than the first frame")
            yield frame

    def __enter__(self) -> "_Folder":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Decoding:
    """A `Clip` whose frames come from a decoding process, in answer to a request (see `exprbench.media.decoder`)."""

    def __init__(self, request: dict[str, Any], stall_s: float) -> None:
        self.decoder: _Decoder | None = _Decoder.take()
        self.decoder.ask(request)
        self.stall_s = stall_s
        try:
            self.info = ClipInfo(**json.loads(self.expect(INFO)[1]))
        except BaseException:
            self.__exit__()
            raise

    def expect(self, *kinds: bytes) -> tuple[bytes, bytearray, int]:
        """The next message, which must be of one of these kinds: (kind, body, count)."""
        kind, count, body = self.decoder.receive(self.stall_s)
        if kind == ERROR:
            self.release()
            raise MediaError(*json.loads(body))
        if kind not in kinds:
            raise RuntimeError(f"the decoder sent {kind!r} out of turn")
        return kind, body, count

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.decoder:
            kind, body, count = self.expect(FRAME, DONE)
            if kind == DONE:
                self.release()
                return
            frame = np.frombuffer(body, np.uint8).reshape(self.info.height, self.info.width, 3)
            frame.flags.writeable = False
            for _ in range(count):
                yield frame

    def release(self) -> None:
        """The answer is complete: the process can serve another file."""
        self.decoder.give_back()
        self.decoder = None

    def __enter__(self) -> "Decoding":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self.decoder:  # left in the middle of an answer
            self.decoder.kill()
            self.decoder = None


class _Decoder:
    """A decoding process; idle ones are kept for the next file."""

    idle: list["_Decoder"] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.process = spawn(
            ["exprbench.media.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**KEEP_MEMORY, **os.environ},
        )
        self.owner = os.getpid()
        _widen(self.process.stdout)

    @classmethod
    def take(cls) -> "_Decoder":
        while cls.idle:
            decoder = cls.idle.pop()
            if decoder.owner == os.getpid() and decoder.process.poll() is None:
                return decoder
        return cls()

    def give_back(self) -> None:
        self.idle.append(self)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, request: dict[str, Any]) -> None:
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            self.kill()
            raise MediaError("open_failed", "the decoder could not be started") from None

    def receive(self, stall_s: float) -> tuple[bytes, int, bytearray]:
        kind, count, size = MESSAGE.unpack(self._read(MESSAGE.size, stall_s))
        return kind, count, self._read(size, stall_s)

    def _read(self, size: int, stall_s: float) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            if not select.select([self.process.stdout], [], [], stall_s)[0]:
                raise MediaError("timeout", f"no frame for {stall_s:g} s")
            got = self.process.stdout.readinto(rest)
            if not got:
                raise MediaError("decode_errors", f"the decoder crashed (exit status {self.process.wait()})")
            rest = rest[got:]
        return data


def _widen(pipe: Any) -> None:
    """Ask for a larger pipe buffer, where the system has such a thing: fewer switches between the two processes."""
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass


@atexit.register
def _kill_idle() -> None:
    for decoder in _Decoder.idle:
        if decoder.owner == os.getpid():
            decoder.kill()
    _Decoder.idle.clear()
