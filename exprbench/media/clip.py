"""Read clips: video files through a decoder process, and folders of frames."""

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
from typing import Any, Protocol

import numpy as np

from exprbench.core.errors import UserError
from exprbench.core.processes import DEBUG, KEEP_MEMORY, MAX_KILLS, WorkerKilled, exit_text, spawn, was_killed
from exprbench.media.decoder import DONE, ERROR, FRAME, INFO, MESSAGE
from exprbench.media.errors import MediaError
from exprbench.media.images import read_image

PIPE_BYTES = 1 << 20
STALL_S = 60.0
FRAME_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
EXPECTED_FRAMES = "expected one series, such as 00000.png, 00001.png ... or frame_1.jpg, frame_2.jpg ..."


@dataclass(frozen=True)
class ClipInfo:
    """Properties of a clip: size in pixels, and frame rate and duration according to its header."""

    width: int
    height: int
    fps: float
    duration_s: float
    codec: str
    has_audio: bool


class Clip(Protocol):
    """Frames of one video, readable once: (H, W, 3) uint8 RGB arrays at a constant rate, all of one size.

    If the file is damaged, iterating raises `MediaError` after the frames before the damage.
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
    """Open a video file, or a folder of frames, for reading once.

    Args:
        path: an H.264, HEVC, VP9, AV1, MPEG-4, GIF ... file in any common container, or a folder of numbered images,
            such as `00000.png, 00001.png ...` or `frame_1.jpg, frame_2.jpg ...`.
        fps: frames per second; frames are selected by time. None returns every frame of the file. The frames of a
            folder have no times; they are assumed to be at this rate (25 if None).
        max_frames: number of frames after which to stop.
        stall_s: seconds without a frame after which the decoder is killed (`timeout`).

    Raises:
        MediaError: with one of the codes in `exprbench.media.errors`.
    """
    path = Path(path)
    if path.is_dir():
        return _Folder(path, float(fps or 25), max_frames)
    if not path.exists():
        raise MediaError("missing_file", f"there is no file {path}")
    if not path.is_file():
        raise MediaError("open_failed", f"{path.name} is not a regular file; expected a video")
    if path.stat().st_size == 0:
        raise MediaError("zero_bytes")
    rate = None if fps is None else str(Fraction(fps).limit_denominator(100_000))
    return DecodedClip({"task": "decode", "path": str(path.absolute()), "fps": rate, "max_frames": max_frames}, stall_s)


def read_clip(path: Path | str, **options: Any) -> tuple[np.ndarray, ClipInfo]:
    """Return all frames as one (T, H, W, 3) uint8 array, and the clip's properties; options as for `open_clip`."""
    with open_clip(path, **options) as clip:
        return np.stack(list(clip)), clip.info


class _Folder:
    """Folder of numbered frames."""

    def __init__(self, folder: Path, fps: float, max_frames: int | None) -> None:
        series = _series(folder)
        numbers = sorted(series)
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise MediaError("truncated", f"{folder}: the frame numbers have gaps")
        self.paths = [series[number] for number in numbers][:max_frames]
        height, width = read_image(self.paths[0]).shape[:2]
        codec = self.paths[0].suffix[1:].lower()
        self.info = ClipInfo(width, height, fps, len(numbers) / fps, codec, has_audio=False)

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


def _series(folder: Path) -> dict[int, Path]:
    """Return the frames of a folder by number: those named `00000.png ...`, else the only series of images.

    Raises:
        MediaError: there is no series, there are several, or a number comes twice.
    """
    found: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"(.*?)(\d{1,18})", path.stem, re.ASCII | re.DOTALL)
        if match and path.suffix.lower() in FRAME_SUFFIXES and not path.name.startswith("."):
            found.setdefault((match[1], path.suffix.lower()), []).append((int(match[2]), path))
    plain = found.get(("", ".png"))
    if not plain and len(found) != 1:
        several = f"{len(found)} series of images" if found else "no frames"
        raise MediaError("no_video_stream", f"{folder} holds {several}; {EXPECTED_FRAMES}")
    frames = plain or next(iter(found.values()))
    series = dict(frames)
    if len(series) < len(frames):
        raise MediaError("truncated", f"{folder}: a frame number comes twice; {EXPECTED_FRAMES}")
    return series


