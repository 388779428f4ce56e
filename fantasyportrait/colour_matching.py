"""Colour of long clips: slow drift away from the first window is removed, frame by frame."""

from collections import deque
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

MAX_GAIN = 2.0


def match_colour(frames: Iterable[np.ndarray], num_frames: int) -> Iterator[np.ndarray]:
    """Yield frames whose mean and spread in CIELAB follow those of the first ones (Reinhard et al., 2001).

    Statistics are averaged over the last `num_frames` frames, so that motion and the flicker of single frames stay. The
    first `num_frames` frames are unchanged.

    Args:
        frames: (H, W, 3) uint8 RGB.
        num_frames: length of a window.
    """
    recent: deque[np.ndarray] = deque(maxlen=num_frames)
    reference = np.zeros((2, 3))
    for t, frame in enumerate(frames):
        lab = to_lab(frame)
        recent.append(np.stack([lab.mean((0, 1)), lab.std((0, 1))]))
        if t < num_frames:
            reference = np.mean(recent, 0)
            yield frame
        else:
            yield _match(lab, np.mean(recent, 0), reference)


def to_lab(frame: np.ndarray) -> np.ndarray:
    """Convert (H, W, 3) uint8 RGB to CIELAB, float32."""
    return cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _match(lab: np.ndarray, statistics: np.ndarray, reference: np.ndarray) -> np.ndarray:
    (mean, spread), (target_mean, target_spread) = statistics, reference
    gain = np.clip(target_spread / np.maximum(spread, 1e-3), 1 / MAX_GAIN, MAX_GAIN)
    matched = ((lab - mean) * gain + target_mean).astype(np.float32)
    return (cv2.cvtColor(matched, cv2.COLOR_LAB2RGB).clip(0, 1) * 255).round().astype(np.uint8)
