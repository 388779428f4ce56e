"""LAION scorer: the LAION aesthetic predictor (v2) on CLIP ViT-L/14, on square crops that cover the frame.

CLIP's input is a square. The usual centre crop discards 44 % of the width of a 16:9 frame, often with a person in it.
Here, evenly spaced squares cover the whole frame, and the score is their mean.
"""

import cv2
import numpy as np
import pyarrow as pa

from exprbench import weights
from exprbench.core.files import sha256_path
from multiexpr.models.detector import Models
from multiexpr.models.laion_network import SIDE, find_clip_model
from multiexpr.recipe import ScoreAesthetics
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, evenly_spaced, rounded
from multiexpr.scorers.frame_damage import without_bars

VERSION = "laion-2"


class LaionScorer:
    """Scorer of aesthetics: mean LAION score of all crops (`laion`), and of the worst frame (`laion_min`)."""

    name = "laion"
    costly = False
    columns = [("laion", pa.float64()), ("laion_min", pa.float64())]  # noqa: RUF012

    def __init__(self, params: ScoreAesthetics, models: Models) -> None:
        self.params = params
        self.models = models

    def fingerprint(self) -> Row:  # noqa: D102
        head = sha256_path(weights.require("laion_aesthetic"))
        clip = sha256_path(find_clip_model(self.params.clip) / "config.json")
        return {"version": VERSION, "num_frames": self.params.num_frames, "head": head, "clip": clip}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=evenly_spaced(facts["length_s"], self.params.num_frames), short_side=SIDE)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.models)


class _Measurement(BufferedMeasurement):
    def __init__(self, models: Models) -> None:
        super().__init__()
        self.models = models

    def compute(self) -> Row:
        crops = [square_crops(frame) for frame in without_bars(self.frames)]
        scores = self.models.aesthetics(np.concatenate(crops))
        ends = np.cumsum([len(parts) for parts in crops])[:-1]
        frame_scores = [part.mean() for part in np.split(scores, ends)]
        return {"laion": rounded(np.mean(frame_scores)), "laion_min": rounded(min(frame_scores))}


def square_crops(frame: np.ndarray) -> np.ndarray:
    """Return (n, 224, 224, 3) square crops that cover a frame: evenly spaced along its long side, then resized."""
    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    count = -(-long // short)
    starts = [round(i * (long - short) / max(1, count - 1)) for i in range(count)]
    crops = (frame[:, s : s + short] if width > height else frame[s : s + short] for s in starts)
    interpolation = cv2.INTER_AREA if short > SIDE else cv2.INTER_CUBIC
    return np.stack([cv2.resize(crop, (SIDE, SIDE), interpolation=interpolation) for crop in crops])
