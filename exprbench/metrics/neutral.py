"""Expression, gaze and head pose relative to a person's own neutral, so that who is shown does not count.

The neutral of a side is its median over the frames that show the face on both sides: the median of each coefficient, of
each gaze angle, and of each component of the head's rotation. A median needs no neutral frame in the video, and one
badly detected frame does not change it.
"""

import numpy as np

from exprbench.metrics.aed import l1_mean
from exprbench.metrics.apd import axis_angle_l1
from exprbench.metrics.face_pair import FacePair, Sides
from exprbench.metrics.mae import mean_angle_deg


def aed_rel(pair: FacePair) -> np.ndarray:
    """Return (T,) mean absolute differences of the expressions, each relative to its own neutral."""
    return l1_mean(*relative_expressions(pair))


def apd_rel(pair: FacePair) -> np.ndarray:
    """Return (T,) mean absolute differences of the head rotations, each from its own neutral, in radians."""
    return axis_angle_l1(*relative_heads(pair))


def mae_rel(pair: FacePair) -> np.ndarray:
    """Return (T,) angles in degrees between the gazes, averaged over the eyes, each relative to its own neutral."""
    return mean_angle_deg(*relative_gazes(pair))


def relative_expressions(pair: FacePair) -> Sides:
    """Return the expression coefficients (T, K) of both sides minus their medians."""
    reference, predicted = (side - median(side, pair.seen) for side in pair.expressions)
    return reference, predicted


def relative_heads(pair: FacePair) -> Sides:
    """Return the rotations (T, 3) from the neutral head to the head, as axis times angle in the camera's frame."""
    reference, predicted = (rotation_from(median(side, pair.seen), side) for side in pair.heads)
    return reference, predicted


def relative_gazes(pair: FacePair) -> Sides:
    """Return the gazes (T, E, 3) after subtracting the neutral's two angles from those of every frame."""
    sides = [angles(side) for side in pair.gazes]
    reference, predicted = (direction(side - median(side, pair.seen)) for side in sides)
    return reference, predicted


def median(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the medians of values (T, ...) over the frames `seen` (T,); NaN if there is none."""
    values = np.asarray(values, np.float64)
    return np.median(values[seen], axis=0) if seen.any() else np.full(values.shape[1:], np.nan)


def rotation_from(neutral: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Return the rotations (T, 3) that lead from a neutral rotation (3,) to each of `heads` (T, 3), as axis-angle."""
    from scipy.spatial.transform import Rotation

    known = np.isfinite(heads).all(-1) & np.isfinite(neutral).all()
    vectors = np.full(heads.shape, np.nan)
    if known.any():
        vectors[known] = (Rotation.from_rotvec(heads[known]) * Rotation.from_rotvec(neutral).inv()).as_rotvec()
    return vectors


def angles(directions: np.ndarray) -> np.ndarray:
    """Return yaw and pitch (..., 2) in radians of unit vectors (..., 3); (0, 0) is towards the viewer."""
    x, y, z = np.moveaxis(np.asarray(directions, np.float64), -1, 0)
    return np.stack([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))], axis=-1)


def direction(yaw_pitch: np.ndarray) -> np.ndarray:
    """Return the unit vectors (..., 3) of `angles` (..., 2)."""
    yaw, pitch = np.moveaxis(yaw_pitch, -1, 0)
    return np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=-1)
