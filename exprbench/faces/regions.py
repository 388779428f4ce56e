"""Regions that MediaPipe's graph cuts out around faces: rotated rectangles, their warps and projections.

Coordinates are MediaPipe's: pixels of a picture, counted from the centre of the first one.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from exprbench.faces.landmark_groups import OUTER_EYE_CORNERS

EXPANSION = 1.5  # of a detection's box to the region of its landmarks


@dataclass(frozen=True, kw_only=True)
class Region:
    """Rectangle in pixels of a picture, turned by `rotation` radians around its centre."""

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0

    def to_picture(self) -> np.ndarray:
        """Return the matrix (2, 3) from [0, 1] of the region to pixels of the picture."""
        cos, sin = float(np.cos(self.rotation)), float(np.sin(self.rotation))
        linear = np.array([[cos * self.width, -sin * self.height], [sin * self.width, cos * self.height]])
        return np.column_stack([linear, np.array([self.x, self.y]) - linear.sum(1) / 2])


def letterbox(picture: np.ndarray) -> Region:
    """Return the smallest square region that contains a picture."""
    height, width = picture.shape[:2]
    side = max(width, height)
    return Region(x=0.5 * width, y=0.5 * height, width=side, height=side)


def detection_region(detection: np.ndarray) -> Region:
    """Return the region for the landmarks of a face that was detected.

    Args:
        detection: (16,) box x0, y0, x1, y1 and six points x, y in pixels; the first two points are the eyes.
    """
    return _expanded(detection[:2], detection[2:4], detection[4:6], detection[6:8])


def landmark_region(points: np.ndarray) -> Region:
    """Return the region for the landmarks of a face in the next frame, from its landmarks (478, 3) in pixels."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    centre, reach = (low + high) / 2, (high - low).max() / 2
    right, left = points[list(OUTER_EYE_CORNERS), :2]
    return _expanded(centre - reach, centre + reach, right, left)


def _expanded(low: np.ndarray, high: np.ndarray, right_eye: np.ndarray, left_eye: np.ndarray) -> Region:
    """Return the region 1.5 times the size of a box, turned so that the eyes are level."""
    (x, y), (width, height) = (low + high) / 2, EXPANSION * (high - low)
    across, down = left_eye - right_eye
    return Region(x=x, y=y, width=width, height=height, rotation=float(np.arctan2(down, across)))


def cut(picture: np.ndarray, region: Region, side: int, border: int) -> np.ndarray:
    """Return a region of a picture as a square (side, side, 3) uint8.

    MediaPipe's OpenCV rounds positions to 1/32 pixel, as `remap` does with fixed-point maps. The more exact
    `warpPerspective` of OpenCV 5 moves landmarks by up to 0.5 pixels.

    Args:
        picture: (H, W, 3) uint8 RGB.
        region: rectangle to cut out.
        side: side in pixels of the result.
        border: OpenCV's border mode beyond the picture.
    """
    matrix = region.to_picture()
    steps = np.arange(side) / side
    across, down = matrix[:, :1] * steps, matrix[:, 1:2] * steps + matrix[:, 2:]
    x, y = (np.add.outer(*pair) for pair in zip(down.astype(np.float32), across.astype(np.float32), strict=True))
    return cv2.remap(picture, *cv2.convertMaps(x, y, cv2.CV_16SC2), cv2.INTER_LINEAR, borderMode=border)


def project(points: np.ndarray, region: Region) -> np.ndarray:
    """Return points (N, 2) or (N, 3), in [0, 1] of a region, in pixels; depth is scaled as the width."""
    matrix = region.to_picture()
    projected = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([projected, points[:, 2:] * region.width], axis=1)
