"""The process that decodes: `python -m exprbench.media.decoder`.

It takes one JSON request a line on standard input and answers on standard output with messages (see `MESSAGE`):
`info`, then `frame`s, then `done`, or an `error` at any point. It is a process of its own so that a file that crashes
or hangs a decoder takes nothing down with it, and it ends when its parent does. The pipe is the only buffer, so
memory stays bounded whatever the length of the video.
"""

import json
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from exprbench.media.errors import MediaError
from exprbench.media.resample import resample

MESSAGE = struct.Struct("<cIQ")  # kind, times the frame is shown, bytes that follow
INFO, FRAME, DONE, ERROR = b"i", b"f", b"d", b"e"

MAX_PIXELS = 1 << 26  # 8192 x 8192: a larger frame is a header that lies
MAX_GAP_S = 60  # so is a longer pause between two frames
MAX_CONSECUTIVE_ERRORS = 8
MIN_SHARE_OF_DURATION = 0.95

# Demuxers that read only the file they are given: no playlists, which name other files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,apng,ivf,nut,mxf,"
    "h264,hevc,av1,obu,m4v,yuv4mpegpipe,dv,rm,swf,wtv"
)
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}

Timed = tuple[Any, Fraction, Fraction]  # frame, start and end in seconds from the first frame


