"""Drift: how an error changes over the time of long videos, averaged over cases."""

from collections.abc import Sequence

import numpy as np

MAX_BINS = 60
MIN_BIN_S = 0.2


def bin_seconds(duration_s: float) -> float:
    """Return the width of the time bins of videos of a duration, in steps that read well."""
    wanted = max(duration_s / MAX_BINS, MIN_BIN_S)
    steps = [step * 10**power for power in range(-1, 5) for step in (1, 2, 5)]
    return next(step for step in steps if step >= wanted * (1 - 1e-9))


def drift(curves: Sequence[np.ndarray], fps: float, width_s: float) -> tuple[list[float | None], list[int]]:
    """Return the mean error in every time bin, and the number of videos behind each mean.

    A video counts once in a bin, with the mean of its frames in it.

    Args:
        curves: (T,) errors of each video; NaN where there is none.
        fps: frames per second.
        width_s: width of a bin in seconds.
    """
    longest = max((len(curve) for curve in curves), default=0)
    num_bins = int((longest - 0.5) / fps / width_s) + 1 if longest else 0
    sums, counts = np.zeros(num_bins), np.zeros(num_bins, int)
    for curve in curves:
        bins = ((np.arange(len(curve)) + 0.5) / fps / width_s).astype(int)
        known = np.isfinite(curve)
        num = np.bincount(bins[known], minlength=num_bins)
        total = np.bincount(bins[known], weights=curve[known], minlength=num_bins)
        sums += np.where(num > 0, total / np.maximum(num, 1), 0)
        counts += num > 0
    means = [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]
    return means, counts.tolist()
