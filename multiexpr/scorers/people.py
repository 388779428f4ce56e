"""People scorer: a YOLO detector on a few frames spread over the clip.

Letterbox bars are left out, so that people are measured by the picture. If the middle frame is noisy or blocky, all are
smoothed first: the detector is trained on clean photographs and finds few people in such frames. People that it misses
nevertheless are found by their faces.
"""

from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from exprbench import weights
from exprbench.core.files import sha256_path
from exprbench.face_engine import choose_engine
from multiexpr.models.detector import Models, find_people_model
from multiexpr.recipe import KeepDamage, ScorePeople
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, evenly_spaced, rounded_all
from multiexpr.scorers.frame_damage import blockiness, content_box, crop, noise_sd
from multiexpr.scorers.missed_people import missed_people

VERSION = "people-6"
DAMAGED = KeepDamage()  # frames beyond these limits are smoothed


class PeopleScorer:
    """Scorer of people: boxes and confidences of the people in each frame; the recipe sets which of them count."""

    name = "people"
    costly = False
    columns = [  # noqa: RUF012
        ("people_counts", pa.list_(pa.int32())),
        ("people_frame", pa.list_(pa.int32())),
        ("people_box", pa.list_(pa.float64())),
        ("people_height", pa.list_(pa.float64())),
        ("people_confidence", pa.list_(pa.float64())),
        ("people_by_face", pa.list_(pa.bool_())),
    ]

    def __init__(self, params: ScorePeople, models: Models) -> None:
        self.params = params
        self.models = models

    def fingerprint(self) -> Row:  # noqa: D102
        models = {
            "model": sha256_path(find_people_model(self.params.model)),
            "face_model": sha256_path(weights.require("face_landmarker")),
            "face_engine": choose_engine(self.models.recipe.score.motion.engine),
        }
        return {"version": VERSION, **asdict(self.params), **models}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(
            times_s=evenly_spaced(facts["length_s"], self.params.num_frames), long_side=self.params.image_size
        )

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.models)


class _Measurement(BufferedMeasurement):
    def __init__(self, models: Models) -> None:
        super().__init__()
        self.models = models

    def compute(self) -> Row:
        box = content_box(self.frames) if self.frames else (0, 0, 0, 0)
        pictures = [crop(frame, box) for frame in self.frames]
        if pictures and is_damaged(pictures[len(pictures) // 2]):
            pictures = [smoothed(picture) for picture in pictures]
        by_body = self.models.people(pictures)
        by_face = missed_people(pictures, by_body, self.models)
        people = [np.concatenate(pair) for pair in zip(by_body, by_face, strict=True)]
        found = np.concatenate(people) if people else np.zeros((0, 5))
        boxes = _in_frame(found[:, :4], box, self.frames[0].shape if self.frames else (1, 1))
        return {
            "people_counts": [len(both) for both in people],
            "people_frame": [i for i, both in enumerate(people) for _ in both],
            "people_box": rounded_all(boxes),
            "people_height": rounded_all(found[:, 3] - found[:, 1]),
            "people_confidence": rounded_all(found[:, 4]),
            "people_by_face": [
                i >= len(body) for body, both in zip(by_body, people, strict=True) for i in range(len(both))
            ],
        }


def is_damaged(frame: np.ndarray) -> bool:
    """Return whether an (H, W, 3) uint8 frame is noisy or blocky."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return noise_sd(gray) > DAMAGED.max_noise or blockiness(gray) > DAMAGED.max_blockiness


def smoothed(frame: np.ndarray) -> np.ndarray:
    """Return an (H, W, 3) uint8 frame blurred with a Gaussian whose width is 1/200 of its long side."""
    return cv2.GaussianBlur(frame, (0, 0), max(frame.shape[:2]) / 200)


def _in_frame(boxes: np.ndarray, content: tuple[int, int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Return boxes (n, 4) in [0, 1] of the content as shares of the frame of this shape."""
    left, top, right, bottom = content
    scale, offset = np.array([right - left, bottom - top]), np.array([left, top])
    return boxes * np.tile(scale, 2) / np.tile(shape[1::-1], 2) + np.tile(offset, 2) / np.tile(shape[1::-1], 2)
