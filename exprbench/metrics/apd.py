"""APD: difference of head rotations per frame."""

from collections.abc import Callable

import numpy as np

from exprbench.metrics.face_pair import FacePair


def apd(pair: FacePair) -> np.ndarray:
    """Return (T,) `axis_angle_l1` of the two heads."""
    return axis_angle_l1(*pair.heads)


def apd_rmse(pair: FacePair) -> np.ndarray:
    """Return (T,) `axis_angle_rmse` of the two heads."""
    return axis_angle_rmse(*pair.heads)


def apd_deg(pair: FacePair) -> np.ndarray:
    """Return (T,) `geodesic_deg` of the two heads."""
    return geodesic_deg(*pair.heads)


def apd_rotmat(pair: FacePair) -> np.ndarray:
    """Return (T,) mean absolute differences of the nine entries of MediaPipe's head rotation matrices."""
    reference, predicted = pair.rotations
    return np.abs(predicted - reference).mean((-2, -1))


def axis_angle_l1(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (T,) mean absolute differences of the three components of axis-angle vectors (T, 3), in radians.

    A rotation by an angle a about an axis is also one by a - 2 pi, and near a half turn the axis-angle vector switches
    between the two. The nearest pair is used; it differs from the plain formula only if the two angles add up to over
    130 degrees, so not for heads that roughly face the camera.
    """
    return _nearest(reference, predicted, lambda difference: np.abs(difference).mean(-1))


def axis_angle_rmse(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (T,) root mean square differences of the components, in radians; nearest pair as in `axis_angle_l1`."""
    return _nearest(reference, predicted, lambda difference: np.sqrt((difference**2).mean(-1)))


def geodesic_deg(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (T,) angles in degrees of the rotation from one head to the other, from axis-angle vectors (T, 3).

    With unit quaternions p and q it is 4 atan2(|p - q|, |p + q|), the nearer of q and -q: exactly 0 for equal ones.
    """
    p, q = quaternion(reference), quaternion(predicted)
    difference, total = np.linalg.norm(p - q, axis=-1), np.linalg.norm(p + q, axis=-1)
    return np.degrees(4 * np.arctan2(np.minimum(difference, total), np.maximum(difference, total)))


def quaternion(vectors: np.ndarray) -> np.ndarray:
    """Return unit quaternions (..., 4), scalar last, of axis-angle vectors (..., 3)."""
    vectors = np.asarray(vectors, np.float64)
    half = np.linalg.norm(vectors, axis=-1, keepdims=True) / 2
    return np.concatenate([vectors / 2 * np.sinc(half / np.pi), np.cos(half)], axis=-1)


def _nearest(reference: np.ndarray, predicted: np.ndarray, size: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    a, b = np.asarray(reference, np.float64), np.asarray(predicted, np.float64)
    return np.minimum(size(a - b), np.minimum(size(_complement(a) - b), size(a - _complement(b))))


def _complement(vectors: np.ndarray) -> np.ndarray:
    """Return the same rotations with the angle less a full turn; zero rotations stay as they are."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors * (1 - 2 * np.pi / np.where(angle > 0, angle, 2 * np.pi))
