"""Five-point face alignment to the 224 x 224 crops that the PD-FGC encoder was trained on."""

import numpy as np

from fantasyportrait.expression.encoder import CROP_SIZE

# Pupil, pupil, nose tip, mouth corner, mouth corner (image left first), in [0, 1] of the crop's side.
TEMPLATE = np.array([[0.3843, 0.27], [0.62, 0.2668], [0.503, 0.4185], [0.406, 0.5273], [0.5977, 0.525]])


def estimate_similarity(points: np.ndarray, template: np.ndarray = TEMPLATE * CROP_SIZE) -> np.ndarray:
    """Estimate the (2, 3) similarity transform, without reflection, that maps (5, 2) points to the template.

    Least squares in closed form (Umeyama 1991), in float64.
    """
    points, template = np.asarray(points, np.float64), np.asarray(template, np.float64)
    source_mean, target_mean = points.mean(0), template.mean(0)
    source, target = points - source_mean, template - target_mean
    u, singular_values, vt = np.linalg.svd(target.T @ source)
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * signs) @ vt
    scale = (singular_values * signs).sum() / (source**2).sum()
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


def align_face(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Crop a face to (224, 224, 3) uint8 by its (5, 2) points in pixels; pixels outside the frame are black."""
    import cv2

    return cv2.warpAffine(frame, estimate_similarity(points), (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_CUBIC)
