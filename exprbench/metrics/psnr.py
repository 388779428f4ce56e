"""PSNR: `10 log10(255^2 / MSE)` over the RGB values of a frame, averaged over frames."""

from collections.abc import Sequence

import cv2
import numpy as np

CAP_DB = 100.0  # the PSNR of identical frames, and the highest of any frame


def squared_error(reference: np.ndarray, predicted: np.ndarray) -> int:
    """Return the exact sum of squared differences of two (H, W, 3) uint8 frames."""
    if reference.shape != predicted.shape or reference.dtype != np.uint8 or predicted.dtype != np.uint8:
        raise ValueError(f"frames of {reference.shape} and {predicted.shape}; expected uint8 and one shape")
    return round(
        cv2.norm(reference, predicted, cv2.NORM_L2SQR)
    )  # cv2 sums integers, but returns a float from a square root


def decibel(total_error: int, num_values: int) -> float:
    """Return the PSNR in dB, at most `CAP_DB`, of a sum of squared differences over `num_values` values."""
    if total_error == 0:
        return CAP_DB
    return min(CAP_DB, float(10 * np.log10(255**2 * num_values / total_error)))


def psnr(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Return the PSNR of one (H, W, 3) uint8 frame in dB."""
    return decibel(squared_error(reference, predicted), reference.size)


def frame_mean(errors: Sequence[float], num_values: int) -> float:
    """Return the mean PSNR over frames in dB, from each frame's `squared_error`; NaN without frames."""
    return float(np.mean([decibel(int(e), num_values) for e in errors])) if len(errors) else float("nan")


def pooled(errors: Sequence[float], num_values: int) -> float:
    """Return the PSNR in dB of the mean squared error of all frames; NaN without frames."""
    return decibel(sum(map(int, errors)), num_values * len(errors)) if len(errors) else float("nan")


def identical_share(errors: Sequence[float], num_values: int) -> float:
    """Return the share of frames that equal the reference; NaN without frames."""
    return float(np.mean(np.asarray(errors) == 0)) if len(errors) else float("nan")
