"""Dissolves: one take of a scene is blended into another one, often of the same people before the same background.

Only the people change then, and their mean colours hardly do. But detail in a blend of two pictures follows from both:
halfway, as much of it is lost as the two pictures differ, and what is left is a sum of both. People who move keep their
detail, and their pictures in between are no sums. The energy of the detail, and its products with that of other frames,
show this in one pass.

Optical flow explains where people who move are, and no flow explains a blend. So the frame halfway of the likeliest
dissolve is also compared with both pictures, moved to it, and with their blend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from operator import itemgetter

import cv2
import numpy as np

from multiexpr.scorers.exposure import MAX_EXPOSURE
from multiexpr.scorers.flow import MIN_SIDE, moved, small_pictures, unexplained
from multiexpr.scorers.jumps import halves

GAPS_S = (0.48, 0.64, 0.96, 1.28, 1.6, 1.92)  # times between the two pictures
SIDE = 60  # of a square with the area of the pictures, in pixels: motion during a dissolve is small at this size
DETAIL = 4.0  # width in pixels of what is detail
CELL = 6  # side of a cell in pixels
SAME = 0.5  # correlation from which on two pictures of a cell are the same
MIN_CELLS = 40  # of a picture, for shares of them to be steady
MIN_ENERGY = 1.1  # of the difference of two pictures of a cell, relative to a level
BETWEEN_LEVELS = 6.0  # by which the brightness of a blend is outside of those of both pictures
MIN_MOVING = 0.25  # share of the picture that two people who move take at least
SCALE = 0.92  # to the scale of the other gradual cuts: quick movements of one of three people reach 0.54 without it
BLURRED_SIGMA, MIN_LEVELS = 2.0, 6.0  # in pixels, for the weights of pixels in the comparison; below it, they have none
MIN_WEIGHT = 0.1  # of each of the two pictures in a blend of both, halfway


@dataclass(frozen=True)
class _Detail:
    """Detail of T pictures.

    Attributes:
        values: (T, cells, pixels).
        levels: (T, cells) mean brightness.
        halves: (4, cells) bool, the left, right, upper and lower half of the picture.
    """

    values: np.ndarray
    levels: np.ndarray
    halves: np.ndarray


def largest_dissolve(frames: Sequence[np.ndarray], fps: float) -> tuple[float, int]:
    """Return how much of what moves in T (H, W, 3) frames is blended into something else at once, and when.

    It is `SCALE` times the geometric mean of four shares: the loss of detail relative to that of a blend, the detail
    that the two pictures explain, the changed part of the cells that change during the clip, and `_unlike_motion`. Of
    the whole picture and its halves (left, right, upper, lower), the smallest counts but one for the first three: a
    person may hold a pose in both takes.
    """
    detail = _detail(frames)
    if detail.levels.shape[1] < MIN_CELLS:
        return 0.0, -1
    products = _Products(detail.values)
    gaps = [gap for gap in (2 * round(gap_s * fps / 2) for gap_s in GAPS_S) if gap < len(frames)]
    changed = {gap: _changed(products, gap) for gap in gaps}
    moving = np.any([cells.any(0) for cells in changed.values()], axis=0)
    best, pictures = (0.0, -1), small_pictures(frames)
    for gap in gaps:
        shares = _blended(products, detail, changed[gap], moving, gap)
        start = int(shares.argmax())
        unlike = _unlike_motion(*(pictures[start + part] for part in (0, gap // 2, gap)))
        best = max(best, (SCALE * float(shares[start] * unlike) ** (1 / 4), start + gap // 2), key=itemgetter(0))
    return best


def _unlike_motion(before: np.ndarray, halfway: np.ndarray, after: np.ndarray) -> float:
    """Return the error of either picture, moved to that halfway, relative to that of a blend of both, at most 1.

    Only pixels that change between both pictures count.
    """
    if min(before.shape) < MIN_SIDE:
        return 0.0
    weights = cv2.GaussianBlur(cv2.absdiff(before, after).astype(np.float32), (0, 0), BLURRED_SIGMA)
    weights[weights < MIN_LEVELS] = 0
    by_motion = [unexplained(halfway, moved(picture, halfway)) for picture in (before, after)]
    by_blend = unexplained(halfway, cv2.addWeighted(before, 0.5, after, 0.5, 0))
    errors = [float((weights * error).sum()) for error in (np.minimum(*by_motion), by_blend)]
    return min(1.0, errors[0] / max(errors[1], 1e-6))


def _detail(frames: Sequence[np.ndarray]) -> _Detail:
    height, width = frames[0].shape[:2]
    scale = min(1.0, SIDE / sqrt(height * width))
    size = [max(CELL, round(side * scale)) for side in (width, height)]
    grid = size[0] // CELL, size[1] // CELL
    all_values, all_levels = [], []
    for frame in frames:
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = (small - cv2.GaussianBlur(small, (0, 0), DETAIL))[: grid[1] * CELL, : grid[0] * CELL]
        all_values.append(fine.reshape(grid[1], CELL, grid[0], CELL).swapaxes(1, 2).reshape(-1, CELL * CELL))
        whole = small[: grid[1] * CELL, : grid[0] * CELL]
        all_levels.append(cv2.resize(whole, grid, interpolation=cv2.INTER_AREA).ravel())
    levels = np.stack(all_levels)
    return _Detail(np.stack(all_values) / _exposures(levels)[:, None, None], levels, halves(grid))


def _exposures(levels: np.ndarray) -> np.ndarray:
    """Return the exposure of T frames relative to the usual one, (T,), from the levels (T, cells).

    A change of exposure changes all detail, like a blend. It also changes the contrast between cells, which two takes
    of the same people share.
    """
    contrasts = levels.std(1)
    exposures = contrasts / max(float(np.median(contrasts)), 1e-6)
    return np.clip(exposures, 1 / MAX_EXPOSURE, MAX_EXPOSURE).astype(np.float32)


class _Products:
    """Mean products of the detail of two frames in each cell, computed once for each distance of the frames."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.of_distance: dict[int, np.ndarray] = {}

    def __call__(self, first: int, second: int, gap: int) -> np.ndarray:
        """Return the products of the frames t + first and t + second for all t with a frame t + gap, (T - gap, cells).

        `first` is not larger than `second`.
        """
        distance = second - first
        if distance not in self.of_distance:
            ends = self.values[distance:], self.values[: len(self.values) - distance]
            self.of_distance[distance] = np.einsum("tcp,tcp->tc", *ends) / self.values.shape[2]
        return self.of_distance[distance][first : first + len(self.values) - gap]


