"""Blur of pictures by a model of their edges, which contrast, noise and sharpening hardly change.

A step edge that is blurred with a Gaussian of width sigma has the gradient energy A / sqrt(sigma^2 + s^2) after another
blur of width s, and white noise has B / s^4. A picture is taken as a sum of both. Its gradient energies at several s
give sigma: contrast changes only A, and noise only B. Sharpening makes edges steeper, but not as steep as those of a
sharp picture.
"""

from functools import cache

import cv2
import numpy as np

SCALES = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # widths s in pixels
SIGMAS = np.geomspace(0.2, 12, 60)  # candidate widths of the blur in pixels
SHARP_SIGMA = 0.35  # width in pixels of the steepest edge that pixels can show: 0.89 pixels from 10 to 90 %
IMPULSE_LEVELS = 60  # difference of an impulse from the median around it, 0 to 255: five times the limit of `noisy`
IMPULSE_RATIO = 7.4  # to the median of these differences: 5 standard deviations of Gaussian noise
MIN_IMPULSES = 0.01  # share of the pixels of a picture with impulse noise; thin lines of a clean one reach 0.002
IMPULSE_SIDE = 5  # side of the median that removes impulses: codecs spread them over their neighbours


def gradient_energies(gray: np.ndarray) -> list[np.ndarray]:
    """Return the squared gradient of an (H, W) picture after a blur of each of `SCALES`, (H - 2, W - 2) each."""
    energies = []
    for scale in SCALES:
        side = 2 * int(np.ceil(4 * scale)) + 1
        blurred = cv2.GaussianBlur(gray.astype(np.float32), (side, side), scale, borderType=cv2.BORDER_REFLECT_101)
        across, down = blurred[1:-1, 2:] - blurred[1:-1, :-2], blurred[2:, 1:-1] - blurred[:-2, 1:-1]
        energies.append((across**2 + down**2) / 4)
    return energies


@cache
def _noise_energies() -> np.ndarray:
    """Return the mean energies of white noise of variance 1, (S,)."""
    noise = np.random.default_rng(0).normal(size=(512, 512))
    return np.array([energy.mean() for energy in gradient_energies(noise)])


def fit_blur(energies: np.ndarray) -> np.ndarray:
    """Return the width of the blur in pixels, (N,), from the mean gradient energies (N, S) of N pictures or regions."""
    return _fit(energies)[0]


def _fit(energies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the width of the blur in pixels, the strength of the edges and the variance of the noise, (N,) each."""
    weights = 1 / np.maximum(energies, 1e-9)  # relative errors
    edges = weights / np.sqrt(SIGMAS[:, None, None] ** 2 + np.square(SCALES))  # for each width, (K, N, S)
    noise = weights * _noise_energies()
    ee, nn, en = (edges**2).sum(-1), (noise**2).sum(-1), (edges * noise).sum(-1)
    determinant = np.maximum(ee * nn - en**2, 1e-30)
    amount = np.maximum((ee * noise.sum(-1) - en * edges.sum(-1)) / determinant, 0)  # of noise
    strength = np.maximum((edges.sum(-1) - amount * en) / ee, 0)  # of edges
    errors = ((strength[..., None] * edges + amount[..., None] * noise - 1) ** 2).sum(-1)
    best = np.argmin(errors, axis=0), np.arange(errors.shape[1])
    return SIGMAS[best[0]], strength[best], amount[best]


def without_impulses(picture: np.ndarray) -> np.ndarray:
    """Return an (H, W) or (H, W, 3) uint8 picture without impulse noise (salt and pepper), which is not Gaussian.

    A picture without impulse noise is returned as it is, because a median takes detail from it.
    """
    differences = cv2.absdiff(picture, cv2.medianBlur(picture, 3))
    limit = max(IMPULSE_LEVELS, IMPULSE_RATIO * float(np.median(differences[::4, ::4])))
    if (differences > limit).mean() < MIN_IMPULSES:
        return picture
    return cv2.medianBlur(picture, IMPULSE_SIDE)


def effective_side(gray: np.ndarray) -> float:
    """Return the side in pixels of a sharp picture with as much detail as an (H, W) uint8 picture.

    It is at most the short side. For example, a face of 40 pixels that is enlarged to 400 has one of about 40.
    """
    energies = np.array([[energy.mean() for energy in gradient_energies(gray)]])
    return min(gray.shape) * min(1.0, SHARP_SIGMA / float(fit_blur(energies)[0]))


def sharpest_side(gray: np.ndarray, cells: int = 4, share: float = 0.2) -> float:
    """Return the effective side of a picture by its sharpest regions: the background of a portrait may be soft.

    Args:
        gray: (H, W) uint8 picture.
        cells: the picture is divided into cells x cells regions.
        share: share of the regions that are at least this sharp; only the half with the strongest edges is considered.
    """
    sigma = np.quantile(fit_blur(_strongest_regions(gray, cells)), share)
    return min(gray.shape) * min(1.0, SHARP_SIGMA / float(sigma))


@cache
def averages(length: int, cells: int) -> np.ndarray:
    """Return the weights (cells, length) of means over equal parts; `cv2.resize` itself is slow for uneven parts."""
    return cv2.resize(np.eye(length, dtype=np.float32), (length, cells), interpolation=cv2.INTER_AREA)


def _strongest_regions(gray: np.ndarray, cells: int) -> np.ndarray:
    """Return the mean gradient energies (N, S) of the half of cells x cells regions with the strongest edges."""
    rows, columns = (averages(length - 2, cells) for length in gray.shape)
    maps = [rows @ energy @ columns.T for energy in gradient_energies(gray)]
    energies = np.stack(maps, axis=-1).reshape(-1, len(SCALES)).astype(np.float64)
    return energies[np.argsort(energies[:, -1])[len(energies) // 2 :]]


def noise_to_detail(gray: np.ndarray, cells: int = 4, share: float = 0.2) -> float:
    """Return the gradient energy of noise relative to that of edges, at the finest scale, in the sharpest regions.

    Detail masks noise. Above 1, noise hides the finest detail even where the picture is sharpest. See `sharpest_side`.
    """
    sigma, strength, amount = _fit(_strongest_regions(gray, cells))
    detail = strength / np.sqrt(sigma**2 + SCALES[0] ** 2)
    return float(np.quantile(amount * _noise_energies()[0] / np.maximum(detail, 1e-9), share))
