"""Five points of a face, from MediaPipe's landmarks, and the alignment of a crop to a template."""

import cv2
import numpy as np

# Outer and inner corner of both eyes, and the base of the nose: the order of dlib's five landmarks.
DLIB_POINTS = (263, 362, 33, 133, 2)
# Corners of the eye on the left of the picture, then of the right one; tip of the nose; corners of the mouth.
EYES, NOSE_TIP, MOUTH = ((33, 133), (263, 362)), 1, (61, 291)


def arcface_points(points_px: np.ndarray) -> np.ndarray:
    """Return the (5, 2) middles of the eyes, tip of the nose and corners of the mouth of landmarks (478, 2)."""
    eyes = [points_px[list(corners)].mean(0) for corners in EYES]
    return np.stack([*eyes, points_px[NOSE_TIP], *points_px[list(MOUTH)]])


def aligned(frame: np.ndarray, points: np.ndarray, template: np.ndarray, side: int) -> np.ndarray:
    """Return the (side, side, 3) crop in which `points` (K, 2) are nearest to `template` (K, 2); black outside.

    Rotation, scale and translation are those of the least squares fit.
    """
    matrix = similarity(points, template)
    return cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_LINEAR)


def similarity(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return the matrix (2, 3) of the rotation, scale and translation that best maps points to a template (K, 2)."""
    a, b = (np.asarray(side, np.float64) for side in (points, template))
    centre_a, centre_b = a.mean(0), b.mean(0)
    x, y = (a - centre_a) @ (1, 1j), (b - centre_b) @ (1, 1j)
    turn = (x.conj() @ y) / (x.conj() @ x).real
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([matrix, centre_b - matrix @ centre_a])