def main() -> None:
    """Serve requests until standard input closes."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not end up among the frames
    import av

    av.logging.set_level(None)
    for line in sys.stdin.buffer:
        _Reply(out).answer(json.loads(line))


class _Reply:
    """One request being answered."""

    def __init__(self, out: Any) -> None:
        self.out = out

    def answer(self, request: dict[str, Any]) -> None:
        try:
            self.send(DONE, _to_bytes(self.decode(**request)))
        except MediaError as error:
            self.send(ERROR, _to_bytes([error.code, error.detail]))
        except BrokenPipeError:
            raise SystemExit from None
        except MemoryError:
            self.send(ERROR, _to_bytes(["decode_errors", "its frames need more memory than there is"]))
        except Exception as error:
            self.send(ERROR, _to_bytes(["open_failed", f"{type(error).__name__}: {error}"]))

    def send(self, kind: bytes, body: Any, count: int = 0) -> None:
        rest = memoryview(body).cast("B")
        self.out.write(MESSAGE.pack(kind, count, len(rest)))
        while rest:
            rest = rest[self.out.write(rest) :]

    def decode(self, path: str, fps: str | None, max_frames: int | None) -> dict[str, Any]:
        """Send up to `max_frames` frames at `fps` (null: every frame as it comes); return what was met on the way."""
        with _open(path) as container:
            reading = _Reading(container, _video_stream(container))
            timed = reading.timed()
            shown = ((f, 1) for f, _, _ in timed) if fps is None else resample(timed, Fraction(fps))
            sent = 0
            for frame, wanted in shown:
                count = wanted if max_frames is None else min(wanted, max_frames - sent)
                if count:
                    rgb = reading.to_rgb(frame)
                    if not sent:
                        self.send(INFO, _to_bytes(reading.describe(rgb.shape)))
                    self.send(FRAME, rgb, count)
                sent += count
                if sent == max_frames:
                    break
            reading.raise_on_damage(whole=max_frames is None or sent < max_frames)
            return {"num_decoded": reading.num_good + reading.num_damaged}


@dataclass
class _Reading:
    """A stream being decoded, and a count of what went wrong."""

    container: Any
    stream: Any
    num_good: int = 0
    num_damaged: int = 0
    num_unreadable: int = 0
    gave_up: bool = False
    end_s: Fraction = Fraction(0)
    gap_s: Fraction = Fraction(0)  # between the last two frames
    size: tuple[int, int] | None = None

    @property
    def frame_s(self) -> Fraction:
        return 1 / Fraction(self.stream.average_rate or self.stream.base_rate or 25)

    @property
    def claimed_s(self) -> float:
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        return (self.container.duration or 0) / 1e6

    def describe(self, shape: tuple[int, int, int]) -> dict[str, Any]:
        return {
            "width": shape[1],
            "height": shape[0],
            "fps": float(1 / self.frame_s),
            "duration_s": self.claimed_s,
            "codec": self.stream.codec_context.name,
            "has_audio": bool(self.container.streams.audio),
        }

    def timed(self) -> Iterator[Timed]:
        """Frames with their start and end, starts never going back."""
        origin_s, start_s = None, Fraction(0)
        for frame in self.frames():
            pts_s = None if frame.pts is None else frame.pts * Fraction(frame.time_base)
            if origin_s is None:
                origin_s = pts_s or Fraction(0)
            else:
                before_s = start_s
                start_s = start_s + self.frame_s if pts_s is None else max(start_s, pts_s - origin_s)
                self.gap_s = start_s - before_s
                if self.gap_s > MAX_GAP_S:
                    raise MediaError("decode_errors", f"the clock jumps by {float(self.gap_s):.0f} s")
            self.end_s = start_s + self.shown_s(frame)
            yield frame, start_s, self.end_s

    def shown_s(self, frame: Any) -> Fraction:
        told_s = (frame.duration or 0) * Fraction(frame.time_base or 0)
        return told_s if 0 < told_s <= 1 else self.gap_s or self.frame_s

    def frames(self) -> Iterator[Any]:
        """Every frame that decodes; too many unreadable packets in a row end it."""
        in_a_row = 0
        for frames in self.decoded_packets():
            in_a_row = in_a_row + 1 if frames is None else 0
            self.gave_up = in_a_row == MAX_CONSECUTIVE_ERRORS
            if self.gave_up:
                return
            for frame in frames or ():
                self.num_damaged += frame.is_corrupt
                self.num_good += not frame.is_corrupt
                yield frame

    def decoded_packets(self) -> Iterator[list[Any] | None]:
        """The frames each packet completes; None for one that cannot be read."""
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                yield next(packets).decode()
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError:
                self.num_unreadable += 1
                yield None

    def to_rgb(self, frame: Any) -> np.ndarray:
        """(H, W, 3) uint8 RGB: upright, pixels square, and of the first frame's size whatever comes later."""
        if self.size is None:
            aspect = Fraction(self.stream.sample_aspect_ratio or 1)
            self.size = round(frame.width * aspect), frame.height
        rgb = frame.to_ndarray(format="rgb24", width=self.size[0], height=self.size[1])
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(rgb, turns) if turns else rgb)

    def raise_on_damage(self, *, whole: bool) -> None:
        end_s = float(self.end_s)
        ends_early = end_s < MIN_SHARE_OF_DURATION * self.claimed_s and self.claimed_s - end_s > 0.1
        if whole and ends_early and not self.gave_up:
            raise MediaError("truncated", f"the frames end at {end_s:.2f} s of {self.claimed_s:.2f} s")
        if whole and not self.num_good + self.num_damaged:
            raise MediaError("decode_errors", "not one frame could be decoded")
        if self.num_damaged or self.num_unreadable:
            told = f"{self.num_damaged} damaged frames and {self.num_unreadable} unreadable packets"
            raise MediaError("decode_errors", f"{told} beside {self.num_good} good frames")


def _open(path: str) -> Any:
    import av

    try:
        return av.open(f"file:{path}", options=OPTIONS)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError("open_failed", getattr(error, "strerror", None) or str(error)) from error


def _video_stream(container: Any) -> Any:
    import av

    cover_art = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if s.codec_context and not s.disposition & cover_art]
    if not streams:
        raise MediaError("no_video_stream")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if not 0 < stream.width * stream.height <= MAX_PIXELS:
        raise MediaError("open_failed", f"its header tells of frames of {stream.width}x{stream.height} pixels")
    stream.thread_type, stream.codec_context.thread_count = "NONE", 1  # the other cores decode other files
    return stream


def _to_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


if __name__ == "__main__":
    main()
