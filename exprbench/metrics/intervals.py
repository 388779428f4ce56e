"""Confidence intervals of means over few, skewed values: Hall's transformation of Student's t.

With mean m, standard deviation s and skewness g of n values, T = (m - mu) / s is skewed, and

    h(T) = T + g T^2 / 3 + g^2 T^3 / 27 + g / (6 n)                  (Hall 1992)

is not, up to order 1 / n. h is monotone and has an inverse in closed form, so the interval needs no resampling:
m - s h^-1(t / sqrt(n)) to m - s h^-1(-t / sqrt(n)), with t Student's quantile. `benchmarks/intervals.py` measures how
often it contains the mean.
"""

import numpy as np

CONFIDENCE = 0.95


def mean_interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the mean of the distribution behind (n,) values; (None, None) for fewer than two."""
    from scipy.special import stdtrit

    num = len(values)
    if num < 2:
        return None, None
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    if deviation == 0:
        return mean, mean
    skewness = _skewness((np.asarray(values) - mean) / deviation)
    quantile = float(stdtrit(num - 1, (1 + CONFIDENCE) / 2)) / num**0.5
    low, high = (mean - deviation * _inverse(t, skewness, num) for t in (quantile, -quantile))
    return low, high


def _skewness(standardised: np.ndarray) -> float:
    """Return the adjusted skewness of n standardised values, 0 for fewer than three."""
    num = len(standardised)
    return num / ((num - 1) * (num - 2)) * float(np.sum(standardised**3)) if num > 2 else 0.0


def _inverse(t: float, skewness: float, num: int) -> float:
    """Return h^-1(t) = 3 (c - 1) / g, with c^3 = 1 + g u and u = t - g / (6 n), without cancellation for small g."""
    u = t - skewness / (6 * num)
    c = float(np.cbrt(1 + skewness * u))
    return 3 * u / (c * c + c + 1)
