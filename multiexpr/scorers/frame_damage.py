"""Damage scorer: noise, block artifacts, interlacing, halos, clipped highlights and letterbox bars of whole frames.

All are measured at the size of the clip, because a resized frame shows neither combs nor blocks nor noise.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from multiexpr.recipe import ScoreDamage
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, rounded, rounded_all, scattered
from multiexpr.scorers.edges import block_means, noise_to_detail

VERSION = "damage-6"
FULL_SIZE = 1 << 16  # more pixels than a side has
BAR_LEVELS = 8  # range of the values of a line of a bar, over the line and over time
BLOCK = 8  # side of the blocks that codecs transform
LINES = 32  # that are compared to find pixelated pictures
FLAT_BLOCK = 16  # side of the blocks in which noise is measured
NOISE_STEP = 3  # distance in pixels at which film grain is independent
QUIET_SHARE = 25  # percentile of blocks, by noise: the flat ones
VISIBLE_NOISE = 2.55  # standard deviation: a peak signal-to-noise ratio of 40 dB
HALO_REACH = 12  # largest distance in pixels of a halo from its edge
HALO_STEP = 12  # smallest difference of two pixels next to an edge
FLAT_REACH, FLAT = 4, 0.05  # pixels beyond the halo, and their largest gradient relative to the edge
CLIPPED_LEVELS = 12, 240  # values beyond these may be clipped
MIN_EDGES = 50
MIN_FLAT = 0.1  # share of flat pixels; clean pictures have 0.2 and more, pictures with visible grain 0.03
FLAT_LEVELS = 2  # largest range of 3 x 3 pixels of a flat part
MAX_LEVEL_SHARE = 0.02
LEVEL_WINDOW = 9  # levels over which a histogram is smooth
OVERSHOOT = 0.05  # relative to the step; a bicubic kernel overshoots by 0.07
MIN_OVERSHOOTS = 20
NARROW = 10  # percentile of the widths of overshoots
KERNEL_FACTOR = 1.75  # enlargement beyond which the halos of a picture are those of the kernel that enlarged it
SOURCE_LINES = (360, 480, 576, 720)  # usual heights of videos that are enlarged
MIN_SCALE, MAX_SCALE = 1 / 3, 0.95
SIZES_TRIED = 2.0  # by which blocks at one of several possible sizes count less than those at the size of the clip
COMB_RATIO, COMB_LEVELS = 2.0, 2.0  # by which lines differ more from their neighbours than from their field


MEASURES = ("noise", "grain", "blockiness", "posterisation", "combing", "halos", "enlargement", "source_px", "clipped")


class DamageScorer:
    """Scorer of damage to whole frames."""

    name = "damage"
    costly = False
    columns = [  # noqa: RUF012
        *((name, pa.float64()) for name in MEASURES),
        ("content_box", pa.list_(pa.float64())),
    ]

    def __init__(self, params: ScoreDamage) -> None:
        self.params = params

    def fingerprint(self) -> Row:  # noqa: D102
        return {"version": VERSION, **asdict(self.params)}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=scattered(facts["length_s"], self.params.num_frames), short_side=FULL_SIZE)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement()


class _Measurement(BufferedMeasurement):
    def compute(self) -> Row:
        box = content_box(self.frames)
        height, width = self.frames[0].shape[:2]
        frames = [crop(frame, box) for frame in self.frames]
        grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        source_sizes = list(at_source_sizes(grays[::3], height))
        edges = [isolated_edges(gray) for gray in grays[::2]]
        factor = float(np.median([enlargement(found) for found in edges]))
        blocks = [median_blockiness(grays), *(median_blockiness(size) / SIZES_TRIED for size in source_sizes)]
        return {
            "noise": rounded(np.median([noise_sd(gray) for gray in grays])),
            "grain": rounded(np.median([grain(gray) for gray in grays[::2]])),
            "blockiness": rounded(max(blocks)),
            "posterisation": rounded(posterisation(grays[::3])),
            "combing": rounded(max(map(largest_combing, [grays, *source_sizes]))),
            "halos": rounded(np.median([halos(found) for found in edges])),
            "enlargement": rounded(factor),
            "source_px": rounded(min(grays[0].shape) / factor),
            "clipped": rounded(np.median([clipped_share(frame) for frame in frames])),
            "content_box": rounded_all(np.array(box) / (width, height, width, height)),
        }


def at_source_sizes(pictures: list[np.ndarray], height: int) -> Iterator[list[np.ndarray]]:
    """Yield pictures at the sizes that they may have had before they were enlarged: combs and blocks are enlarged too.

    Args:
        pictures: (H, W) pictures, perhaps without the bars of the frames.
        height: height of the frames.
    """
    for lines in SOURCE_LINES:
        scale = lines / height
        if MIN_SCALE <= scale <= MAX_SCALE:
            yield [cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for p in pictures]


def content_box(frames: list[np.ndarray]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom in pixels of (H, W, 3) frames without bars; a bar is uniform in all frames."""
    low, high = reduce(cv2.min, frames), reduce(cv2.max, frames)
    channels = list(zip(cv2.split(low), cv2.split(high), strict=True))
    left, right = _without_ends(_largest_ranges(channels, 0) <= BAR_LEVELS)
    top, bottom = _without_ends(_largest_ranges(channels, 1) <= BAR_LEVELS)
    return left, top, right, bottom


