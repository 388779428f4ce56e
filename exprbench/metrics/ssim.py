"""SSIM (Wang et al. 2004): 11x11 Gaussian of sigma 1.5, K = (0.01, 0.03), L = 255, population covariance, averaged over
the channels of RGB and over the pixels whose window is inside the frame.

With s = x + y and d = x - y of two images, and bars for Gaussian means, 4 Cov(x, y) = Var s - Var d, and
    SSIM = (s_bar^2 - d_bar^2 + 2 C1) (Var s - Var d + 2 C2) / ((s_bar^2 + d_bar^2 + 2 C1) (Var s + Var d + 2 C2))
needs four filters instead of the five of the textbook form. They run in single precision on s and d minus a constant
each, so that large flat areas are near zero, where rounding errors are small. If a sample of the pixels shows that the
errors could still matter, and for small frames, the filters run in double precision.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from exprbench.metrics.errors import MetricError

SIGMA, RADIUS = 1.5, 5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
BAND_VALUES = 400_000  # values of a frame processed at a time: bounds memory and fits into the CPU cache
SMALL = 128
STRIDE = 16  # of the sample
# Measured error of single-precision filters on a constant c, relative to c^2, and on noise around it. Errors of
# different levels differ in sign, so their squares are added. On 190 pairs of frames (filmed, drawn, and synthetic
# hard cases) the true error was at most five times this estimate.
BIAS_FLAT, BIAS_NOISE = 3e-7, 4e-8
MAX_BIAS = 1.6e-7
LEVELS_PER_BIN = 8


def _gaussian() -> np.ndarray:
    offsets = np.arange(-RADIUS, RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return weights / weights.sum()


def _to_single(kernel: np.ndarray) -> np.ndarray:
    """Return the kernel in single precision with a sum of exactly 1; the outermost weights absorb the difference."""
    single = kernel.astype(np.float32)
    difference = np.float32((1 - single.astype(np.float64).sum()) / 2)
    single[[0, -1]] += difference
    return single


KERNEL = _gaussian()
KERNEL_SINGLE = _to_single(KERNEL)
_thread_buffers = threading.local()


def ssim(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Return the SSIM of one (H, W, 3) uint8 frame, of at least 11 pixels per side.

    Raises:
        MetricError: `frame_too_small`.
    """
    if reference.shape != predicted.shape or reference.dtype != np.uint8 or predicted.dtype != np.uint8:
        raise ValueError(f"frames of {reference.shape} and {predicted.shape}; expected uint8 and one shape")
    height, width = reference.shape[:2]
    if min(height, width) <= 2 * RADIUS:
        raise MetricError("frame_too_small", f"{width}x{height} pixels; SSIM needs 11x11")
    if np.array_equal(reference, predicted):
        return 1.0
    shift = _shift(reference, predicted) if min(height, width) >= SMALL else None
    real, shift = (np.float64, (0, 0)) if shift is None else (np.float32, shift)
    total = sum(_band(r, p, shift, real) for r, p in _bands(reference, predicted))
    return total / ((height - 2 * RADIUS) * (width - 2 * RADIUS) * 3)


def frame_mean(values: Sequence[float], num_values: int) -> float:
    """Return the mean SSIM over frames; NaN without frames."""
    return float(np.mean(values)) if len(values) else float("nan")


