"""People scorer: a YOLO detector, through ultralytics, on a few frames spread over the clip."""

from dataclasses import asdict

import numpy as np
import pyarrow as pa

from exprbench.core.files import sha256_path
from multiexpr.models.detector import Models, find_people_model
from multiexpr.recipe import ScorePeople
from multiexpr.scorers.base import Frames, Row, evenly_spaced, rounded_all

VERSION = "people-1"


class PeopleScorer:
    """Scorer of people: boxes and confidences of the people in each frame; the recipe sets which of them count."""

    name = "people"
    costly = False
    columns = [  # noqa: RUF012
        ("people_counts", pa.list_(pa.int32())),
        ("people_frame", pa.list_(pa.int32())),
        ("people_box", pa.list_(pa.float64())),
        ("people_confidence", pa.list_(pa.float64())),
    ]

    def __init__(self, params: ScorePeople, models: Models) -> None:
        self.params = params
        self.models = models

    def fingerprint(self) -> Row:  # noqa: D102
        model = sha256_path(find_people_model(self.params.model))
        return {"version": VERSION, **asdict(self.params), "model": model}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(
            times_s=evenly_spaced(facts["length_s"], self.params.num_frames), long_side=self.params.image_size
        )

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.models)


class _Measurement:
    def __init__(self, models: Models) -> None:
        self.models = models
        self.frames: list[np.ndarray] = []

    def update(self, frame: np.ndarray, time_s: float) -> None:
        self.frames.append(frame)

    def compute(self) -> Row:
        detections = self.models.people(self.frames)
        boxes = np.concatenate(detections) if detections else np.zeros((0, 5))
        return {
            "people_counts": [len(people) for people in detections],
            "people_frame": [i for i, people in enumerate(detections) for _ in people],
            "people_box": rounded_all(boxes[:, :4]),
            "people_confidence": rounded_all(boxes[:, 4]),
        }
