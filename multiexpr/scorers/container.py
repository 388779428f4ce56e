"""Container scorer: size, rates, duration and codec of a clip, from its container and one decoded frame."""

from dataclasses import asdict

import pyarrow as pa

from exprbench.media import VideoSource, probe
from multiexpr.scorers.base import Row, rounded

NAME = "container"
VERSION = "container-1"

COLUMNS: list[tuple[str, pa.DataType]] = [
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("fps", pa.float64()),
    ("num_frames", pa.int64()),
    ("length_s", pa.float64()),
    ("num_keyframes", pa.int32()),
    ("constant_rate", pa.bool_()),
    ("container", pa.string()),
    ("codec", pa.string()),
    ("pixel_format", pa.string()),
    ("rotation_deg", pa.int32()),
    ("square_pixels", pa.bool_()),
    ("has_audio", pa.bool_()),
]


def fingerprint() -> Row:
    """Return everything the columns depend on; there are no parameters."""
    return {"version": VERSION}


def measure(video: VideoSource) -> Row:
    """Return the columns of a clip.

    Raises:
        MediaError: the clip cannot be read.
    """
    facts = asdict(probe(video))
    return {**facts, "length_s": rounded(facts.pop("duration_s")), "fps": rounded(facts["fps"])}
