"""Jump cuts: time is left out of a scene, so that everything that moves is elsewhere in the next frame.

Frames are divided into cells. A cell jumps if it changes in one step more than in twice the time before and after, and
stays changed. Real motion starts and ends over several frames. A step of two frames among steps of one, as in a video
of 15 frames per second stored at 25, is no jump. A step from a repeated frame is divided by its repetitions.

An edit changes everything that moves, and a quick movement that of one person. So a jump counts only if each half of
the picture that moves (left, right, upper, lower) has its part in it.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from multiexpr.scorers.edges import averages
from multiexpr.scorers.exposure import exposure_steps

CELLS = 12  # along the short side of a frame, and twice as many along its long side
SMOOTHING = 1.0  # width in pixels of the blur that removes noise
LONG = 5  # steps between the frames that show whether a cell stays changed
BEFORE = 2  # of these steps, those before the jump
NEIGHBOURS = 3  # number of changes before, and after, that a step is compared with
LEVELS = 1.0  # by which a step exceeds them, 0 to 255
MOVING_LEVELS = 2.0  # largest step of a cell that moves
STILL_LEVELS = 1.0  # largest step of all cells in a repeated frame
LONGEST_REPEAT = 5  # steps; a longer one is a still, and what follows is a cut
MIN_MOVING = 0.02  # share of the cells of a half of the picture that moves
MIN_PART = 0.05  # share of the moving cells of each half that jumps in a jump cut
COLOUR_RATIO, COLOUR_LEVELS = 2.0, 2.0  # the mean colour of a cell jumps by more than its neighbours by these


def grid_size(frame: np.ndarray) -> tuple[int, int]:
    """Return the number of cells of a frame (H, W, ...) from left to right and from top to bottom."""
    height, width = frame.shape[:2]
    return (2 * CELLS, CELLS) if width > height else (CELLS, 2 * CELLS)


def halves(size: tuple[int, int]) -> np.ndarray:
    """Return the left, right, upper and lower half of a grid of cells, (4, cells) bool."""
    x, y = np.tile(np.arange(size[0]), size[1]), np.repeat(np.arange(size[1]), size[0])
    return np.stack([x < size[0] / 2, x >= size[0] / 2, y < size[1] / 2, y >= size[1] / 2])


def largest_jumps(frames: Sequence[np.ndarray], colours: np.ndarray) -> tuple[float, float, int]:
    """Return how much jumps in the largest jump cut of T (H, W, 3) frames, and its frame.

    Args:
        frames: T frames.
        colours: mean colours (T, cells, 3) of their cells.

    Returns:
        the share of cells whose colours jump, the smallest share of moving cells of a half of the picture that jump,
        and the number of the frame after the larger one. The latter is 0 if a half does not move, and -1 its frame.
    """
    if len(frames) <= LONG:
        return 0.0, 0.0, -1
    pictures = _smooth_pictures(frames)
    steps, double, stays = (_changes(pictures, n) for n in (1, 2, LONG))
    colour_steps = np.abs(np.diff(colours, axis=0)).mean(-1)
    moves = halves(grid_size(frames[0])) & (steps.max(0) > MOVING_LEVELS)
    moves = moves[moves.sum(1) > MIN_MOVING * moves.shape[1] / 2]
    repeats, is_exposure = _repeats(steps), exposure_steps(colours)
    shares = [(0.0, 0.0, -1)]
    for t in range(NEIGHBOURS + 1, len(steps) - NEIGHBOURS - 1):
        stayed = stays[t - BEFORE] > steps[t] / 2
        jumped = stayed & (steps[t] / repeats[t] > _neighbours(double, t, 2) + LEVELS)
        parts = (moves & jumped).sum(1) / moves.sum(1)
        if len(parts) and parts.min() >= MIN_PART and not is_exposure[t]:
            limit = COLOUR_RATIO * _neighbours(colour_steps, t, 1) + COLOUR_LEVELS
            share = float((stayed & (colour_steps[t] / repeats[t] > limit)).mean())
            shares.append((share, float(parts.min()) if len(parts) == 4 else 0.0, t + 1))
    return max(s[0] for s in shares), max(s[1] for s in shares), max(shares, key=lambda s: max(s[:2]))[2]


def _smooth_pictures(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return smoothed gray pictures (H, W) float32 of frames, without changes of brightness that most pixels share."""
    grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    pictures = [cv2.GaussianBlur(gray, (5, 5), SMOOTHING).astype(np.float32) for gray in grays]
    steps = [float(np.median((after - before)[::4, ::4])) for before, after in pairwise(pictures)]
    for picture, brightness in zip(pictures, np.cumsum([0.0, *steps]).tolist(), strict=True):
        np.subtract(picture, brightness, out=picture)
    return pictures


def _changes(pictures: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """Return how much cells of pictures change over a number of steps, (T - steps, cells): means over their pixels."""
    grid = grid_size(pictures[0])
    rows, columns = (averages(length, cells) for length, cells in zip(pictures[0].shape, grid[::-1], strict=True))
    pairs = zip(pictures[:-steps], pictures[steps:], strict=True)
    return np.stack([(rows @ cv2.absdiff(before, after) @ columns.T).ravel() for before, after in pairs])


def _repeats(steps: np.ndarray) -> np.ndarray:
    """Return, for each of the steps of cells (T - 1, cells), for how many steps the frame before it was shown."""
    repeats = np.ones(len(steps))
    still = steps.max(1) < STILL_LEVELS
    for t in range(1, len(steps)):
        if still[t - 1] and repeats[t - 1] < LONGEST_REPEAT:
            repeats[t] = repeats[t - 1] + 1
    return repeats


def _neighbours(changes: np.ndarray, step: int, length: int) -> np.ndarray:
    """Return the largest changes of cells near a step that do not include it, (cells,).

    Args:
        changes: of cells over `length` steps each, (N, cells).
        step: number of the step.
        length: steps of a change.
    """
    end = step + 1 - length
    return np.maximum(changes[end - NEIGHBOURS : end].max(0), changes[step + 1 : step + 1 + NEIGHBOURS].max(0))
