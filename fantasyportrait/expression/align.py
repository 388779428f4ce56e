"""Five-point alignment: every face into the same place of a 224 x 224 crop, as the PD-FGC encoder learnt it."""

import numpy as np

from fantasyportrait.expression.encoder import CROP

# Pupil, pupil, nose tip, mouth corner, mouth corner (image left first), as shares of the crop's side.
TEMPLATE = np.array([[0.3843, 0.27], [0.62, 0.2668], [0.503, 0.4185], [0.406, 0.5273], [0.5977, 0.525]])


def similarity(points: np.ndarray, template: np.ndarray = TEMPLATE * CROP) -> np.ndarray:
    """The (2, 3) uniform scale, rotation and shift that brings (5, 2) points nearest to the template, never mirrored.

    Least squares in closed form (Umeyama 1991), in float64.
    """
    points, template = np.asarray(points, np.float64), np.asarray(template, np.float64)
    from_mean, to_mean = points.mean(0), template.mean(0)
    source, target = points - from_mean, template - to_mean
    u, stretch, vt = np.linalg.svd(target.T @ source)
    keep = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = (u * keep) @ vt
    scale = (stretch * keep).sum() / (source**2).sum()
    return np.column_stack([scale * turn, to_mean - scale * turn @ from_mean])


def align(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The (224, 224, 3) uint8 crop of a frame, by (5, 2) points in pixels; black beyond the frame's border."""
    import cv2

    return cv2.warpAffine(frame, similarity(points), (CROP, CROP), flags=cv2.INTER_CUBIC)
