"""Model folder, inputs and motion without files, for tests of the pipeline."""

from types import SimpleNamespace

import numpy as np

from fantasyportrait.expression.driver import FaceMotion
from fantasyportrait.inputs import Inputs
from fantasyportrait.portrait import CropResize


class Folder:
    """A model folder of parts that are not there."""

    name = "model sha256:12"
    manifest = {"expression": {"sha256": "hash of the encoder"}}  # noqa: RUF012

    def __init__(self, path):
        self.path = path
        backbone = SimpleNamespace(num_attention_heads=2)
        self.base = SimpleNamespace(backbone=backbone, tokenizer="a tokenizer", files=self.files)
        self.asked = []

    def files(self, model):
        self.asked.append(model)


def inputs(tmp_path, num_frames=9, **changes):
    """Two people in a picture of 96 x 64, driven by the second face of driver 1 and the first of driver 2."""
    given = {
        "portrait": tmp_path / "p.png",
        "drivers": (tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "c.mp4"),
        "image": np.zeros((64, 96, 3), np.uint8),
        "transform": CropResize((0, 0, 96, 64), (96, 64), (90, 60)),
        "boxes": np.array([[0.0, 0, 30, 40], [50, 0, 80, 40]]),
        "assignment": ((1, 1), None, (2, 0)),
        "driver_faces": {1: [], 2: []},
        "fps": 12.5,
        "num_frames": num_frames,
    }
    return Inputs(**{**given, **changes})


def motion(value, num_frames=9, filled=0):
    features = value + np.arange(num_frames, dtype=np.float32)[:, None] / 100
    return FaceMotion(features=np.tile(features, 554), boxes=np.zeros((num_frames, 4)), num_filled=filled)
