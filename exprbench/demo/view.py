"""One face in one frame, ready to be drawn."""

from dataclasses import dataclass

import numpy as np

from exprbench.demo.blendshapes import places
from exprbench.demo.cast import Character
from exprbench.demo.head import PIVOT


@dataclass(frozen=True, kw_only=True)
class View:
    """Where everything of one face lies on the canvas.

    Shapes:
        points: (478, 2) landmarks in pixels of the canvas.
        rotation: (3, 3) head to camera.
        blendshapes: (52,).
        centre: (2,) pixel of the head's pivot, `body` that of the pivot of somebody who does not sway.
        unit: pixels of a centimetre.
        hidden: is the face behind a book?
    """

    character: Character
    points: np.ndarray
    rotation: np.ndarray
    blendshapes: np.ndarray
    centre: np.ndarray
    body: np.ndarray
    unit: float
    hidden: bool = False

    def at(self, *indices: int) -> np.ndarray:
        """(n, 2) pixels of landmarks."""
        return self.points[list(indices)]

    def place(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) pixels of points (n, 3) that are fixed to the head, in its frame."""
        return self.project((np.asarray(points) - PIVOT) @ self.rotation.T)

    def project(self, camera: np.ndarray) -> np.ndarray:
        """(n, 2) pixels of points (n, 3) in centimetres from the pivot in the camera's frame."""
        return self.centre + self.unit * camera[..., :2] * (1, -1)

    def stand(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) pixels of points (n, 2) of the body, in centimetres from the pivot at rest, x right and y up."""
        return self.body + self.unit * np.asarray(points) * (1, -1)

    def hang(self, points: np.ndarray, share: np.ndarray | float) -> np.ndarray:
        """(n, 2) pixels of points (n, 3) in the head's frame of which a share (n,) hangs down to the body."""
        share = np.broadcast_to(share, len(points))[:, None]
        return (1 - share) * self.place(points) + share * self.stand((np.asarray(points) - PIVOT)[:, :2])

    def value(self, name: str) -> float:
        """A blendshape, the mean of both sides for a name without its side."""
        return float(np.clip(self.blendshapes[list(places(name))].mean(), 0, 1))
