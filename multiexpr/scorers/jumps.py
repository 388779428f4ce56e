"""Jump cuts: time is left out of a scene, so that what moves is elsewhere in the next frame.

An edit lasts one frame, however fast the frames are; a quick movement spans several. So all frames of a clip are
compared, up to 30 per second. Dense optical flow explains most of a movement, of a camera as well, but not that a face
has another pose and expression from one frame to the next. What flow and a change of exposure leave unexplained is
averaged over cells. A cell jumps if much more is left in one step than in all steps of a third of a second before and
after, and if it stays changed, in contrast to a flash.

Repeated frames are left out: a video of 15 frames per second that is stored at 25 has them between steps of equal size.
A step after more repeats than usual, as in a recording that stalls, is divided by their number. If nothing moves before
and after a step, one still follows another.

An edit changes everything that moves, and a quick movement that of one person. So each half of the picture (left,
right, upper, lower) has to have its part in a jump. Where one of two people jumps, a codec codes the whole picture
again, and changes the other person a little, as it does the background; a part has to exceed that.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from multiexpr.scorers.edges import averages
from multiexpr.scorers.flow import MIN_SIDE, moved, small_pictures, unexplained

CELLS = 12  # along the short side of a frame, and twice as many along its long side
AROUND_S = 0.36  # time before, and after, a step that it is compared with
RATIO, LEVELS = 2.0, 1.0  # by which a step exceeds those around it, the latter in levels, 0 to 255
EDGE = 2  # steps at both ends of a clip with too few around them
LONG, BEFORE = 5, 1  # steps between the frames that show whether a cell stays changed, and of these before the jump
MOVING_LEVELS, MOVING_STEPS = 1.5, 3  # a cell moves if this number of steps exceed these levels
STILL_LEVELS = 0.6  # largest step of all cells to a repeated frame
REPEAT_SHARE, REPEAT_REACH = 0.1, 3  # share of the largest of this number of steps before, and after, in a repeat
LONGEST_REPEAT = 10  # steps; a longer one is a still
MIN_MOVING = 0.5  # share of the cells that are taken to move at least: a blink is a large part of a still portrait
MIN_HALF = 0.02  # share of the cells of a half of the picture that moves
MIN_PART = 0.015  # share of the moving cells of each half that jumps in a jump cut
CODED_AGAIN, MAX_CODED_AGAIN = 0.15, 3.0  # quantile of the cells of a side that shows a codec's change; most of it


def grid_size(frame: np.ndarray) -> tuple[int, int]:
    """Return the number of cells of a frame (H, W, ...) from left to right and from top to bottom."""
    height, width = frame.shape[:2]
    return (2 * CELLS, CELLS) if width > height else (CELLS, 2 * CELLS)


def halves(size: tuple[int, int]) -> np.ndarray:
    """Return the left, right, upper and lower half of a grid of cells, (4, cells) bool."""
    x, y = np.tile(np.arange(size[0]), size[1]), np.repeat(np.arange(size[1]), size[0])
    return np.stack([x < size[0] / 2, x >= size[0] / 2, y < size[1] / 2, y >= size[1] / 2])


def largest_jump(frames: Sequence[np.ndarray], fps: float) -> tuple[float, int]:
    """Return the largest share of the moving cells of T (H, W, 3) frames that jump at once, and the frame after it.

    The share is 0 if one half of the picture does not move or has no part in it; the frame is then -1.
    """
    pictures = small_pictures(frames)
    if len(pictures) <= max(LONG, MOVING_STEPS) or min(pictures[0].shape) < MIN_SIDE:
        return 0.0, -1
    changes, stays = _changes(pictures, 1), _changes(pictures, LONG)
    steps = np.flatnonzero(~_are_repeats(changes))
    rank = max(1, min(MOVING_STEPS, len(steps)))
    moves = np.partition(changes, -rank, axis=0)[-rank] > MOVING_LEVELS
    regions = halves(grid_size(pictures[0]))
    parts = regions & moves
    if (parts.sum(1) <= MIN_HALF * regions.sum(1)).any():
        return 0.0, -1
    rest = np.array([_means(unexplained(pictures[t], moved(pictures[t + 1], pictures[t]))) for t in steps])
    repeats, best = _repeats(steps), (0.0, -1)
    for i in range(len(steps)):
        distances = np.abs(steps - steps[i])
        step, around = rest[i] / repeats[i], rest[(distances > 0) & (distances <= AROUND_S * fps)]
        if not len(around):  # one still after another
            step, around = rest[i] / LONGEST_REPEAT, np.zeros_like(rest[:1])
        elif not EDGE <= i < len(steps) - EDGE or (step @ parts.T < (around @ parts.T).max(0)).any():
            continue
        excess = step - RATIO * around.max(0) - LEVELS
        stayed = stays[min(max(steps[i] - BEFORE, 0), len(stays) - 1)] > changes[steps[i]] / 2
        jumps = moves & stayed & (excess > 0)
        joint = jumps & (excess > _coded_again(step, regions[0]))
        if ((parts & joint).sum(1) >= MIN_PART * parts.sum(1)).all():
            best = max(best, (float(jumps.mean() / max(moves.mean(), MIN_MOVING)), int(steps[i]) + 1))
    return best


def _coded_again(rest: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return how much a codec changes the left and the right side of a picture by coding all of it again, (cells,)."""
    quantiles = [min(float(np.quantile(rest[side], CODED_AGAIN)), MAX_CODED_AGAIN) for side in (left, ~left)]
    return np.where(left, *quantiles)


def _changes(pictures: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """Return how much cells of pictures change over a number of steps, (T - steps, cells): means over their pixels."""
    pairs = zip(pictures[:-steps], pictures[steps:], strict=True)
    return np.stack([_means(cv2.absdiff(before, after)) for before, after in pairs])


def _means(picture: np.ndarray) -> np.ndarray:
    """Return the means of the cells of a picture (H, W), (cells,)."""
    grid = grid_size(picture)
    rows, columns = (averages(length, cells) for length, cells in zip(picture.shape, grid[::-1], strict=True))
    return (rows @ picture.astype(np.float32) @ columns.T).ravel()


def _are_repeats(changes: np.ndarray) -> np.ndarray:
    """Return which changes of cells (N, cells) lead to a repeated frame, (N,) bool: codecs change it a little."""
    means = changes.mean(1)
    largest = sliding_window_view(np.pad(means, REPEAT_REACH), REPEAT_REACH).max(1)
    before, after = largest[: len(means)], largest[REPEAT_REACH + 1 :]
    return (changes.max(1) < STILL_LEVELS) | (means < REPEAT_SHARE * np.minimum(before, after))


def _repeats(steps: np.ndarray) -> np.ndarray:
    """Return for how long the frame before each step is shown, relative to the usual one, (N,), at least 1.

    Args:
        steps: numbers of the N steps that are not between repeated frames, ascending.
    """
    if not len(steps):
        return np.ones(0)
    shown = np.minimum(np.diff(steps, prepend=-1), LONGEST_REPEAT)
    return np.maximum(shown / max(float(np.median(shown)), 1), 1)
