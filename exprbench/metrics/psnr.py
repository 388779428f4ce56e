"""PSNR: `10 log10(255^2 / MSE)` over the RGB values of a frame, averaged over frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

CAP_DB = 100.0  # what identical frames score, and the most any frame can


def squared_error(reference: np.ndarray, predicted: np.ndarray) -> int:
    """Sum of squared differences of two (H, W, 3) uint8 frames, exact."""
    if reference.shape != predicted.shape or reference.dtype != np.uint8 or predicted.dtype != np.uint8:
        raise ValueError(f"frames of {reference.shape} and {predicted.shape}; expected uint8 and one shape")
    return round(cv2.norm(reference, predicted, cv2.NORM_L2SQR))  # summed as integers, but it goes through a root


def decibel(total_error: int, num_values: int) -> float:
    """PSNR of a sum of squared differences over so many values, at most `CAP_DB`."""
    if total_error == 0:
        return CAP_DB
    return min(CAP_DB, float(10 * np.log10(255**2 * num_values / total_error)))


def psnr(reference: np.ndarray, predicted: np.ndarray) -> float:
    """PSNR of one frame in dB; (H, W, 3) uint8."""
    return decibel(squared_error(reference, predicted), reference.size)


@dataclass(frozen=True)
class VideoPsnr:
    """PSNR of a video: the mean over its frames, that of its pooled error, and the share of identical frames."""

    frame_mean: float
    pooled: float
    identical_share: float


def video_psnr(errors: Sequence[int], num_values: int) -> VideoPsnr:
    """From each frame's `squared_error` and the number of values in a frame; NaN where there are no frames."""
    if len(errors) == 0:
        return VideoPsnr(float("nan"), float("nan"), float("nan"))
    return VideoPsnr(
        frame_mean=float(np.mean([decibel(e, num_values) for e in errors])),
        pooled=decibel(sum(errors), num_values * len(errors)),
        identical_share=float(np.mean(np.asarray(errors) == 0)),
    )
