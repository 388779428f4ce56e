"""Align the landmarks of all frames of a face to its mean, to remove the motion of a head or that of a flat picture."""

import numpy as np

from exprbench.faces.landmark_groups import OUTER_EYE_CORNERS, RIGID


def stabilize(points: np.ndarray) -> np.ndarray:
    """Return (T, 478, 3) points without the rigid motion of the head and without the size of the face.

    Each frame is aligned to the mean face with the similarity (rotation, scale, translation) that fits the RIGID points
    best (Umeyama, 1991). The mean face is computed from the aligned frames, in three iterations. The unit is 1 % of the
    distance between the outer eye corners of the mean face.
    """
    aligned = points
    reference = points[len(points) // 2, RIGID]
    for _ in range(3):
        aligned = np.stack([_align(frame, reference) for frame in points])
        reference = aligned[:, RIGID].mean(0)
    return in_percent(aligned)


def in_percent(aligned: np.ndarray) -> np.ndarray:
    """Return aligned points in the unit of 1 % of the distance between the outer eye corners of the mean face."""
    right, left = (aligned[:, corner].mean(0) for corner in OUTER_EYE_CORNERS)
    return aligned * (100 / max(float(np.linalg.norm(right - left)), 1e-9))


def _align(frame: np.ndarray, reference: np.ndarray) -> np.ndarray:
    rigid = frame[list(RIGID)]
    centre, reference_centre = rigid.mean(0), reference.mean(0)
    u, s, vt = np.linalg.svd((rigid - centre).T @ (reference - reference_centre))
    mirror = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (s * mirror).sum() / max(float(((rigid - centre) ** 2).sum()), 1e-12)
    return scale * (frame - centre) @ (u * mirror) @ vt + reference_centre


def without_planar_motion(points: np.ndarray) -> np.ndarray:
    """Return (T, N, 2) points without what the motion of a flat picture in perspective explains.

    Each frame is mapped to the mean of all frames with the homography that fits its points best. The mean is computed
    from the mapped frames, in three iterations. The unit is the root mean square distance of the points of a frame
    from their centre.
    """
    centred = points - points.mean(1, keepdims=True)
    size = np.sqrt((centred**2).sum(-1, keepdims=True).mean(1, keepdims=True))
    centred = centred / np.maximum(size, 1e-9)
    mapped = centred
    reference = centred[len(centred) // 2]
    for _ in range(3):
        mapped = _map(centred, reference)
        reference = mapped.mean(0)
    return mapped


def _map(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return (T, N, 2) points mapped to (N, 2) reference points by a homography per frame.

    The eight unknowns are the least-squares solution of the linear equations x' (g x + h y + 1) = a x + b y + c and
    y' (g x + h y + 1) = d x + e y + f (direct linear transformation).
    """
    count = len(points)
    xy1 = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
    by_x, by_y = (xy1 * reference[:, i, None] for i in (0, 1))
    by_both = points * (reference**2).sum(1, keepdims=True)
    squares, zeros = xy1.mT @ xy1, np.zeros((count, 3, 3))
    with_x, with_y = -by_x.mT @ points, -by_y.mT @ points
    normal = np.block([[squares, zeros, with_x], [zeros, squares, with_y], [with_x.mT, with_y.mT, by_both.mT @ points]])
    products = np.concatenate([by_x.sum(1), by_y.sum(1), -by_both.sum(1)], axis=1)
    solution = (np.linalg.pinv(normal, hermitian=True) @ products[..., None])[..., 0]
    homography = np.concatenate([solution, np.ones((count, 1))], axis=1).reshape(-1, 3, 3)
    projected = xy1 @ homography.mT
    return projected[..., :2] / projected[..., 2:]
