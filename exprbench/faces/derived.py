"""What follows from a face's landmarks, pose and blendshapes; pure functions on arrays of any leading shape.

Directions are in the camera's frame: x right, y up, z towards the viewer, so someone who looks into the lens has the
gaze (0, 0, 1) and a face turned to the camera has the identity as its rotation.
"""

import numpy as np

from exprbench.faces.landmark_groups import EYE_POINTS

BLINKS = (9, 10)  # eyeBlinkLeft, eyeBlinkRight in MediaPipe's order of blendshapes
CLOSED_ABOVE = 0.5

# The eye as a ball, in units of the distance between its corners (29 mm in an adult). The iris lies 10 mm from the
# centre of rotation, and that centre 6 mm behind the line between the corners. It is not in their middle: the inner
# corner reaches past the eye, and both lie below it; these two offsets make the eyes of twelve filmed people, who on
# the whole look ahead, parallel and level.
IRIS_RADIUS = 0.34
CENTRE_DEPTH = 0.20
CENTRE_OUTWARD = 0.036
CENTRE_UP = 0.045
MAX_SINE = np.sin(np.radians(75))


def to_camera(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Landmarks (..., 478, 3) in [0, 1] of a (width, height) frame as pixels with x right, y up, z to the viewer."""
    width, height = size
    return np.asarray(landmarks, np.float64) * (width, -height, -width)


def gaze(landmarks: np.ndarray, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Unit gaze vectors (..., 2, 3) of the right and left eye in the camera's frame.

    Each eye is a ball whose centre is placed from its corners and the head's axes; the iris centre is a point of that
    ball, so its offset from the centre, over the radius, is the gaze across the image, and the third component
    follows. MediaPipe's depth of the iris, which is not measured, is not used.

    Args:
        landmarks: (..., 478, 3) in [0, 1] of the frame.
        pose: (..., 4, 4) head to camera.
        size: (width, height) of the frame in pixels.
    """
    points = to_camera(landmarks, size)
    head = rotation(pose)
    return np.stack([_eye_gaze(points[..., eye, :], head) for eye in EYE_POINTS], axis=-2)


def eye_ball(outer: np.ndarray, inner: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (..., 3) and radius (..., 1) of the ball the iris moves on, from the eye's corners and the head's axes."""
    across = outer - inner
    width = np.linalg.norm(across, axis=-1, keepdims=True)
    up, forward = head[..., 1], head[..., 2]
    centre = (outer + inner) / 2 + CENTRE_OUTWARD * across + width * (CENTRE_UP * up - CENTRE_DEPTH * forward)
    return centre, IRIS_RADIUS * width


def _eye_gaze(eye: np.ndarray, head: np.ndarray) -> np.ndarray:
    outer, inner, iris = eye[..., 0, :], eye[..., 1, :], eye[..., 2, :]
    centre, radius = eye_ball(outer, inner, head)
    across = (iris - centre)[..., :2] / radius
    sine = np.linalg.norm(across, axis=-1, keepdims=True)
    across = across * np.minimum(1, MAX_SINE / np.maximum(sine, 1e-12))
    towards = np.sqrt(1 - (across**2).sum(-1, keepdims=True))
    return np.concatenate([across, towards], axis=-1)


def rotation(pose: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) of a pose matrix (..., 4, 4), with MediaPipe's rounding and scale taken out (polar part)."""
    matrix = np.asarray(pose, np.float64)[..., :3, :3]
    known = np.isfinite(matrix).all((-2, -1))[..., None, None]
    u, _, vt = np.linalg.svd(np.where(known, matrix, np.eye(3)))
    return np.where(known, u @ vt, np.nan)


def axis_angle(pose: np.ndarray) -> np.ndarray:
    """Head rotation (..., 3) as axis times angle in radians, angle in [0, pi]."""
    from scipy.spatial.transform import Rotation

    matrices = rotation(pose)
    flat = matrices.reshape(-1, 3, 3)
    known = np.isfinite(flat).all((1, 2))
    vectors = np.full((len(flat), 3), np.nan)
    if known.any():
        vectors[known] = Rotation.from_matrix(flat[known]).as_rotvec()
    return vectors.reshape(*matrices.shape[:-2], 3)


def eye_closed(blendshapes: np.ndarray) -> np.ndarray:
    """(..., 2) bool: is the right, the left eye closed (its blink blendshape above one half)?"""
    left, right = BLINKS
    return np.asarray(blendshapes)[..., [right, left]] > CLOSED_ABOVE
