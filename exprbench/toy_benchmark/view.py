"""Geometry of one face in one frame, in pixels of the canvas."""

from dataclasses import dataclass

import numpy as np

from exprbench.toy_benchmark.blendshapes import indices
from exprbench.toy_benchmark.cast import Character
from exprbench.toy_benchmark.head import PIVOT


@dataclass(frozen=True, kw_only=True)
class View:
    """Geometry of one face in one frame.

    Attributes:
        character: appearance of the person.
        points: (478, 2) landmarks in pixels of the canvas.
        rotation: (3, 3) head to camera.
        blendshapes: (52,) in [0, 1].
        centre: (2,) pixel of the head's pivot.
        body: (2,) pixel of the head's pivot at rest, moved with the sway of the body.
        unit: pixels per centimetre.
        hidden: whether a book covers the face.
    """

    character: Character
    points: np.ndarray
    rotation: np.ndarray
    blendshapes: np.ndarray
    centre: np.ndarray
    body: np.ndarray
    unit: float
    hidden: bool = False

    def at(self, *landmarks: int) -> np.ndarray:
        """Return pixels (n, 2) of landmarks."""
        return self.points[list(landmarks)]

    def place(self, points: np.ndarray) -> np.ndarray:
        """Return pixels (n, 2) of points (n, 3) in the head's frame."""
        return self.project((np.asarray(points) - PIVOT) @ self.rotation.T)

    def project(self, camera: np.ndarray) -> np.ndarray:
        """Return pixels (n, 2) of points (n, 3) in the camera's frame, in centimetres from the pivot."""
        return self.centre + self.unit * camera[..., :2] * (1, -1)

    def stand(self, points: np.ndarray) -> np.ndarray:
        """Return pixels (n, 2) of points (n, 2) of the body, in centimetres from the pivot at rest (x right, y up)."""
        return self.body + self.unit * np.asarray(points) * (1, -1)

    def hang(self, points: np.ndarray, share: np.ndarray | float) -> np.ndarray:
        """Return pixels (n, 2) of points (n, 3) in the head's frame that move with the body by a share (n,)."""
        share = np.broadcast_to(share, len(points))[:, None]
        return (1 - share) * self.place(points) + share * self.stand((np.asarray(points) - PIVOT)[:, :2])

    def value(self, name: str) -> float:
        """Return the value of a blendshape, the mean of both sides for a name without Left or Right."""
        return float(np.clip(self.blendshapes[list(indices(name))].mean(), 0, 1))