class DecodedClip:
    """A `Clip` whose frames come from a decoder process, in response to a request (see `exprbench.media.decoder`).

    If the process is killed from outside, another one decodes the file again, and the frames already read are skipped.
    """

    def __init__(self, request: dict[str, Any], stall_s: float) -> None:
        self.decoder: DecoderProcess | None = None
        self.request = request
        self.stall_s = stall_s
        self.num_kills = self.num_read = self.num_to_skip = 0
        self.start()

    def start(self) -> None:
        """Send the request to a decoder, again if it is killed, and read the clip's properties."""
        while True:
            self.decoder = DecoderProcess.acquire()
            try:
                self.decoder.send(self.request)
                self.info = ClipInfo(**json.loads(self.expect(INFO)[1]))
                return
            except DecoderKilled as error:
                self.count_kill(error)
            except BaseException:
                self.close()
                raise

    def count_kill(self, error: "DecoderKilled") -> None:
        """Prepare for another decoder.

        Raises:
            WorkerKilled: there were too many.
        """
        self.close()
        self.num_kills, self.num_to_skip = self.num_kills + 1, self.num_read
        if self.num_kills >= MAX_KILLS:
            raise error.too_many(self.num_kills) from error

    def expect(self, *kinds: bytes) -> tuple[bytes, bytearray, int]:
        """Return the next message, which must be of one of these kinds, as (kind, body, count)."""
        kind, count, body = self.decoder.receive(self.stall_s)
        if kind == ERROR:
            self.release()
            raise MediaError(*json.loads(body))
        if kind not in kinds:
            raise RuntimeError(f"the decoder sent {kind!r} out of turn")
        return kind, body, count

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.decoder:
            try:
                kind, body, count = self.expect(FRAME, DONE)
            except DecoderKilled as error:
                self.count_kill(error)
                self.start()
                continue
            if kind == DONE:
                self.release()
                return
            frame = np.frombuffer(body, np.uint8).reshape(self.info.height, self.info.width, 3)
            frame.flags.writeable = False
            for _ in range(count):
                if self.num_to_skip:
                    self.num_to_skip -= 1
                else:
                    self.num_read += 1
                    yield frame

    def release(self) -> None:
        """Return the process to the idle ones; the response is complete."""
        self.decoder.make_idle()
        self.decoder = None

    def close(self) -> None:
        """End the process if the response is not complete."""
        if self.decoder:
            self.decoder.kill()
            self.decoder = None

    def __enter__(self) -> "DecodedClip":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DecoderKilled(Exception):
    """The decoder process was ended from outside; `args[0]` says how."""

    def too_many(self, times: int) -> WorkerKilled:
        """Return the error of a clip whose decoders were killed this many times."""
        return WorkerKilled(detail=f"its decoder process {self.args[0]}, {times} times, by the machine or a user")


class DecoderProcess:
    """Decoder process; idle ones are reused for the next file."""

    idle: list["DecoderProcess"] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.process = spawn(
            ["exprbench.media.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**KEEP_MEMORY, **os.environ},
        )
        self.owner = os.getpid()
        self.has_responded = False
        _widen(self.process.stdout)

    @classmethod
    def acquire(cls) -> "DecoderProcess":
        """Return an idle process, or a new one."""
        while cls.idle:
            decoder = cls.idle.pop()
            if decoder.owner == os.getpid() and decoder.process.poll() is None:
                return decoder
        return cls()

    def make_idle(self) -> None:
        """Keep the process for the next file."""
        self.idle.append(self)

    def kill(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def send(self, request: dict[str, Any]) -> None:
        """Send a request.

        Raises:
            DecoderKilled, UserError: the process has ended.
        """
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._end() from None

    def receive(self, stall_s: float) -> tuple[bytes, int, bytearray]:
        """Return the next message as (kind, count, body).

        Raises:
            MediaError: `timeout`, or `decode_errors` if the process crashed.
            DecoderKilled: the process was ended from outside.
            UserError: it cannot be started.
        """
        kind, count, size = MESSAGE.unpack(self._read(MESSAGE.size, stall_s))
        return kind, count, self._read(size, stall_s)

    def _read(self, size: int, stall_s: float) -> bytearray:
        data = bytearray(size)
        remaining = memoryview(data)
        while remaining:
            if not select.select([self.process.stdout], [], [], stall_s)[0]:
                raise MediaError("timeout", f"no frame for {stall_s:g} s")
            count = self.process.stdout.readinto(remaining)
            if not count:
                raise self._end()
            self.has_responded = True
            remaining = remaining[count:]
        return data

    def _end(self) -> Exception:
        """Return the error for how the process ended: from outside, by the file that it decoded, or at its start."""
        status = self.process.wait()
        if was_killed(status):
            return DecoderKilled(exit_text(status))
        if status < 0 or self.has_responded:
            return MediaError("decode_errors", f"the decoder crashed ({exit_text(status)})")
        return UserError(f"the decoder process {exit_text(status)} at its start; set {DEBUG}=1 to see its messages")


def _widen(pipe: Any) -> None:
    """Enlarge the buffer of a pipe, if the system supports it, for fewer switches between the two processes."""
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass


@atexit.register
def _kill_idle() -> None:
    for decoder in DecoderProcess.idle:
        if decoder.owner == os.getpid():
            decoder.kill()
    DecoderProcess.idle.clear()