def _bands(reference: np.ndarray, predicted: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return both frames in horizontal bands that overlap by a window."""
    height, width = reference.shape[:2]
    rows = max(1, BAND_VALUES // (3 * width))
    starts = range(0, height - 2 * RADIUS, rows)
    return [(reference[y : y + rows + 2 * RADIUS], predicted[y : y + rows + 2 * RADIUS]) for y in starts]


def _shift(reference: np.ndarray, predicted: np.ndarray) -> tuple[int, int] | None:
    """Return the constants subtracted from s and d, None if single precision could be wrong in the sixth digit."""
    (x, x_right, x_below), (y, y_right, y_below) = _sample(reference), _sample(predicted)
    s, d = x + y, x - y
    var_s = ((s - x_right - y_right) ** 2 + (s - x_below - y_below) ** 2) / 4
    var_d = ((d - x_right + y_right) ** 2 + (d - x_below + y_below) ** 2) / 4
    contrast = var_s + var_d
    bias = np.where(contrast == 0, BIAS_FLAT, BIAS_NOISE) / (contrast + 2 * C2) ** 2
    bias *= 2 - 4 * d * d / (s * s + d * d + 2 * C1)
    shift_s, shift_d = int(np.median(s)), int(np.median(d))
    error_s = _sum_of_levels(s, shift_s, bias * var_d)
    error_d, shift_d = min((_sum_of_levels(d, c, bias * (var_s + 2 * C2)), c) for c in (0, shift_d))
    return (shift_s, shift_d) if error_s + error_d < MAX_BIAS else None


def _sample(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every 16th pixel of every 16th row, its right and its lower neighbours, each as a float32 vector."""
    last_row, last_column = len(frame) - 1, frame.shape[1] - 1
    parts = (
        frame[:last_row:STRIDE, :last_column:STRIDE],
        frame[:last_row:STRIDE, 1::STRIDE],
        frame[1::STRIDE, :last_column:STRIDE],
    )
    return tuple(part.astype(np.float32).ravel() for part in parts)  # type: ignore[return-value]


def _sum_of_levels(levels: np.ndarray, shift: int, weights: np.ndarray) -> float:
    """Return sqrt(sum over levels of (sum of weights * (level - shift)^2)^2) / number of pixels."""
    bins = ((levels + 512) / LEVELS_PER_BIN).astype(np.intp)
    return float(np.linalg.norm(np.bincount(bins, weights=weights * (levels - shift) ** 2))) / len(levels)


@dataclass(frozen=True)
class _Buffers:
    """Arrays that are reused between frames; allocating them takes as long as the filters."""

    whole: np.ndarray  # (2, rows, 3 * width) int16
    real: np.ndarray  # (5, rows, 3 * width) float32 or float64


def _buffers(rows: int, row_values: int, real: type) -> _Buffers:
    """Return this thread's buffers for bands of `rows` rows."""
    buffers = getattr(_thread_buffers, real.__name__, None)
    if buffers is None or buffers.whole.shape[1] < rows or buffers.whole.shape[2] != row_values:
        buffers = _Buffers(np.empty((2, rows, row_values), np.int16), np.empty((5, rows, row_values), real))
        setattr(_thread_buffers, real.__name__, buffers)
    return _Buffers(buffers.whole[:, :rows], buffers.real[:, :rows])


def _filter(source: np.ndarray, into: np.ndarray, add: float = 0.0) -> None:
    shape = (len(source), -1, 3)
    kernel, depth = (KERNEL_SINGLE, cv2.CV_32F) if into.dtype == np.float32 else (KERNEL, cv2.CV_64F)
    cv2.sepFilter2D(source.reshape(shape), depth, kernel, kernel, dst=into.reshape(shape), delta=add)


def _band(reference: np.ndarray, predicted: np.ndarray, shift: tuple[int, int], real: type) -> float:
    """Return the sum of SSIM over a band's inner pixels and channels."""
    rows, width, _ = reference.shape
    buffers = _buffers(rows, 3 * width, real)
    s, d = buffers.whole
    s_bar, d_bar, var_s, var_d, spare = buffers.real
    np.copyto(s, reference.reshape(rows, -1))
    np.copyto(d, predicted.reshape(rows, -1))
    s += d
    d += d
    np.subtract(s, d, out=d)
    _mean_and_variance(s, shift[0], s_bar, var_s, spare, add=2 * C2)
    _mean_and_variance(d, shift[1], d_bar, var_d, spare)
    return _sum_similarity(s_bar, d_bar, var_s, var_d, spare)


def _mean_and_variance(
    image: np.ndarray, shift: int, mean: np.ndarray, variance: np.ndarray, spare: np.ndarray, add: float = 0.0
) -> None:
    """Compute the local mean, and the variance plus `add`, of an image minus a constant; overwrites the image."""
    if shift:
        image -= np.int16(shift)
    _filter(image, mean)
    np.copyto(spare, image)
    spare *= spare
    _filter(spare, variance, add)
    np.multiply(mean, mean, out=spare)
    variance -= spare
    if shift:
        mean += mean.dtype.type(shift)


def _sum_similarity(
    s_bar: np.ndarray, d_bar: np.ndarray, var_s: np.ndarray, var_d: np.ndarray, spare: np.ndarray
) -> float:
    """Return the sum of the formula above over the inner part; `var_s` includes 2 C2; all arrays are overwritten."""
    s_bar *= s_bar
    s_bar += s_bar.dtype.type(2 * C1)
    d_bar *= d_bar
    np.add(s_bar, d_bar, out=spare)
    s_bar -= d_bar
    np.add(var_s, var_d, out=d_bar)
    var_s -= var_d
    s_bar *= var_s
    spare *= d_bar
    s_bar /= spare
    inner = s_bar.reshape(len(s_bar), -1, 3)[RADIUS:-RADIUS, RADIUS:-RADIUS]
    return sum(cv2.sumElems(inner)[:3])
