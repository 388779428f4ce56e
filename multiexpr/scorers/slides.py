"""Slides: one picture moves out while another one moves in, both with the same speed.

The shift of a frame relative to the one before it is found by phase correlation. In a slide, the shifts in one
direction add up to a side of the picture within about a second. After a pan, a part of the scene is still there.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

LONG_SIDE = 85  # of the pictures that are compared, in pixels
SLIDE_S = 1.2  # longest slide
QUICK_LEVELS = 8.0  # mean change of colours, 0 to 255, in a step of a slide: all of the picture changes
MIN_STEP = 0.03  # smallest shift, as a share of the side: that of a slide of 2.7 s at 12.5 frames per second
MIN_TOTAL = 0.8  # of a side, below which a shift is a pan


def largest_slide(frames: Sequence[np.ndarray], colours: np.ndarray, fps: float) -> tuple[float, int]:
    """Return how far T (H, W, 3) frames are shifted in one direction at once, as a share of the side, and when.

    It is 0 for a pan, of less than `MIN_TOTAL`.

    Args:
        frames: T frames.
        colours: mean colours (T, cells, 3) of their cells.
        fps: frames per second.
    """
    is_quick = np.abs(np.diff(colours, axis=0)).mean((1, 2)) > QUICK_LEVELS
    shifts = np.zeros((len(is_quick), 2))
    for t in np.flatnonzero(is_quick):
        shifts[t] = _shift(frames[t], frames[t + 1])
    length, best = round(SLIDE_S * fps), (0.0, -1)
    for axis in (0, 1):
        straight = np.where(np.abs(shifts[:, 1 - axis]) < MIN_STEP, shifts[:, axis], 0)
        for way in (straight, -straight):
            steps = np.where(way > MIN_STEP, way, 0)
            ends = np.flatnonzero(np.append(steps, 0) == 0)  # of runs of steps in one direction
            for start, end in pairwise([-1, *ends.tolist()]):
                total = float(steps[start + 1 : end][:length].sum())
                if total >= MIN_TOTAL:
                    best = max(best, (min(total, 1.0), (start + 1 + end) // 2))
    return best


def _shift(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Return the shift between two (H, W, 3) frames to the right and down, as shares of the sides."""
    scale = min(1.0, LONG_SIDE / max(before.shape[:2]))
    size = [max(8, round(side * scale)) for side in before.shape[1::-1]]
    window = cv2.createHanningWindow(size, cv2.CV_32F)
    (across, down), _ = cv2.phaseCorrelate(_small(before, size), _small(after, size), window)
    return across / size[0], down / size[1]


def _small(frame: np.ndarray, size: Sequence[int]) -> np.ndarray:
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
