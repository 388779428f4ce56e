"""People as patches of one colour each, and a landmarker that detects them: tests of the tracker without a model."""

import cv2
import numpy as np

from exprbench.faces.landmarker import Face, square

SIZE = (320, 180)
GROUND = (128, 128, 128)
COLOURS = {"red": (190, 110, 100), "green": (100, 170, 110), "blue": (100, 110, 190), "yellow": (190, 180, 100)}
SIDE = 40


def scene(size=SIZE, **places):
    """A frame with people: `red=(x, y)` or `red=(x, y, side)`, the centre in pixels; None for an absent person."""
    frame = np.full((size[1], size[0], 3), GROUND, np.uint8)
    for name, place in places.items():
        if place is not None:
            x, y, side = (*place, SIDE)[:3]
            low = [round(max(0, v - side / 2)) for v in (x, y)]
            frame[low[1] : round(y + side / 2), low[0] : round(x + side / 2)] = COLOURS[name]
    return frame


def cloud(seed):
    """A frame of smooth colours from 30 to 150 that a seed determines, to be seen under several exposures."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(40, 120, (12, 20, 1)) + rng.integers(-25, 25, 3) + rng.normal(0, 4, (12, 20, 3))
    return cv2.resize(grid.astype(np.float32), SIZE, interpolation=cv2.INTER_CUBIC).clip(30, 150).astype(np.uint8)


def patches(frame):
    """(x0, y0, x1, y1) of every colour's patch that does not touch the border."""
    found = []
    for colour in COLOURS.values():
        ys, xs = np.nonzero((frame == colour).all(-1))
        if len(xs):
            box = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
            if box[0] > 0 and box[1] > 0 and box[2] < frame.shape[1] and box[3] < frame.shape[0]:
                found.append(tuple(map(float, box)))
    return found


class PatchLandmarker:
    """Landmarker that detects complete patches and counts its calls."""

    follows_regions = False

    def __init__(self):
        self.searches, self.detections = 0, 0

    def search(self, frame):
        self.searches += 1
        return patches(frame)

    def detect(self, frame, centre, side):
        self.detections += 1
        crop, origin = square(frame, centre, side)
        return [] if crop is None else [_face(np.array(box) + (*origin, *origin)) for box in patches(crop)]

    def read_blendshapes(self, faces):
        """Faces of patches have them already."""


def _face(box):
    shape = np.random.default_rng(0).uniform(size=(478, 3))
    shape[0, :2], shape[1, :2], shape[33, :2], shape[263, :2] = (0, 0), (1, 1), (0.3, 0.4), (0.7, 0.4)
    points = shape * (box[2] - box[0], box[3] - box[1], box[2] - box[0]) + (box[0], box[1], 0)
    return Face(points, np.linspace(0, 1, 52), np.diag([1.0, 1, 1, 1]))


class FollowingLandmarker(PatchLandmarker):
    """Landmarker that also finds a patch within its own size of where another frame shows it."""

    follows_regions = True

    def __init__(self):
        super().__init__()
        self.batches = []

    def follow(self, expected):
        self.batches.append(len(expected))
        return [self._near(frame, face) for frame, face in expected]

    def _near(self, frame, face):
        found = [_face(np.array(box)) for box in patches(frame)]
        return next((f for f in found if np.abs(f.centre - face.centre).max() < face.side), None)