def _changed(products: _Products, gap: int) -> np.ndarray:
    """Return the cells with other detail after a gap, (T - gap, cells) bool."""
    energy = (products(0, 0, gap) + products(gap, gap, gap)) / 2
    same = products(0, gap, gap)
    return (same < SAME * energy) & ((energy - same) / 2 > MIN_ENERGY)


def _blended(products: _Products, detail: _Detail, changed: np.ndarray, moving: np.ndarray, gap: int) -> np.ndarray:
    """Return for each frame how much of what moves is blended into the picture after a gap, (T - gap,).

    It is the product of the first three shares of `largest_dissolve`.
    """
    halfway = detail.levels[gap // 2 : gap // 2 + len(changed)]
    ends = detail.levels[: len(changed)], detail.levels[gap:]
    between = (halfway > np.minimum(*ends) - BETWEEN_LEVELS) & (halfway < np.maximum(*ends) + BETWEEN_LEVELS)
    regions = [np.ones_like(moving), *detail.halves]
    shares = [(changed & between)[:, region].mean(1) / max(MIN_MOVING, moving[region].mean()) for region in regions]
    blended = [share * _likeness(products, changed & r, gap) for share, r in zip(shares, regions, strict=True)]
    return np.minimum(blended[0], np.sort(blended[1:], axis=0)[1])


def _likeness(products: _Products, cells: np.ndarray, gap: int) -> np.ndarray:
    """Return how much the frames halfway are like blends of those at both ends of a gap, (T - gap,), in [0, 1].

    It is the loss of detail, relative to that of a blend, times the share of the detail that a sum of both explains.
    """
    half = gap // 2
    aa, bb, mm, ab, am, bm = (
        (products(*pair, gap) * cells).sum(1)
        for pair in ((0, 0), (gap, gap), (half, half), (0, gap), (0, half), (half, gap))
    )
    energy = (aa + bb) / 2
    loss = np.clip((energy - mm) / np.maximum((energy - ab) / 2, 1e-6), 0, 1)
    determinant = np.maximum(aa * bb - ab**2, 1e-6)
    first, second = (am * bb - bm * ab) / determinant, (bm * aa - am * ab) / determinant
    explained = np.clip((first * am + second * bm) / np.maximum(mm, 1e-6), 0, 1)
    return loss * explained * (np.minimum(first, second) > MIN_WEIGHT)
