"""Squares around faces, and crops of pictures."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exprbench.core.errors import ItemError
from exprbench.faces import FaceTrack

FACE_SCALE = 2.2  # side of the square over the median side of the face
MOTION_MARGIN = 1.3  # side of the square over the extent of all positions of the face
TOLERANCE = 0.1  # part of a face, over its side, that may be outside its square
MIN_SCALE = 1.15  # below it, a square does not show the whole face


@dataclass(frozen=True, kw_only=True)
class Rect:
    """A rectangle of whole pixels: upper left corner and size."""

    x: int
    y: int
    width: int
    height: int

    def crop(self, frame: np.ndarray) -> np.ndarray:
        """Return this part of an (H, W, 3) frame."""
        return frame[self.y : self.y + self.height, self.x : self.x + self.width]


def whole(width: int, height: int) -> Rect:
    """Return the rectangle of a whole picture, without a last odd row or column, which H.264 cannot store."""
    return Rect(x=0, y=0, width=width & ~1, height=height & ~1)


def face_squares(tracks: Sequence[FaceTrack], width: int, height: int) -> list[Rect]:
    """Return a square around each face through a whole video, in the order of the tracks, left to right.

    Squares are inside the picture, and do not overlap: each stays between the midpoints to its neighbours.

    Raises:
        ItemError: `faces_overlap`, if a square cannot show its whole face.
    """
    extents = [_extent(track, width, height) for track in tracks]
    centres = [(low[0] + high[0]) / 2 for low, high, _ in extents]
    midpoints = [0.0, *((a + b) / 2 for a, b in itertools.pairwise(centres)), float(width)]
    spans = list(itertools.pairwise(midpoints))
    return [_square(extent, span, height) for extent, span in zip(extents, spans, strict=True)]


def _extent(track: FaceTrack, width: int, height: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the corners of the visible union of a face's boxes, and the median of their longer sides, in pixels."""
    boxes = track.box[track.seen].astype(np.float64) * [width, height, width, height]
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    low, high = np.maximum(boxes[:, :2].min(0), 0), np.minimum(boxes[:, 2:].max(0), [width, height])
    return low, high, float(np.median(sides))


def _square(extent: tuple[np.ndarray, np.ndarray, float], span: tuple[float, float], height: int) -> Rect:
    low, high, face_side = extent
    left, right = int(np.ceil(span[0])), int(span[1])
    wanted = max(FACE_SCALE * face_side, MOTION_MARGIN * float((high - low).max()))
    side = int(min(wanted, right - left, height)) & ~1
    if side < MIN_SCALE * face_side:
        raise ItemError("faces_overlap", f"a face of {face_side:.0f} pixels has room for a square of only {side}")
    centre = (low + high) / 2
    x = int(np.clip(round(centre[0] - side / 2), left, right - side))
    y = int(np.clip(round(centre[1] - side / 2), 0, height - side))
    margin = TOLERANCE * face_side
    if x > low[0] + margin or x + side < high[0] - margin:
        raise ItemError("faces_overlap", "two faces are so close that no straight line separates them")
    return Rect(x=x, y=y, width=side, height=side)
