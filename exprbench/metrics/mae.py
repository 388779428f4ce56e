"""MAE: mean angle between two directions of gaze, in degrees, frame by frame.

Directions are unit vectors (T, E, 3) of E eyes (two from the landmarks, one where a network reads the whole face).
Angles are atan2(|a x b|, a . b): exactly 0 for equal directions, and as accurate near 0 and 180 as elsewhere.
"""

import numpy as np


def angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(...) angles in [0, 180] between directions (..., 3); NaN where one of them is."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def mae(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(T,) mean over the eyes."""
    return angle_deg(reference, predicted).mean(-1)


def mae_open(reference: np.ndarray, predicted: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """(T,) mean over the eyes that are not `closed` (T, E) in the reference; NaN where all are."""
    num = (~closed).sum(-1)
    total = np.where(closed, 0, angle_deg(reference, predicted)).sum(-1)
    return np.where(num > 0, total / np.maximum(num, 1), np.nan)


def in_head(gaze: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(T, E, 3) directions seen from heads turned by (T, 3, 3): how the eyes are turned, whatever the head does."""
    return np.einsum("tji,tej->tei", rotation, gaze)
