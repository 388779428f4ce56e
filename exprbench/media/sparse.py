"""Read single frames or a span of a video without decoding the rest, and probe its properties."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from exprbench.core.processes import MAX_KILLS
from exprbench.media.clip import STALL_S, Clip, DecodedClip, DecoderKilled, DecoderProcess
from exprbench.media.decoder import DONE
from exprbench.media.errors import MediaError
from exprbench.media.video import VideoSource


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """Properties of a span of a video, from its packets and one decoded frame.

    For videos longer than ten minutes they are those of the header, and `num_keyframes` is 0.

    Attributes:
        width, height: size in pixels of an upright frame with square pixels.
        shown_as_decoded: whether frames are neither rotated, mirrored, interlaced nor HDR.
        constant_rate: whether all intervals between frames are within 2 ms of the mean.
    """

    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    num_keyframes: int
    constant_rate: bool
    container: str
    codec: str
    pixel_format: str
    rotation_deg: int
    shown_as_decoded: bool
    square_pixels: bool
    has_audio: bool


def open_frames(
    video: VideoSource | Path | str,
    times_s: Sequence[float],
    *,
    short_side: int | None = None,
    long_side: int | None = None,
    stall_s: float = STALL_S,
) -> Clip:
    """Open a video for reading the frames whose starts are nearest to given times.

    Args:
        video: a file, or a `VideoSource`.
        times_s: seconds from the start of the span, ascending; the earlier of two equally near frames is read. The
            times `[k / fps for k in ...]` give the frames of `open_clip`.
        short_side: with `long_side`, scales frames in the decoder to the smallest size whose sides are at least this
            long, at most to their original size.
        long_side: see `short_side`.
        stall_s: as for `open_clip`.

    Raises:
        MediaError: with one of the codes in `exprbench.media.errors`; `too_short` if the span contains no frame.
    """
    if not times_s or any(b < a for a, b in pairwise(times_s)):
        raise ValueError("times_s must contain at least one time, and be ascending")
    sides = [short_side, long_side]
    return DecodedClip({"task": "pick", "video": _request(video), "times_s": list(times_s), "sides": sides}, stall_s)


def probe(video: VideoSource | Path | str, *, stall_s: float = STALL_S) -> VideoFacts:
    """Return the properties of a video, reading all of it but decoding only one frame.

    Raises:
        MediaError: as for `open_frames`.
    """
    request = {"task": "probe", "video": _request(video)}
    for attempt in range(1, MAX_KILLS + 1):
        try:
            kind, body = _ask(request, stall_s)
            break
        except DecoderKilled as error:
            if attempt == MAX_KILLS:
                raise error.too_many(attempt) from error
    if kind != DONE:
        raise MediaError(*json.loads(body))
    return VideoFacts(**json.loads(body))


def _ask(request: dict[str, Any], stall_s: float) -> tuple[bytes, bytearray]:
    """Return the only message of a response, as (kind, body)."""
    decoder = DecoderProcess.acquire()
    try:
        decoder.send(request)
        kind, _, body = decoder.receive(stall_s)
    except BaseException:
        decoder.kill()
        raise
    decoder.make_idle()
    return kind, body


def _request(video: VideoSource | Path | str) -> dict[str, Any]:
    video = video if isinstance(video, VideoSource) else VideoSource(path=str(video))
    num_bytes = video.num_bytes
    if not num_bytes:
        raise MediaError("zero_bytes")
    path = str(Path(video.path).absolute()) if video.path else ""
    pieces = [[str(Path(p.path).absolute()), p.offset, p.num_bytes] for p in video.pieces]
    return {**asdict(video), "path": path, "pieces": pieces, "num_bytes": num_bytes}
