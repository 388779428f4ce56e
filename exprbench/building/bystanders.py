"""Distinguish the people of a portrait from bystanders, who are much smaller or smaller and out of focus."""

import cv2
import numpy as np

from exprbench.faces import FaceTracks
from exprbench.faces.landmarker import square

# Of the largest face. Of the two people of a filmed conversation, the smaller face has 0.6 to 0.96 of the area, and the
# less sharp one 0.3 to 0.7 of the sharpness. A face of 130 pixels that is blurred with sigma 2 keeps 0.14 of its own.
MIN_AREA = 0.2
MIN_AREA_IF_BLURRED = 0.7
MIN_SHARPNESS = 1 / 3
SIDE_PX = 64  # at which faces of different sizes are compared


def is_principal(image: np.ndarray, tracks: FaceTracks) -> tuple[bool, ...]:
    """Return for each face of a portrait, in the order of the tracks, whether it is one of its people.

    A face is a bystander if the area of its box is less than a fifth of that of the largest face, or if it is less than
    0.7 of it and its sharpness is less than a third.

    Args:
        image: (H, W, 3) uint8 RGB.
        tracks: the faces of the image, in its first frame.
    """
    boxes = np.array([track.box[0] for track in tracks.tracks], np.float64).reshape(-1, 4) * np.tile(tracks.size, 2)
    if not len(boxes):
        return ()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    sharpness = np.array([_sharpness(image, box) for box in boxes])
    largest = int(areas.argmax())
    area, sharp = areas / areas[largest], sharpness / max(sharpness[largest], 1e-9)
    principal = (area >= MIN_AREA) & ((area >= MIN_AREA_IF_BLURRED) | (sharp >= MIN_SHARPNESS))
    return tuple(principal.tolist())


def _sharpness(image: np.ndarray, box: np.ndarray) -> float:
    """Return the variance of the Laplacian of the square around a box (x0, y0, x1, y1) in pixels."""
    crop, _ = square(image, (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max()))
    if crop is None:
        return 0.0
    shrinks = len(crop) > SIDE_PX
    face = cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
