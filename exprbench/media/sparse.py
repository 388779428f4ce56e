"""Reading a few frames of a clip, or one of its spans, without decoding the rest; and what a container tells."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from exprbench.media.clip import STALL_S, Clip, Decoding, _Decoder
from exprbench.media.decoder import DONE
from exprbench.media.errors import MediaError
from exprbench.media.video import VideoSource


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What a span of a video is, as counted in its packets and seen in one decoded frame (`width` and `height` upright,
    pixels square). Of more than ten minutes it is the header's word, and `num_keyframes` is 0.

    `constant_rate`: no pause between two frames differs from the mean by more than 2 ms.
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
    """Open a video for reading, for each of the times, the frame that starts nearest to it.

    Args:
        video: a file, or what a `VideoSource` tells of.
        times_s: seconds from the start of the span, ascending; of two frames equally near, the earlier is taken. A
            constant rate is `[k / fps for k in ...]`: the frames `open_clip` gives.
        short_side: with `long_side`, scales in the decoder: frames come in the smallest size whose sides are at least
            this long, never larger than they are.
        long_side: see `short_side`.
        stall_s: as for `open_clip`.

    Raises:
        MediaError: with one of the codes in `exprbench.media.errors`; too_short where no frame lies in the span.
    """
    if not times_s or any(b < a for a, b in pairwise(times_s)):
        raise ValueError("times_s must hold at least one time, and be ascending")
    sides = [short_side, long_side]
    return Decoding({"task": "pick", "video": _request(video), "times_s": list(times_s), "sides": sides}, stall_s)


def probe(video: VideoSource | Path | str, *, stall_s: float = STALL_S) -> VideoFacts:
    """What a video is, at the cost of reading it and decoding one frame.

    Raises:
        MediaError: as for `open_frames`.
    """
    decoder = _Decoder.take()
    try:
        decoder.ask({"task": "probe", "video": _request(video)})
        kind, _, body = decoder.receive(stall_s)
    except BaseException:
        decoder.kill()
        raise
    decoder.give_back()
    if kind != DONE:
        raise MediaError(*json.loads(body))
    return VideoFacts(**json.loads(body))


def _request(video: VideoSource | Path | str) -> dict[str, Any]:
    video = video if isinstance(video, VideoSource) else VideoSource(path=str(video))
    num_bytes = video.num_bytes
    if not num_bytes:
        raise MediaError("zero_bytes")
    path = str(Path(video.path).absolute()) if video.path else ""
    pieces = [[str(Path(p.path).absolute()), p.offset, p.num_bytes] for p in video.pieces]
    return {**asdict(video), "path": path, "pieces": pieces, "num_bytes": num_bytes}
