"""Parametric head: 478 points with MediaPipe's numbering on an analytic surface, moved by blendshapes and posed.

The head's frame is in centimetres: x to the person's left (the viewer's right), y up, z forward, with the origin on the
bridge of the nose at the height of the eyes.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from exprbench.faces.gaze import eye_ball
from exprbench.faces.landmark_groups import EYE_POINTS
from exprbench.toy_benchmark.blendshapes import ALONG, contour_moves
from exprbench.toy_benchmark.mesh import (
    LIPS,
    LOWER_BROW,
    LOWER_LID,
    MIDLINE,
    OVAL,
    UPPER_BROW,
    UPPER_LID,
    WING,
)
from exprbench.toy_benchmark.mesh import spread as spread_over_mesh

PIVOT = np.array([0.0, -3.0, -7.0])  # centre of the head's rotation
ABOVE_OVAL = 0.9  # height of the forehead above MediaPipe's oval
LIMBUS = 0.245  # radius of the iris over the width of the eye
MIRROR = np.array([-1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Proportions:
    """Proportions of a face, in centimetres; `jaw` is an exponent (1.8: pointed, 2.6: square)."""

    width: float = 14.2
    forehead: float = 6.4
    chin: float = 10.3
    jaw: float = 2.05
    eye_width: float = 3.7
    eye_open: float = 1.7
    eye_gap: float = 3.2
    eye_tilt: float = 0.12
    brow_height: float = 2.15
    brow_thickness: float = 0.55
    brow_arch: float = 0.35
    brow_slope: float = 0.1
    nose_length: float = 4.5
    nose_width: float = 3.3
    nose_depth: float = 2.1
    mouth: float = 6.9
    mouth_width: float = 4.9
    lip_top: float = 0.55
    lip_bottom: float = 0.75


def surface(xy: np.ndarray, p: Proportions) -> np.ndarray:
    """Return the depth z (n,) of the face at points (n, 2) of its front view."""
    x, y = np.abs(xy[:, 0]), xy[:, 1]
    side = np.clip(x / (0.53 * p.width), 0, 0.995)
    z = 6.0 * ((1 - side**2.4) ** (1 / 2.4) - 1)
    z -= 0.03 * np.maximum(y - 1.5, 0) ** 2 + 0.05 * np.maximum(-y - 7.5, 0) ** 2
    down = -y / p.nose_length
    ridge = np.interp(down, (-0.1, 0.1, 0.3, 0.66, 0.84, 0.92, 1.0, 1.08), (0.03, 0.1, 0.28, 0.72, 1.0, 0.92, 0.4, 0.1))
    spread = np.interp(down, (0, 0.5, 0.85, 1), (0.5, 0.6, 0.9, 1.0)) * p.nose_width / 3.3
    z += p.nose_depth * ridge * np.exp(-((x / spread) ** 2) / 2)
    eye = (p.eye_gap + p.eye_width) / 2
    z -= 0.5 * np.exp(-(((x - eye) / 1.7) ** 2) - (y / 1.1) ** 2)
    z += 0.5 * np.exp(-((x / 2.4) ** 2) - ((y + p.mouth) / 1.2) ** 2)
    return z + 0.5 * np.exp(-((x / 1.8) ** 2) - ((y + p.chin - 1.2) / 1.2) ** 2)


@lru_cache(maxsize=64)
def shape(p: Proportions) -> tuple[np.ndarray, np.ndarray]:
    """Return neutral points (468, 3) and their displacement by each blendshape at 1 (52, 468, 3), in the head's frame.

    The contours are designed; the points between them are harmonic interpolations.
    """
    contours = _contours(p)
    known = np.array(list(contours))
    xy = spread_over_mesh(known, np.array([contours[i] for i in known]))
    points = np.column_stack([xy, surface(xy, p)])
    moves = spread_over_mesh(known, contour_moves(points)[:, known].transpose(1, 0, 2))
    return points, moves.transpose(1, 0, 2)


def _contours(p: Proportions) -> dict[int, np.ndarray]:
    """Return index -> front view (2,) of every designed point."""
    points = dict(zip(OVAL, _oval(p), strict=True))
    points |= {i: np.array([0, -f * p.nose_length]) for i, f in zip(MIDLINE, MIDLINE_DOWN, strict=True)}
    for side, mirror in enumerate((MIRROR, np.ones(2))):
        for lines, xy in (
            ((UPPER_LID, LOWER_LID), _eye(p)),
            ((UPPER_BROW, LOWER_BROW), _brow(p)),
            ((WING,), [_wing(p)]),
        ):
            for line, part in zip(lines, xy, strict=True):
                points |= dict(zip(line[side], part * mirror, strict=True))
    for line, part in zip(LIPS, _lips(p), strict=True):
        points |= dict(zip(line, part, strict=True))
    return points


MIDLINE_DOWN = (-0.07, 0.11, 0.3, 0.48, 0.66, 0.81, 0.88, 0.94, 0.97, 1.0)  # in lengths of the nose
WING_XY = ((0.28, 0.82), (0.5, 0.78), (0.86, 0.76), (1.0, 0.87), (0.95, 0.96), (0.6, 1.0), (0.26, 1.0))


def _oval(p: Proportions) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    angle += 0.21 * np.sin(angle)  # MediaPipe's oval has more of its points below
    return _outline(p, angle, p.forehead - ABOVE_OVAL)


def _outline(p: Proportions, angle: np.ndarray, top: float) -> np.ndarray:
    """Return the front view (n, 2) of the edge of the face at angles from straight up to the viewer's right."""
    across, up = np.sin(angle), np.cos(angle)
    centre = -1.2
    high = np.where(up > 0, top - centre, p.chin + centre)
    power = np.where(up > 0, 2.3, p.jaw)
    radius = (np.abs(across / (p.width / 2)) ** power + np.abs(up / high) ** power) ** (-1 / power)
    return np.column_stack([radius * across, radius * up + centre])


