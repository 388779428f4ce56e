"""Gaze from landmarks and head pose, and closed eyes from blendshapes; pure functions on arrays of any leading shape.

Directions are in the camera's frame: x right, y up, z towards the viewer. The gaze of a person who looks into the lens
is (0, 0, 1).
"""

import numpy as np

from exprbench.faces.head_pose import rotation
from exprbench.faces.landmark_groups import EYE_POINTS

BLINKS = (9, 10)  # eyeBlinkLeft, eyeBlinkRight in MediaPipe's order of blendshapes
CLOSED_ABOVE = 0.5

# Eyeball model, in units of the distance between the eye's corners (29 mm in an adult). The iris is 10 mm from the
# centre of rotation, which is 6 mm behind the line between the corners. The centre is not halfway between them: the
# inner corner extends beyond the eye, and both corners are below its centre. The two offsets were fitted on twelve
# filmed people who look ahead on average, such that their gazes are parallel and level on average.
IRIS_RADIUS = 0.34
CENTRE_DEPTH = 0.20
CENTRE_OUTWARD = 0.036
CENTRE_UP = 0.045
MAX_SINE = np.sin(np.radians(75))


def to_camera(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return landmarks (..., 478, 3), in [0, 1] of a frame of `size`, in pixels: x right, y up, z to the viewer."""
    width, height = size
    return np.asarray(landmarks, np.float64) * (width, -height, -width)


def gaze(landmarks: np.ndarray, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return unit gaze vectors (..., 2, 3) of the right and left eye in the camera's frame.

    Each eye is a sphere whose centre follows from its corners and the head's axes. The iris centre is on the sphere, so
    its offset from the centre in the image, over the radius, gives the first two components of the gaze and the unit
    length the third. MediaPipe's depth of the iris is an estimate without measurement and is not used.

    Args:
        landmarks: (..., 478, 3) in [0, 1] of the frame.
        pose: (..., 4, 4) head to camera; see `FaceTrack`.
        size: (width, height) of the frame in pixels.
    """
    points = to_camera(landmarks, size)
    head = rotation(pose)
    return np.stack([_eye_gaze(points[..., eye, :], head) for eye in EYE_POINTS], axis=-2)


def eye_ball(outer: np.ndarray, inner: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre (..., 3) and radius (..., 1) of the eyeball, from the eye's corners and the head's rotation."""
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


def eye_closed(blendshapes: np.ndarray) -> np.ndarray:
    """Return (..., 2) bool: whether the right and the left eye are closed (blink blendshape above 0.5)."""
    left, right = BLINKS
    return np.asarray(blendshapes)[..., [right, left]] > CLOSED_ABOVE
