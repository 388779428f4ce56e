"""Decode a video stream: its frames and their times, and counts of damaged data."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from exprbench.media.errors import MediaError
from exprbench.media.images import MAX_PIXELS
from exprbench.media.picture import Matrix, display_matrix, orient, to_sdr_progressive

MAX_GAP_S = 60  # between two frames; a longer gap is a wrong timestamp
MAX_CONSECUTIVE_ERRORS = 8
MIN_SHARE_OF_DURATION = 0.95
MAX_FIRST = 512  # packets before the first frame whose times are kept

# Demuxers of containers without presentation times, which only the decoder's output order gives: AVI and raw streams.
WITHOUT_TIMES = ("avi", "h264", "hevc", "mpegvideo", "m4v", "obu")
FROM_GPU = {"nv12": "yuv420p", "p010le": "yuv420p10le", "p016le": "yuv420p12le"}  # formats of a GPU and of software
FULL_RANGE = 2  # of a frame's values, in FFmpeg's numbers

Timed = tuple[Any, Fraction, Fraction]  # frame, start and end in seconds from the first frame


class PacketTimes(NamedTuple):
    """Times of a packet in ticks of its stream, and its flags."""

    pts: int | None
    dts: int | None
    is_keyframe: bool
    is_discard: bool


@dataclass
class StreamReader:
    """Reader of a video stream that counts damaged data.

    Frames keep their size; with `short_side` or `long_side` they are scaled to the smallest size, up to the original,
    whose sides are at least this long.
    """

    container: Any
    stream: Any
    short_side: int | None = None
    long_side: int | None = None
    num_good: int = 0
    num_damaged: int = 0
    num_unreadable: int = 0
    gave_up: bool = False
    end_s: Fraction = Fraction(0)
    knows_end: bool = False  # `end_s` is known without decoding the whole video
    gap_s: Fraction = Fraction(0)  # between the last two frames
    missing_s: Fraction = Fraction(0)  # at the start, before the first frame that can be decoded
    size: tuple[int, int] | None = None
    scaler: Any = None
    matrices: dict[int, Matrix] = field(default_factory=dict)  # display matrices by angle
    graphs: dict[str, Any] = field(default_factory=dict)  # filter graphs that are reused between frames
    sent: list[int] = field(default_factory=list)  # heap of the times of packets whose frames have not been decoded
    first_sent: list[PacketTimes] = field(default_factory=list)  # of the packets sent before the first frame
    is_on_gpu: bool = False

    def __post_init__(self) -> None:
        self.is_on_gpu = self.stream.codec_context.is_hwaccel

    @property
    def frame_s(self) -> Fraction:
        """Return the duration of a frame in seconds, from the average rate in the header."""
        return 1 / Fraction(self.stream.average_rate or self.stream.base_rate or 25)

    @property
    def claimed_s(self) -> float:
        """Return the duration in seconds according to the header, 0 if it has none."""
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        return (self.container.duration or 0) / 1e6

    def describe(self, shape: tuple[int, int, int]) -> dict[str, Any]:
        """Return the fields of `ClipInfo`, for frames of a shape."""
        return {
            "width": shape[1],
            "height": shape[0],
            "fps": float(1 / self.frame_s),
            "duration_s": self.claimed_s,
            "codec": self.stream.codec_context.name,
            "has_audio": bool(self.container.streams.audio),
        }

    def timed(self) -> Iterator[Timed]:
        """Yield frames with their start and end in seconds; starts are non-decreasing."""
        origin_s, start_s = None, Fraction(0)
        ordered = True
        for frame in self.frames():
            if origin_s is None:
                ordered = self.has_times(self.first_sent)
                if ordered and frame.pts is not None:
                    self.missing_s = self.skipped_s(self.first_sent, frame.pts)
            pts_s = self.time_s(frame, ordered)
            if origin_s is None:
                origin_s = pts_s or Fraction(0)
            else:
                previous_s = start_s
                start_s = start_s + self.frame_s if pts_s is None else max(start_s, pts_s - origin_s)
                self.gap_s = start_s - previous_s
                if self.gap_s > MAX_GAP_S:
                    raise MediaError("decode_errors", f"the clock jumps by {float(self.gap_s):.0f} s")
            self.end_s = start_s + (self.shown_s(frame) if ordered else self.gap_s or self.frame_s)
            yield frame, start_s, self.end_s

    def has_times(self, packets: Sequence[Any]) -> bool:
        """Return whether packets have presentation times; otherwise frames are in the decoder's output order."""
        if self.container.format.name in WITHOUT_TIMES or any(packet.pts is None for packet in packets):
            return False
        # Presentation times cannot all be decoding times in a stream with reordered frames.
        reorders = bool(self.stream.codec_context.has_b_frames)
        return not reorders or len(packets) < 2 or any(packet.pts != packet.dts for packet in packets)

    def time_s(self, frame: Any, ordered: bool) -> Fraction | None:
        """Return the time of a frame in seconds: its own if `ordered`, else the earliest of the packets sent."""
        earliest = heapq.heappop(self.sent) if self.sent else None
        ticks = frame.pts if ordered else earliest
        return None if ticks is None else ticks * Fraction(self.stream.time_base)

    def skipped_s(self, packets: Sequence[Any], first: int) -> Fraction:
        """Return the seconds of packets without a key frame before the first frame, at the time `first` in ticks."""
        times = [packet.pts for packet in packets if packet.pts is not None and not packet.is_discard]
        if not times or packets[0].is_keyframe:
            return Fraction(0)
        return max(0, first - min(times)) * Fraction(self.stream.time_base)

    def shown_s(self, frame: Any) -> Fraction:
        """Return the duration of a frame in seconds: its own, or that of the previous one."""
        duration_s = (frame.duration or 0) * Fraction(frame.time_base or 0)
        return duration_s if 0 < duration_s <= 1 else self.gap_s or self.frame_s

    def frames(self) -> Iterator[Any]:
        """Yield every frame that can be decoded; stops after too many consecutive unreadable packets."""
        num_consecutive = 0
        for frames in self.decoded_packets():
            num_consecutive = num_consecutive + 1 if frames is None else 0
            self.gave_up = num_consecutive == MAX_CONSECUTIVE_ERRORS
            if self.gave_up:
                return
            yield from self.count(frames or [])

    def count(self, frames: list[Any]) -> list[Any]:
        """Count good and damaged frames, and return the frames."""
        damaged = sum(frame.is_corrupt for frame in frames)
        self.num_damaged += damaged
        self.num_good += len(frames) - damaged
        return frames

    def packets(self) -> Iterator[Any]:
        """Yield the packets from the current position; stops after too many consecutive unreadable ones."""
        import av

        packets = self.container.demux(self.stream)
        num_consecutive = 0
        while num_consecutive < MAX_CONSECUTIVE_ERRORS:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError:
                self.num_unreadable += 1
                num_consecutive += 1
            else:
                num_consecutive = 0
                if packet.size:
                    yield packet

    def decode(self, packet: Any) -> list[Any]:
        """Return the frames that a packet completes; None flushes the decoder."""
        import av

        try:
            return self.count(self.stream.decode(packet))
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self.num_unreadable += 1
            return []

    def decoded_packets(self) -> Iterator[list[Any] | None]:
        """Yield the frames that each packet completes, None for an unreadable packet."""
        import av

        packets = self.container.demux(self.stream)
        self.sent, self.first_sent, found = [], [], False
        while True:
            try:
                packet = next(packets)
                self._note(packet, first=not found)
                frames = packet.decode()
                found = found or bool(frames)
                yield frames
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError:
                self.num_unreadable += 1
                yield None

    def _note(self, packet: Any, first: bool) -> None:
        """Keep the times of a packet."""
        if not packet.size:
            return
        if first and len(self.first_sent) < MAX_FIRST:
            times = PacketTimes(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard)
            self.first_sent.append(times)
        ticks = packet.pts if packet.dts is None else packet.dts
        if ticks is not None:
            heapq.heappush(self.sent, ticks)

    def to_rgb(self, frame: Any) -> np.ndarray:
        """Return a frame as (H, W, 3) uint8 RGB as players show it, at the size of the first frame.

        It is upright, with square pixels, without interlacing, and in the range of standard displays.

        Raises:
            MediaError: the frame cannot be shown.
        """
        matrix = self.matrix(frame)
        if self.size is None:
            self.size = self._output_size(frame)
        frame = to_sdr_progressive(self.as_in_software(frame), self.graphs)
        rgb = self._scaled(frame) if self.short_side or self.long_side else self._unscaled(frame)
        return orient(rgb, matrix)

    def as_in_software(self, frame: Any) -> Any:
        """Return a frame with the same values in the format in which software decodes it, without side data.

        A GPU interleaves the two chroma planes; swscale converts that format to RGB in another way.
        """
        if not self.is_on_gpu or frame.format.name not in FROM_GPU:
            return frame
        name = FROM_GPU[frame.format.name]
        if name == "yuv420p" and frame.color_range == FULL_RANGE and self.stream.codec_context.name != "vp9":
            name = "yuvj420p"  # FFmpeg has formats of their own for H.264 and H.265 in full range
        return frame.reformat(format=name)

    def matrix(self, frame: Any) -> Matrix:
        """Return the display matrix of a frame; see `display_matrix`."""
        if frame.rotation not in self.matrices:
            self.matrices[frame.rotation] = display_matrix(frame)
        return self.matrices[frame.rotation]

    def shown_size(self, frame: Any) -> tuple[int, int]:
        """Return (width, height) of a frame as `to_rgb` returns it, without converting it."""
        width, height = self._output_size(frame)
        return (height, width) if self.matrix(frame)[0][1] else (width, height)

    def _unscaled(self, frame: Any) -> np.ndarray:
        return frame.to_ndarray(format="rgb24", width=self.size[0], height=self.size[1])

    def _scaled(self, frame: Any) -> np.ndarray:
        from av.video.reformatter import VideoReformatter

        self.scaler = self.scaler or VideoReformatter()  # created once: creating it takes as long as scaling a frame
        width, height = self.size
        scaled = self.scaler.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)
        return scaled.to_ndarray()

    def _output_size(self, frame: Any) -> tuple[int, int]:
        """Return (width, height) of a frame with square pixels, before it is rotated."""
        width, height = round(frame.width * Fraction(self.stream.sample_aspect_ratio or 1)), frame.height
        short, long = sorted((width, height))
        if not 0 < short * long <= MAX_PIXELS:
            raise MediaError("open_failed", f"with square pixels, its frames are of {width}x{height} pixels")
        if not (self.short_side or self.long_side):
            return width, height
        scale = min(1, max((self.short_side or 0) / short, (self.long_side or 0) / long))
        return max(1, round(width * scale)), max(1, round(height * scale))

    def raise_on_damage(self, *, whole: bool) -> None:
        """Raise `MediaError` for missing or damaged frames; `whole` is true if the video was read to its end."""
        end_s = float(self.end_s)
        ends_early = end_s < MIN_SHARE_OF_DURATION * self.claimed_s and self.claimed_s - end_s > 0.1
        if whole and ends_early and not self.gave_up:
            raise MediaError("truncated", self._missing_part(end_s))
        if whole and not self.num_good + self.num_damaged:
            starts_late = self.first_sent and not self.first_sent[0].is_keyframe
            start = "; the stream starts without a key frame" if starts_late else ""
            raise MediaError("decode_errors", f"not one frame could be decoded{start}")
        if self.num_damaged or self.num_unreadable:
            damage = f"{self.num_damaged} damaged frames and {self.num_unreadable} unreadable packets"
            raise MediaError("decode_errors", f"{damage}, with {self.num_good} good frames")

    def _missing_part(self, end_s: float) -> str:
        """Return what is missing: the start of the stream, or its end."""
        if self.missing_s:
            missing = f"its first {float(self.missing_s):.2f} s cannot be decoded"
            return f"the stream starts without a key frame; {missing}"
        return f"the frames end at {end_s:.2f} s of {self.claimed_s:.2f} s"