@lru_cache(maxsize=64)
def forehead(p: Proportions) -> np.ndarray:
    """Return the edge (13, 3) of the forehead under the hair, above MediaPipe's oval, in the head's frame."""
    xy = _outline(p, np.radians(np.linspace(-60, 60, 13)), p.forehead)
    return np.column_stack([xy, surface(xy, p)])


def _eye(p: Proportions) -> tuple[np.ndarray, np.ndarray]:
    s = np.linspace(0, 1, 9)  # from the outer corner
    x = p.eye_gap / 2 + p.eye_width * (1 - s)
    line = p.eye_tilt * (1 - 2 * s)
    upper = line + 0.66 * p.eye_open * np.abs(np.sin(np.pi * s**0.92)) ** 0.75
    lower = line - 0.34 * p.eye_open * np.abs(np.sin(np.pi * s**0.85)) ** 0.85
    upper[[0, -1]] = lower[[0, -1]] = line[[0, -1]]
    return np.column_stack([x, upper]), np.column_stack([x, lower])


def _brow(p: Proportions) -> tuple[np.ndarray, np.ndarray]:
    s = np.linspace(0, 1, 5)
    x = p.eye_gap / 2 - 0.05 + (p.eye_width + 0.35) * (1 - s)
    arch = p.brow_arch * np.array([-0.9, 0.5, 0.9, 0.5, -0.1])
    middle = p.brow_height + arch - p.brow_slope * (2 * s - 1)
    half = p.brow_thickness / 2 * np.array([0.2, 0.7, 1.0, 1.05, 0.75])
    return np.column_stack([x, middle + half]), np.column_stack([x, middle - half])


def _wing(p: Proportions) -> np.ndarray:
    return np.array(WING_XY) * (p.nose_width / 2, -p.nose_length)


def _lips(p: Proportions) -> list[np.ndarray]:
    bow = np.array([0, 0.4, 0.7, 0.95, 1.08, 0.9])
    top = p.lip_top * np.concatenate([bow, bow[-2::-1]])
    bottom = p.lip_bottom * np.cos(np.pi / 2 * np.abs(ALONG) ** 1.5)
    line = -p.mouth + 0.1 * (ALONG**2) * p.lip_top - 0.08 * np.cos(np.pi * ALONG) * (np.abs(ALONG) < 0.6)
    half = p.mouth_width / 2
    rows = []
    for height, width in ((top, 1), (0.03, 0.93), (-0.03, 0.93), (-bottom, 1)):
        rows.append(np.column_stack([half * width * np.sin(np.pi / 2 * ALONG), line + height]))
    rows[3][[0, -1]] = rows[0][[0, -1]]
    return rows


def pose_points(p: Proportions, blendshapes: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return points (..., 468, 3) in the camera's frame, in centimetres from the pivot.

    Args:
        p: proportions of the face.
        blendshapes: (..., 52) in [0, 1].
        rotation: (..., 3, 3) head to camera.
    """
    points, moves = shape(p)
    moved = points + np.tensordot(blendshapes, moves, 1)
    return (moved - PIVOT) @ np.swapaxes(rotation, -1, -2)


def iris_points(mesh: np.ndarray, rotation: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Return iris points (..., 10, 3) of eyes with gaze (..., 3), in the frame and unit of `mesh` (x right, y up)."""
    return np.concatenate(
        [_iris(mesh[..., outer, :], mesh[..., inner, :], rotation, gaze) for outer, inner, _ in EYE_POINTS], -2
    )


def _iris(outer: np.ndarray, inner: np.ndarray, rotation: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    centre_of_eye, radius = eye_ball(outer, inner, rotation)
    width = np.linalg.norm(outer - inner, axis=-1, keepdims=True)
    centre = centre_of_eye + radius * gaze
    right = np.cross(rotation[..., 1], gaze)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    up = np.cross(gaze, right)
    rim = [centre + LIMBUS * width * axis for axis in (right, up, -right, -up)]
    return np.stack([centre, *rim], axis=-2)
