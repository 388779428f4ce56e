"""Blur of pictures by a model of their gradients, which contrast, noise and sharpening hardly change.

The gradient energy of a picture after a blur of width s falls as s^-p: p is 1 for edges and larger for lines and spots.
A picture that is blurred with a Gaussian of width sigma has the energy A (sigma^2 + s^2)^(-p/2), because the widths of
two blurs add up in squares. Its energies at several s give sigma, whatever its contrast A and its structure p are.
Noise is everywhere: its energies are those of the flattest parts of the picture, and are subtracted.
"""

from functools import cache

import cv2
import numpy as np

SCALES = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # widths s in pixels
SIGMAS = np.geomspace(0.2, 12, 60)  # candidate widths of the blur in pixels
POWERS = np.linspace(0.8, 2.4, 17)  # candidate values of p
SHARP_SIGMA = 0.57  # width in pixels that is found in faces of 32 pixels, the smallest whose features can be seen
BLOCK = 16  # side of the blocks of which the flattest are noise
QUIET_SHARE = 0.25  # of the blocks
NOISE_RANGE = 2.0  # energy of noise in a block, relative to that in the flattest blocks
MIN_DETAIL = 0.02  # share of the energy that is not noise
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
def _curves() -> tuple[np.ndarray, np.ndarray]:
    """Return the sigma of K candidates, (K,), and the logarithms of their energies, (K, S)."""
    sigma, power = (values.ravel() for values in np.meshgrid(SIGMAS, POWERS))
    return sigma, -power[:, None] / 2 * np.log(sigma[:, None] ** 2 + np.square(SCALES))


def fit_blur(energies: np.ndarray, noise: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the width of the blur in pixels, (N,), of N pictures or regions.

    The logarithm of what noise leaves of an energy has an error of about energy / (energy - noise), which gives the
    weights of the fit.

    Args:
        energies: (N, S) mean gradient energies.
        noise: (S,) those of noise.
    """
    energies = np.maximum(energies, 1e-9)
    detail = np.maximum(energies - noise, MIN_DETAIL * energies)
    logs, weights = np.log(detail), (detail / energies) ** 2
    weights /= weights.sum(1, keepdims=True)
    sigma, curves = _curves()
    means = (weights * logs).sum(1, keepdims=True) - weights @ curves.T  # of the differences, for the unknown contrast
    squares = weights @ (curves**2).T - 2 * (weights * logs) @ curves.T + (weights * logs**2).sum(1, keepdims=True)
    return sigma[(squares - means**2).argmin(1)]


def block_means(values: np.ndarray, side: int) -> np.ndarray:
    """Return the means of the whole side x side blocks of (H, W) float32 values."""
    height, width = (length // side for length in values.shape)
    if not (height and width):
        return np.zeros((height, width), np.float32)
    return cv2.resize(values[: height * side, : width * side], (width, height), interpolation=cv2.INTER_AREA)


def _noise_energies(maps: list[np.ndarray]) -> np.ndarray:
    """Return the energies of noise, (S,). 0 for a picture of fewer than 8 blocks.

    Noise has averaged out at the coarsest scale, so that flat blocks are found there. Hair is flat there too, but noise
    is about as strong in all blocks: its energy is limited by that of the blocks that are flattest at the finest scale.
    """
    blocks = np.stack([block_means(energy, BLOCK).ravel() for energy in maps], axis=-1).astype(np.float64)
    if len(blocks) < 8:
        return np.zeros(len(SCALES))
    ranks = np.argsort(blocks[:, [0, -1]], axis=0)[: int(len(blocks) * QUIET_SHARE)]
    finest, coarsest = blocks[ranks[:, 0]].mean(0), blocks[ranks[:, 1]].mean(0)
    return np.minimum(coarsest, NOISE_RANGE * finest)


def without_impulses(picture: np.ndarray) -> np.ndarray:
    """Return an (H, W) or (H, W, 3) uint8 picture without impulse noise (salt and pepper), which is not Gaussian.

    A picture without impulse noise is returned as it is, because a median takes detail from it.
    """
    differences = cv2.absdiff(picture, cv2.medianBlur(picture, 3))
    limit = max(IMPULSE_LEVELS, IMPULSE_RATIO * float(np.median(differences[::4, ::4])))
    if (differences > limit).mean() < MIN_IMPULSES:
        return picture
    return cv2.medianBlur(picture, IMPULSE_SIDE)


def _effective(side: int, sigma: float) -> float:
    return side * min(1.0, SHARP_SIGMA / sigma)


def effective_side(gray: np.ndarray) -> float:
    """Return the side in pixels of a sharp picture with as much detail as an (H, W) uint8 picture.

    It is at most the short side. For example, a face of 32 pixels that is enlarged to 128 has one of about 32.
    """
    maps = gradient_energies(gray)
    energies = np.array([[energy.mean() for energy in maps]], np.float64)
    return _effective(min(gray.shape), float(fit_blur(energies, _noise_energies(maps))[0]))


def sharpest_side(gray: np.ndarray, cells: int = 4, share: float = 0.2) -> float:
    """Return the effective side of a picture by its sharpest regions: the background of a portrait may be soft.

    Args:
        gray: (H, W) uint8 picture.
        cells: the picture is divided into cells x cells regions.
        share: share of the regions that are at least this sharp; only the half with the strongest edges is considered.
    """
    maps = gradient_energies(gray)
    sigmas = fit_blur(_strongest_regions(maps, cells), _noise_energies(maps))
    return _effective(min(gray.shape), float(np.quantile(sigmas, share)))


@cache
def averages(length: int, cells: int) -> np.ndarray:
    """Return the weights (cells, length) of means over equal parts; `cv2.resize` itself is slow for uneven parts."""
    return cv2.resize(np.eye(length, dtype=np.float32), (length, cells), interpolation=cv2.INTER_AREA)


def _strongest_regions(maps: list[np.ndarray], cells: int) -> np.ndarray:
    """Return the mean gradient energies (N, S) of the half of cells x cells regions with the strongest edges."""
    rows, columns = (averages(length, cells) for length in maps[0].shape)
    energies = np.stack([rows @ energy @ columns.T for energy in maps], axis=-1)
    energies = energies.reshape(-1, len(SCALES)).astype(np.float64)
    return energies[np.argsort(energies[:, -1])[len(energies) // 2 :]]


def noise_to_detail(gray: np.ndarray, cells: int = 4, share: float = 0.2) -> float:
    """Return the gradient energy of noise relative to that of detail, at the finest scale, in the sharpest regions.

    Detail masks noise. See `sharpest_side`.
    """
    maps = gradient_energies(gray)
    energies, noise = _strongest_regions(maps, cells)[:, 0], _noise_energies(maps)[0]
    return float(np.quantile(noise / np.maximum(energies - noise, MIN_DETAIL * energies + 1e-9), share))
