"""LMD: mean distance between the landmarks of two faces per frame.

Functions take a `FacePair` of T frames and return (T,) float64, NaN in frames without the face on either side.
"""

import numpy as np

from exprbench.faces.landmark_groups import ALL, BROWS, EYES, LIPS, MESH, OUTER_EYE_CORNERS, Points
from exprbench.metrics.face_pair import FacePair


def lmd(pair: FacePair) -> np.ndarray:
    """Return (T,) mean distances over all 478 landmarks; x and y only, each in [0, 1] of the frame."""
    return _mean_distance(pair, ALL)


def lmd_mesh(pair: FacePair) -> np.ndarray:
    """Return `lmd` over the 468 points of the mesh, without the irises."""
    return _mean_distance(pair, MESH)


def lmd_lips(pair: FacePair) -> np.ndarray:
    """Return `lmd` over the lips."""
    return _mean_distance(pair, LIPS)


def lmd_eyes(pair: FacePair) -> np.ndarray:
    """Return `lmd` over the eyelids."""
    return _mean_distance(pair, EYES)


def lmd_brows(pair: FacePair) -> np.ndarray:
    """Return `lmd` over the eyebrows."""
    return _mean_distance(pair, BROWS)


def lmd_px(pair: FacePair) -> np.ndarray:
    """Return (T,) mean distances over all landmarks, in pixels of the reference."""
    reference, predicted = _points(pair, ALL)
    return _mean_length((predicted - reference) * pair.reference_size)


def lmd_iod(pair: FacePair) -> np.ndarray:
    """Return `lmd_px` divided by the distance between the outer corners of the reference's eyes in the same frame."""
    right, left = (pair.reference.landmarks[:, i, :2].astype(np.float64) for i in OUTER_EYE_CORNERS)
    between = np.linalg.norm((left - right) * pair.reference_size, axis=-1)
    return lmd_px(pair) / np.where(between > 0, between, np.nan)


def lmd_rigid(pair: FacePair) -> np.ndarray:
    """Return `lmd` after the rotation, scale and translation that best align the predicted face with the reference.

    The fit is least squares over the 468 points of the mesh in three dimensions (Umeyama 1991), so that a different
    head pose costs nothing, as far as MediaPipe's depth goes; the distance is then taken in the image, in [0, 1].
    """
    width, height = pair.reference_size
    to_px = np.array([width, height, width], np.float64)
    distances = np.full(len(pair.seen), np.nan)
    reference, predicted = (t.landmarks[pair.seen].astype(np.float64) * to_px for t in (pair.reference, pair.predicted))
    difference = _align(predicted, reference) - reference
    distances[pair.seen] = np.linalg.norm(difference[..., :2] / to_px[:2], axis=-1).mean(-1)
    return distances


def _mean_distance(pair: FacePair, points: Points) -> np.ndarray:
    reference, predicted = _points(pair, points)
    return _mean_length(reference - predicted)


def _points(pair: FacePair, points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Return (T, K, 2) landmarks of both sides, NaN in frames without the face on either side."""
    chosen = points if isinstance(points, slice) else list(points)
    sides = (side.landmarks[:, chosen, :2].astype(np.float64) for side in (pair.reference, pair.predicted))
    reference, predicted = (np.where(pair.seen[:, None, None], side, np.nan) for side in sides)
    return reference, predicted


def _mean_length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1).mean(-1)


def _align(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return points (T, K, 3) rotated, scaled and translated onto fixed ones."""
    mean_m, mean_f = moving[:, MESH].mean(1, keepdims=True), fixed[:, MESH].mean(1, keepdims=True)
    m, f = moving[:, MESH] - mean_m, fixed[:, MESH] - mean_f
    u, s, vt = np.linalg.svd(np.swapaxes(f, 1, 2) @ m)
    flip = np.ones_like(s)
    flip[:, -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * flip[:, None]) @ vt
    spread = (m**2).sum((1, 2))
    scale = (s * flip).sum(1) / np.where(spread > 0, spread, np.nan)
    return scale[:, None, None] * (moving - mean_m) @ np.swapaxes(rotation, 1, 2) + mean_f
