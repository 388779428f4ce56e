"""Krippendorff's alpha: agreement of raters beyond chance."""

import numpy as np


def krippendorff_alpha(ratings: np.ndarray) -> float | None:
    """Return alpha with the interval metric: 1 for full agreement, 0 for chance; None if it is undefined.

    alpha = 1 - D_o / D_e, with the mean squared difference of ratings of the same unit (D_o) and of all ratings (D_e).
    Source: Krippendorff, Content Analysis, 4th edition, chapter 12.

    Args:
        ratings: (R, U) ratings of U units by R raters, NaN where there is none.
    """
    counts = np.isfinite(ratings).sum(axis=0)
    pairable = ratings[:, counts > 1]
    n = int(np.isfinite(pairable).sum())
    if n == 0:
        return None
    centred = pairable - np.nanmean(pairable)  # differences do not change, and sums of squares stay accurate
    within = _squared_differences(centred) / (counts[counts > 1] - 1)
    observed = within.sum() / n
    expected = _squared_differences(centred.reshape(-1, 1))[0] / (n * (n - 1))
    return float(1 - observed / expected) if expected > 0 else None


def _squared_differences(ratings: np.ndarray) -> np.ndarray:
    """Return, for each column, the sum of squared differences over its ordered pairs of ratings."""
    counts = np.isfinite(ratings).sum(axis=0)
    return 2 * counts * np.nansum(ratings**2, axis=0) - 2 * np.nansum(ratings, axis=0) ** 2
