"""Sharpness scorer: the variance of the Laplacian, and brightness.

The variance depends on the size of the image, so frames are resized to a fixed short side first (and face crops, in
`motion`, to a fixed side). The score is a low percentile over frames: the sharpness that most frames reach.
"""

from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from multiexpr.recipe import ScoreSharpness
from multiexpr.scorers.base import Frames, Row, evenly_spaced, rounded

VERSION = "sharpness-1"


class SharpnessScorer:
    """Scorer of the sharpness and brightness of whole frames."""

    name = "sharpness"
    costly = False
    columns = [("sharpness", pa.float64()), ("luma", pa.float64())]  # noqa: RUF012

    def __init__(self, params: ScoreSharpness) -> None:
        self.params = params

    def fingerprint(self) -> Row:  # noqa: D102
        return {"version": VERSION, **asdict(self.params), "face_side": None}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        times = evenly_spaced(facts["length_s"], self.params.num_frames)
        return Frames(times_s=times, short_side=self.params.short_side)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.params)


class _Measurement:
    """Measurement that buffers frames and computes in `compute`: most clips are dropped before."""

    def __init__(self, params: ScoreSharpness) -> None:
        self.params = params
        self.frames: list[np.ndarray] = []

    def update(self, frame: np.ndarray, time_s: float) -> None:
        self.frames.append(frame)

    def compute(self) -> Row:
        grays = [cv2.cvtColor(resize_short_side(f, self.params.short_side), cv2.COLOR_RGB2GRAY) for f in self.frames]
        sharpness = np.percentile([laplacian_variance(gray) for gray in grays], self.params.percentile)
        return {"sharpness": rounded(sharpness), "luma": rounded(np.median([gray.mean() for gray in grays]) / 255)}


def laplacian_variance(gray: np.ndarray) -> float:
    """Return the variance of the Laplacian (kernel 0 1 0, 1 -4 1, 0 1 0) of an (H, W) uint8 image."""
    return float(cv2.Laplacian(gray, cv2.CV_32F).var(dtype=np.float64))


def resize_short_side(frame: np.ndarray, side: int) -> np.ndarray:
    """Return the frame resized to a short side of `side` pixels, larger or smaller."""
    scale = side / min(frame.shape[:2])
    if scale == 1:
        return frame
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
