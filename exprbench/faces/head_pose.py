"""Head rotation from a pose matrix; pure functions on arrays of any leading shape."""

import numpy as np


def rotation(pose: np.ndarray) -> np.ndarray:
    """Return the rotation (..., 3, 3) of pose matrices (..., 4, 4), without their rounding and scale (polar factor).

    It maps the head's axes to the camera's (x right, y up, z towards the viewer); the identity faces the camera.
    """
    matrix = np.asarray(pose, np.float64)[..., :3, :3]
    known = np.isfinite(matrix).all((-2, -1))[..., None, None]
    u, _, vt = np.linalg.svd(np.where(known, matrix, np.eye(3)))
    return np.where(known, u @ vt, np.nan)


def axis_angle(pose: np.ndarray) -> np.ndarray:
    """Return the head rotation (..., 3) as axis times angle in radians, with angles in [0, pi]."""
    from scipy.spatial.transform import Rotation

    matrices = rotation(pose)
    flat = matrices.reshape(-1, 3, 3)
    known = np.isfinite(flat).all((1, 2))
    vectors = np.full((len(flat), 3), np.nan)
    if known.any():
        vectors[known] = Rotation.from_matrix(flat[known]).as_rotvec()
    return vectors.reshape(*matrices.shape[:-2], 3)
