"""Changes of exposure: a lamp, a cloud or the camera changes all colours by one gain and one offset."""

from itertools import pairwise

import numpy as np

MAX_EXPOSURE = 2.0  # factor by which the contrast changes with the exposure
UNEXPLAINED = 0.25  # largest share of a change of exposure that a gain and an offset do not explain


def without_exposure(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the change of cells (cells, 3) beyond a change of exposure, which is the same for all cells, (cells,)."""
    deviations = before - before.mean()
    gain = float((deviations * after).mean() / max(float((deviations**2).mean()), 1e-6))
    if not 1 / MAX_EXPOSURE < gain < MAX_EXPOSURE:
        return np.abs(after - before).mean(-1)
    return np.abs(after - after.mean() - gain * deviations).mean(-1)


def exposure_steps(cells: np.ndarray) -> np.ndarray:
    """Return, for each step of cells (T, cells, 3), whether a change of exposure explains most of it, (T - 1,) bool."""
    steps = np.abs(np.diff(cells, axis=0)).mean((1, 2))
    rest = np.array([without_exposure(before, after).mean() for before, after in pairwise(cells)])
    return rest < UNEXPLAINED * steps
