"""LMD: mean distance between the landmarks of two faces, frame by frame.

All functions take a `FacePair` of T frames and give (T,) float64, NaN where either side does not see the face.
"""

import numpy as np

from exprbench.metrics.face_pair import FacePair

MESH = slice(0, 468)  # the irises come after it
LIPS = (
    *(0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181),
    *(185, 191, 267, 269, 270, 291, 308, 310, 311, 312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415),
)
EYES = (
    *(7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246),
    *(249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466),
)
BROWS = (46, 52, 53, 55, 63, 65, 66, 70, 105, 107, 276, 282, 283, 285, 293, 295, 296, 300, 334, 336)
OUTER_CORNERS = (33, 263)


def lmd(pair: FacePair, points: slice | tuple[int, ...] = slice(None)) -> np.ndarray:
    """In [0, 1] of the frame's width and height, over all 478 landmarks or some of them; x and y only."""
    apart = _flat(pair, points)
    return _mean_length(apart[0] - apart[1])


def lmd_px(pair: FacePair) -> np.ndarray:
    """In pixels of the reference."""
    reference, predicted = _flat(pair, slice(None))
    return _mean_length((predicted - reference) * pair.reference_size)


def lmd_iod(pair: FacePair) -> np.ndarray:
    """In distances between the outer corners of the reference's eyes, in the same frame."""
    right, left = (pair.reference.landmarks[:, i, :2].astype(np.float64) for i in OUTER_CORNERS)
    between = np.linalg.norm((left - right) * pair.reference_size, axis=-1)
    return lmd_px(pair) / np.where(between > 0, between, np.nan)


def lmd_rigid(pair: FacePair) -> np.ndarray:
    """As `lmd` after the rotation, scale and shift in space that best lay the predicted face on the reference.

    The fit is least squares over the 468 points of the mesh in three dimensions (Umeyama 1991), so that a head turned
    otherwise costs nothing, as far as MediaPipe's depth goes; the distance is then taken in the image, in [0, 1].
    """
    width, height = pair.reference_size
    to_px = np.array([width, height, width], np.float64)
    distances = np.full(len(pair.seen), np.nan)
    reference, predicted = (t.landmarks[pair.seen].astype(np.float64) * to_px for t in (pair.reference, pair.predicted))
    laid = _lay_on(predicted, reference)
    distances[pair.seen] = np.linalg.norm((laid - reference)[..., :2] / to_px[:2], axis=-1).mean(-1)
    return distances


def _flat(pair: FacePair, points: slice | tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(T, K, 2) of both sides."""
    chosen = points if isinstance(points, slice) else list(points)
    sides = (side.landmarks[:, chosen, :2].astype(np.float64) for side in (pair.reference, pair.predicted))
    reference, predicted = (np.where(pair.seen[:, None, None], points, np.nan) for points in sides)
    return reference, predicted


def _mean_length(apart: np.ndarray) -> np.ndarray:
    return np.linalg.norm(apart, axis=-1).mean(-1)


def _lay_on(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Points (T, K, 3) turned, scaled and shifted onto others."""
    mean_m, mean_f = moving[:, MESH].mean(1, keepdims=True), fixed[:, MESH].mean(1, keepdims=True)
    m, f = moving[:, MESH] - mean_m, fixed[:, MESH] - mean_f
    u, s, vt = np.linalg.svd(np.swapaxes(f, 1, 2) @ m)
    flip = np.ones_like(s)
    flip[:, -1] = np.sign(np.linalg.det(u @ vt))
    turn = (u * flip[:, None]) @ vt
    spread = (m**2).sum((1, 2))
    scale = (s * flip).sum(1) / np.where(spread > 0, spread, np.nan)
    return scale[:, None, None] * (moving - mean_m) @ np.swapaxes(turn, 1, 2) + mean_f
