"""Sharpness scorer: effective size in pixels, the variance of the Laplacian, and brightness, without letterbox bars.

The variance of the Laplacian, the paper's measure, is stored but decides nothing: grain and sharpening raise it. The
effective size is the size of a sharp picture with as much detail; see `multiexpr.scorers.edges`. Frames are resized to
a fixed short side first (and face crops, in `motion`, to a fixed side). Scores are a low percentile over frames: the
sharpness that most frames reach.
"""

from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from multiexpr.recipe import ScoreSharpness
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, evenly_spaced, rounded
from multiexpr.scorers.edges import sharpest_side, without_impulses
from multiexpr.scorers.frame_damage import without_bars

VERSION = "sharpness-4"


class SharpnessScorer:
    """Scorer of the sharpness and brightness of whole frames."""

    name = "sharpness"
    costly = False
    columns = [(name, pa.float64()) for name in ("effective_px", "sharpness", "luma", "contrast")]  # noqa: RUF012

    def __init__(self, params: ScoreSharpness) -> None:
        self.params = params

    def fingerprint(self) -> Row:  # noqa: D102
        return {"version": VERSION, **asdict(self.params), "face_side": None}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        times = evenly_spaced(facts["length_s"], self.params.num_frames)
        return Frames(times_s=times, short_side=self.params.short_side)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.params)


class _Measurement(BufferedMeasurement):
    def __init__(self, params: ScoreSharpness) -> None:
        super().__init__()
        self.params = params

    def compute(self) -> Row:
        side, percentile = self.params.short_side, self.params.percentile
        frames = [without_impulses(frame) for frame in without_bars(self.frames)]
        grays = [cv2.cvtColor(resize_short_side(frame, side), cv2.COLOR_RGB2GRAY) for frame in frames]
        return {
            "effective_px": rounded(np.percentile([sharpest_side(gray) for gray in grays], percentile)),
            "sharpness": rounded(np.percentile([laplacian_variance(gray) for gray in grays], percentile)),
            "luma": rounded(np.median([gray.mean() for gray in grays]) / 255),
            "contrast": rounded(np.median([np.ptp(np.percentile(gray[::4, ::4], (1, 99))) for gray in grays]) / 255),
        }


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
