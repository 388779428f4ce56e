"""L1: mean absolute difference of the RGB values of a frame, averaged over frames."""

from collections.abc import Sequence

import cv2
import numpy as np


def absolute_error(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean absolute difference, in [0, 255], of two (H, W, 3) uint8 frames."""
    return cv2.norm(reference, predicted, cv2.NORM_L1) / reference.size


def frame_mean(errors: Sequence[float], num_values: int) -> float:
    """Return the mean over frames of `absolute_error`; NaN without frames."""
    del num_values  # the number of values in a frame; an error is a mean over them already
    return float(np.mean(errors)) if len(errors) else float("nan")