def _largest_ranges(channels: list[tuple[np.ndarray, np.ndarray]], axis: int) -> np.ndarray:
    """Return the largest range, over channels (minima, maxima), of each column (`axis` 0) or row (1)."""
    return np.max([high.max(axis) - low.min(axis) for low, high in channels], axis=0)


def _without_ends(uniform: np.ndarray) -> tuple[int, int]:
    """Return start and end without the uniform lines at both ends; all of them if all are uniform."""
    if uniform.all():
        return 0, len(uniform)
    return int(np.argmin(uniform)), len(uniform) - int(np.argmin(uniform[::-1]))


def crop(frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the part of a frame inside a box in pixels."""
    left, top, right, bottom = box
    return frame[top:bottom, left:right]


def without_bars(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Return frames without their letterbox bars."""
    box = content_box(frames) if frames else (0, 0, 0, 0)
    return [crop(frame, box) for frame in frames]


def noise_sd(gray: np.ndarray, step: int = NOISE_STEP) -> float:
    """Return the standard deviation of the noise of an (H, W) uint8 picture, 0 to 255, in its flat blocks.

    The diagonal difference of the corners of a square, divided by 2, has the deviation of noise and is small for edges.
    Blocks with clipped pixels are left out, because clipping hides noise.

    Args:
        gray: (H, W) uint8 picture.
        step: distance of the corners in pixels; 1 finds white noise only, and depends less on texture.
    """
    if min(gray.shape) < FLAT_BLOCK + step:
        return 0.0
    across = cv2.subtract(gray[:, :-step], gray[:, step:], dtype=cv2.CV_16S)
    diagonal = cv2.subtract(across[:-step], across[step:], dtype=cv2.CV_32F) / 2
    deviations = np.sqrt(block_means(diagonal**2, FLAT_BLOCK))
    is_clipped = (cv2.inRange(gray, 5, 250)[:-step, :-step] == 0).astype(np.float32)
    usable = deviations[block_means(is_clipped, FLAT_BLOCK) < 0.05]
    return float(np.percentile(usable if usable.size else deviations, QUIET_SHARE))


def grain(gray: np.ndarray) -> float:
    """Return the noise of an (H, W) uint8 picture relative to its detail; 0 if the noise cannot be seen at all."""
    return noise_to_detail(gray) if noise_sd(gray) > VISIBLE_NOISE else 0.0


@dataclass(frozen=True)
class Edges:
    """N isolated edges of a picture.

    Attributes:
        gradients: (N, 2 R + 1) gradients across the edge, relative to that of the edge itself, in the middle.
        is_usable: (N, 2) bool, whether the values of the two sides, left or upper one first, are not clipped.
    """

    gradients: np.ndarray
    is_usable: np.ndarray


NO_EDGES = Edges(np.zeros((0, 2 * (HALO_REACH + FLAT_REACH) + 1), np.float32), np.zeros((0, 2), bool))


def isolated_edges(gray: np.ndarray) -> Edges:
    """Return the edges of an (H, W) uint8 picture with flat surroundings: texture has lobes as halos have.

    Clipping hides the halo of a side, so edges with clipped values on both sides are left out. A picture with visible
    white noise has none.
    """
    if noise_sd(gray, 1) > VISIBLE_NOISE:
        return NO_EDGES
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    across, down = _edges_across(smooth), _edges_across(cv2.transpose(smooth))
    return Edges(np.concatenate([across.gradients, down.gradients]), np.concatenate([across.is_usable, down.is_usable]))


def _edges_across(values: np.ndarray) -> Edges:
    """Return the edges across the rows of (H, W) values."""
    across, down = values[1:-1, 2:] - values[1:-1, :-2], cv2.absdiff(values[2:], values[:-2])[:, 1:-1]
    reach = HALO_REACH + FLAT_REACH
    if across.shape[1] <= 2 * reach:
        return NO_EDGES
    size = np.abs(across)
    row, column = np.divmod(np.flatnonzero(size > HALO_STEP), size.shape[1])
    is_inside = (column >= reach) & (column < size.shape[1] - reach)
    row, column = row[is_inside], column[is_inside]
    steps, before, after = size[row, column], size[row, column - 1], size[row, column + 1]
    strong = (steps >= before) & (steps > after) & (steps > 2 * down[row, column])
    row, column = row[strong], column[strong]
    places = row[:, None], column[:, None] + np.arange(-reach, reach + 1)
    gradients = across[places] / across[row, column][:, None]
    size = np.abs(gradients)
    is_isolated = (size[:, :FLAT_REACH].max(1, initial=0) < FLAT) & (size[:, -FLAT_REACH:].max(1, initial=0) < FLAT)
    kept = is_isolated & (size.max(1, initial=0) <= 1)  # the edge itself, not one of its lobes
    levels = values[1:-1, 1:-1][places[0][kept], places[1][kept]]
    sides = levels[:, :reach], levels[:, reach + 1 :]
    low, high = CLIPPED_LEVELS
    is_usable = np.stack(
        [(side.min(1, initial=255) >= low) & (side.max(1, initial=0) <= high) for side in sides], axis=1
    )
    return Edges(gradients[kept][is_usable.any(1)], is_usable[is_usable.any(1)])


def halos(edges: Edges) -> float:
    """Return the median strength of the halos of edges, relative to the edges; 0 if there are few edges.

    A sharpened edge overshoots on both sides: the gradient across it changes its sign before and after the edge. An
    edge as a camera records it has no such lobes.
    """
    if len(edges.gradients) < MIN_EDGES:
        return 0.0
    middle = edges.gradients.shape[1] // 2
    left, right = edges.gradients[:, FLAT_REACH:middle], edges.gradients[:, middle + 1 : -FLAT_REACH]
    lobes = -np.stack([left.min(1), right.min(1)], axis=1)
    return max(0.0, float(np.median(np.where(edges.is_usable, lobes, np.inf).min(1))))


def enlargement(edges: Edges) -> float:
    """Return the factor by which a picture was enlarged with a kernel that overshoots, as bicubic and Lanczos; else 1.

    Such a kernel overshoots at one pixel of the smaller picture from an edge. Sharpening raises the overshoot, but
    hardly moves it. The distance between the places where the gradient changes its sign on both sides is 1.25 times
    the factor, plus 2.75 pixels: that of drawn edges after both kernels, with and without sharpening. Soft edges of a
    sharpened picture overshoot as far from the edge, but its sharpest edges do not: the narrowest count.
    """
    gradients, middle = edges.gradients, edges.gradients.shape[1] // 2
    width_left, over_left, inner_left = _overshoot(gradients[:, middle::-1])
    width_right, over_right, inner_right = _overshoot(gradients[:, middle:])
    over = np.where(edges.is_usable, np.stack([over_left, over_right], axis=1), np.inf).min(1)
    overshoots = over > OVERSHOOT * (inner_left + inner_right - 1)
    if overshoots.sum() < max(MIN_OVERSHOOTS, overshoots.size / 3):
        return 1.0
    widths = np.where(edges.is_usable, np.stack([width_left, width_right], axis=1), np.nan)[overshoots]
    return max(1.0, (2 * float(np.percentile(np.nanmean(widths, axis=1), NARROW)) - 2.75) / 1.25)


def are_of_kernel(factor: Any, source_px: Any, min_source_px: float) -> Any:
    """Return whether the halos of pictures are those of the kernel that enlarged them; for numbers, or arrays (N,).

    Args:
        factor: of `enlargement`.
        source_px: short side before it, in pixels.
        min_source_px: smallest short side of a picture that is not too much enlarged.
    """
    return (factor > KERNEL_FACTOR) & (source_px >= min_source_px)


def _overshoot(gradients: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distance, height of the overshoot and height of the step at a side of edges, (N,) each.

    Args:
        gradients: (N, R + 1) from the edge outwards.
    """
    length, place = gradients.shape[1], np.arange(gradients.shape[1])
    is_back = gradients <= 0
    width = np.where(is_back.any(1), is_back.argmax(1), length)[:, None]
    is_second = (place >= width) & (gradients > 0.02)
    end = np.where(is_second.any(1), is_second.argmax(1), length)[:, None]
    height = -np.where((place >= width) & (place < end), gradients, 0).sum(1)
    last = np.clip(width[:, 0], 1, length - 1)
    rows = np.arange(len(gradients))
    before, after = gradients[rows, last - 1], gradients[rows, last]
    crossing = last - 1 + before / np.maximum(before - after, 1e-6)  # between two pixels
    return crossing, height, np.where(place < width, gradients, 0).sum(1)


def posterisation(grays: list[np.ndarray]) -> float:
    """Return how much the levels of the flat parts of (H, W) uint8 pictures differ from a smooth histogram, 0 to 2.

    Shading uses all levels between the darkest and the brightest; a posterised picture has gaps between few levels.
    No level counts more than `MAX_LEVEL_SHARE`, because a background may be uniform. 0 for pictures without flat parts,
    such as noisy ones.
    """
    kernel = np.ones((3, 3), np.uint8)
    flat = [cv2.subtract(cv2.dilate(gray, kernel), cv2.erode(gray, kernel)) <= FLAT_LEVELS for gray in grays]
    counts = sum(np.bincount(gray[is_flat], minlength=256) for gray, is_flat in zip(grays, flat, strict=True))
    if counts.sum() < MIN_FLAT * sum(gray.size for gray in grays):
        return 0.0
    shares = np.minimum(counts / counts.sum(), MAX_LEVEL_SHARE)
    shares /= shares.sum()
    smooth = np.convolve(shares, np.full(LEVEL_WINDOW, 1 / LEVEL_WINDOW), "same")
    return float(np.abs(shares - smooth).sum())


def blockiness(gray: np.ndarray) -> float:
    """Return how much stronger the steps of a picture are every 8 pixels, or at some lines, than elsewhere.

    0 for a picture without blocks. The weaker direction counts. The median over all boundaries of one phase leaves out
    single edges. A pixelated picture, of blocks of up to 22 pixels, has equal lines and steps between them.
    """
    if min(gray.shape) < BLOCK + 3:
        return 0.0
    across, down = cv2.absdiff(gray[:, 1:], gray[:, :-1]).mean(0), cv2.absdiff(gray[1:], gray[:-1]).mean(1)
    return max(min(_periodicity(across), _periodicity(down)), min(_unevenness(across), _unevenness(down)))


def _unevenness(steps: np.ndarray) -> float:
    """Return how much weaker than the mean the median of mean steps between neighbouring lines, (N,), is, 0 to 1.

    Both are those of 32 lines at a time: all lines are even next to each other, but people before a wall are not.
    """
    if len(steps) < LINES:
        return 0.0
    parts = steps[: len(steps) // LINES * LINES].reshape(-1, LINES)
    return 1 - float((np.median(parts, axis=1) + 0.25).sum() / (parts.mean(1) + 0.25).sum())


def median_blockiness(pictures: list[np.ndarray]) -> float:
    """Return the median blockiness of pictures of one clip."""
    return float(np.median([blockiness(picture) for picture in pictures]))


def _periodicity(steps: np.ndarray) -> float:
    """Return how much mean steps between neighbouring lines, (N,), stand out every 8 lines."""
    jumps = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
    phases = np.median(jumps[: len(jumps) // BLOCK * BLOCK].reshape(-1, BLOCK), axis=0)
    return float((phases.max() - np.median(phases)) / (np.median(steps) + 0.25))


def median_picture(pictures: list[np.ndarray]) -> np.ndarray:
    """Return the median over time (H, W) float32 of (H, W) uint8 pictures, without what moves.

    The pictures are sorted pixel by pixel with minima and maxima, ten times as fast as `np.median`.
    """
    ordered = list(pictures)
    middle = (len(ordered) - 1) // 2
    for end in range(len(ordered) - 1, middle - 1, -1):  # each pass puts the next largest at the end
        for i in range(end):
            ordered[i], ordered[i + 1] = cv2.min(ordered[i], ordered[i + 1]), cv2.max(ordered[i], ordered[i + 1])
    return (ordered[middle].astype(np.float32) + ordered[len(ordered) // 2]) / 2


def largest_combing(pictures: list[np.ndarray]) -> float:
    """Return the combing of the worst of (H, W) pictures of one clip."""
    at_rest = median_picture(pictures)
    return max(combing(picture, at_rest) for picture in pictures)


def combing(gray: np.ndarray, at_rest: np.ndarray) -> float:
    """Return the share of 8 x 8 blocks with combs, in which lines are more like their field than their neighbours.

    Fields differ where something moves. A block that differs from the picture at rest by less than half the height of
    its combs shows thin lines of the scene, such as a grille, and does not count.

    Args:
        gray: (H, W) picture.
        at_rest: (H, W) median of pictures of other moments.
    """
    values = gray.astype(np.float32)
    if len(values) < 5:
        return 0.0
    middle = values[2:-2]
    change = block_means(cv2.absdiff(middle, at_rest[2:-2]), BLOCK)
    other = block_means(cv2.absdiff(middle, cv2.addWeighted(values[1:-3], 0.5, values[3:-1], 0.5, 0)), BLOCK)
    own = block_means(cv2.absdiff(middle, cv2.addWeighted(values[:-4], 0.5, values[4:], 0.5, 0)), BLOCK)
    combed = (other > COMB_RATIO * own + COMB_LEVELS) & (change > other / 2)
    return float(np.mean(combed)) if other.size else 0.0


def crushed_share(gray: np.ndarray) -> float:
    """Return the share of pixels of an (H, W) uint8 picture that are 5 or less, in [0, 1]."""
    return float((gray <= 5).mean()) if gray.size else 0.0


def clipped_share(frame: np.ndarray) -> float:
    """Return the share of pixels of an (H, W, 3) uint8 frame of which a channel is 250 or more, in [0, 1]."""
    return float((reduce(cv2.max, cv2.split(frame)) >= 250).mean()) if frame.size else 0.0
