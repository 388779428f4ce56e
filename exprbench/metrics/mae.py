"""MAE: mean angle between two gaze directions, in degrees, per frame.

Directions are unit vectors (T, E, 3) of E eyes (two from the landmarks, one if a network reads the whole face). Angles
are atan2(|a x b|, a . b): exactly 0 for equal directions, and as accurate near 0 and 180 as elsewhere.
"""

import numpy as np

from exprbench.metrics.face_pair import FacePair


def mae(pair: FacePair) -> np.ndarray:
    """Return (T,) angles in degrees, averaged over the eyes."""
    return mean_angle_deg(*pair.gazes)


def mae_open(pair: FacePair) -> np.ndarray:
    """Return (T,) angles in degrees, averaged over the eyes that are open in the reference; NaN if both are closed."""
    return mean_open_angle_deg(*pair.gazes, pair.eyes_closed)


def mae_in_head(pair: FacePair) -> np.ndarray:
    """Return (T,) angles in degrees between gaze directions relative to the head."""
    sides = zip(pair.gazes, pair.rotations, strict=True)
    return mean_angle_deg(*(in_head(gaze, rotation) for gaze, rotation in sides))


def angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return (...) angles in [0, 180] degrees between directions (..., 3), NaN if one of them is NaN."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def mean_angle_deg(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (T,) angles in degrees between directions (T, E, 3), averaged over the eyes."""
    return angle_deg(reference, predicted).mean(-1)


def mean_open_angle_deg(reference: np.ndarray, predicted: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """Return (T,) angles in degrees, averaged over the eyes that are not `closed` (T, E); NaN if all are closed."""
    num = (~closed).sum(-1)
    total = np.where(closed, 0, angle_deg(reference, predicted)).sum(-1)
    return np.where(num > 0, total / np.maximum(num, 1), np.nan)


def in_head(gaze: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return (T, E, 3) directions in the frame of heads rotated by (T, 3, 3)."""
    return np.einsum("tji,tej->tei", rotation, gaze)
