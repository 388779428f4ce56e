"""APD: difference of head rotations, frame by frame."""

import numpy as np


def apd(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(T,) mean absolute difference of the three components of axis-angle vectors (T, 3), in radians.

    A rotation by an angle a about an axis is also one by a - 2 pi, and near a half turn the two change places. The
    nearest of these readings count; they differ from the plain formula only where the two angles together exceed 130
    degrees, so not for heads that face the camera more or less.
    """
    return _nearest(reference, predicted, lambda apart: np.abs(apart).mean(-1))


def apd_rmse(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(T,) root of the mean squared difference of the components, in radians; readings as for `apd`."""
    return _nearest(reference, predicted, lambda apart: np.sqrt((apart**2).mean(-1)))


def apd_deg(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(T,) angle in degrees of the rotation from one head to the other; axis-angle vectors (T, 3).

    With unit quaternions p and q it is 4 atan2(|p - q|, |p + q|), the nearer of q and -q: exactly 0 for equal ones.
    """
    p, q = quaternion(reference), quaternion(predicted)
    apart, together = np.linalg.norm(p - q, axis=-1), np.linalg.norm(p + q, axis=-1)
    return np.degrees(4 * np.arctan2(np.minimum(apart, together), np.maximum(apart, together)))


def quaternion(vectors: np.ndarray) -> np.ndarray:
    """(..., 4) unit quaternions, scalar last, of axis-angle vectors (..., 3)."""
    vectors = np.asarray(vectors, np.float64)
    half = np.linalg.norm(vectors, axis=-1, keepdims=True) / 2
    return np.concatenate([vectors / 2 * np.sinc(half / np.pi), np.cos(half)], axis=-1)


def _nearest(reference: np.ndarray, predicted: np.ndarray, size: object) -> np.ndarray:
    a, b = np.asarray(reference, np.float64), np.asarray(predicted, np.float64)
    return np.minimum(size(a - b), np.minimum(size(_other_way(a) - b), size(a - _other_way(b))))  # type: ignore[operator]


def _other_way(vectors: np.ndarray) -> np.ndarray:
    """The same rotations about the same axes, turned the other way round; no rotation stays as it is."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors * (1 - 2 * np.pi / np.where(angle > 0, angle, 2 * np.pi))
