"""People that the people detector misses, found by their faces.

In pictures that are damaged (black that is crushed, large blocks) the detector finds few people, while faces are still
found. A face is that of a person unless it is in the box of an animal: face detectors find the faces of dogs and apes.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from exprbench.faces.boxes import Box
from exprbench.faces.landmarker import CONFIRMED_SCORE, CROPS, Landmarker
from multiexpr.models.detector import Models
from multiexpr.recipe import KeepPeople

USUAL = KeepPeople()  # faces are searched in frames in which fewer people count by these thresholds
SEARCHED_SIDE = 360  # short side in pixels of the frames in which faces are searched
UPPER_BODY = 2.0  # size of head and shoulders relative to the face: a person whose face is seen shows at least these


def missed_people(pictures: Sequence[np.ndarray], found: Sequence[np.ndarray], models: Models) -> list[np.ndarray]:
    """Return the upper bodies of people who are found by their faces only, (n, 5) for each picture.

    A picture is searched if too few people are found in it. If the first of these has no such faces, the people are not
    there, and the others are not searched.

    Args:
        pictures: (H, W, 3) uint8 RGB.
        found: (n, 5) people of each picture: x0, y0, x1, y1 in [0, 1] of it, and the confidence.
        models: networks; the face landmarker is that of the motion scorer.
    """
    missed = [np.zeros((0, 5)) for _ in pictures]
    for i, (picture, people) in enumerate(zip(pictures, found, strict=True)):
        counting = people[(people[:, 4] >= USUAL.min_confidence) & (people[:, 3] - people[:, 1] >= USUAL.min_height)]
        if len(counting) < USUAL.min_people:
            missed[i] = _upper_bodies(picture, counting, models)
            if not len(missed[i]):
                break
    return missed


def _upper_bodies(picture: np.ndarray, counting: np.ndarray, models: Models) -> np.ndarray:
    """Return the upper bodies (n, 5) of the faces of a picture outside of the boxes of people who count."""
    height, width = picture.shape[:2]
    scale = min(1.0, SEARCHED_SIDE / min(height, width))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    landmarker = models.landmarker(models.recipe.score.motion.engine)
    size = np.tile(small.shape[1::-1], 2)
    boxes = [box for box in landmarker.search(small) if not _is_inside(np.array(box) / size, counting)]
    faces = [np.array(box) / size for box in boxes if _is_face(landmarker, small, box)]
    if not faces:
        return np.zeros((0, 5))
    animals = models.animals([picture])[0]
    animals = animals[animals[:, 4] >= USUAL.min_confidence]
    return np.array([_upper_body(face) for face in faces if not _is_inside(face, animals)]).reshape(-1, 5)


def _is_face(landmarker: Landmarker, picture: np.ndarray, box: Box) -> bool:
    """Return whether the landmark network confirms a face in a detector's box."""
    x0, y0, x1, y1 = box
    return bool(landmarker.detect(picture, np.array([x0 + x1, y0 + y1]) / 2, CROPS[0] * max(x1 - x0, y1 - y0)))


def _is_inside(face: np.ndarray, boxes: np.ndarray) -> bool:
    """Return whether the centre of a face (x0, y0, x1, y1) is in one of the boxes (n, 5)."""
    x, y = (face[:2] + face[2:]) / 2
    return bool(((boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])).any())


def _upper_body(face: np.ndarray) -> np.ndarray:
    """Return the upper body (5,) of a face in [0, 1] of the picture, with the confidence of a confirmed face."""
    x0, y0, x1, y1 = face
    wider, taller = (UPPER_BODY - 1) / 2 * (x1 - x0), (UPPER_BODY - 1) / 2 * (y1 - y0)
    return np.array([*np.clip([x0 - wider, y0 - taller, x1 + wider, y1 + taller], 0, 1), CONFIRMED_SCORE])
