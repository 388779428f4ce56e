"""MediaPipe's three face networks, in batches: detector, landmarks and blendshapes.

A function of an engine runs them (`Run`); the steps before and after are the same in all engines.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

DETECTOR, LANDMARKS, BLENDSHAPES = "face_detector", "face_landmarks_detector", "face_blendshapes"
DETECTOR_SIDE, LANDMARK_SIDE = 128, 256  # of the inputs in pixels
# Numbers of the landmarks that the blendshape network takes; MediaPipe has them in its code, not in the file.
BLENDSHAPE_POINTS = (
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80),
    *(81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153),
    *(154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249),
    *(251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314),
    *(317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382),
    *(384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466),
    *range(468, 478),
)
RANGES = {DETECTOR: (-1.0, 1.0), LANDMARKS: (0.0, 1.0)}  # of the pixels' values

# From the name of a network and a batch of N to its outputs, float32 with the values of the first of the N, then of the
# second, and so on. Pictures are uint8 RGB, points float32.
Run = Callable[[str, np.ndarray], list[np.ndarray]]


class FaceNetworks:
    """The three networks.

    Args:
        run: function of an engine that runs a network on a batch.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def detect(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return regressors (N, 896, 16) and logits (N, 896) of pictures (N, 128, 128, 3) uint8 RGB."""
        regressors, logits = self.run(DETECTOR, pictures)
        return regressors.reshape(-1, 896, 16), logits.reshape(-1, 896)

    def landmarks(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return landmarks (N, 478, 3) in [0, 1] of pictures (N, 256, 256, 3) uint8 RGB, and presences (N,)."""
        points, logits, _ = self.run(LANDMARKS, pictures)
        return points.reshape(-1, 478, 3) / LANDMARK_SIDE, 1 / (1 + np.exp(-logits.reshape(-1)))

    def blendshapes(self, points: np.ndarray) -> np.ndarray:
        """Return blendshapes (N, 52) of points (N, 146, 2) in pixels."""
        return self.run(BLENDSHAPES, points.astype(np.float32))[0].reshape(-1, 52)


def read_network(model: Path, name: str) -> bytes:
    """Return the .tflite file of a network in `face_landmarker.task`, which is a zip."""
    with zipfile.ZipFile(model) as task:
        return task.read(f"{name}.tflite")
