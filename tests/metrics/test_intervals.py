"""How often the interval of a mean contains the mean, at small size; `benchmarks/intervals.py` is the full size."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.intervals import DISTRIBUTIONS, NUM_VIDEOS, coverage
from exprbench.metrics.intervals import mean_interval


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("num_videos", NUM_VIDEOS)
def test_the_interval_contains_the_mean_as_often_as_it_says(distribution, num_videos):
    """The seed is fixed; the standard error of a coverage of 95 % over 2000 sets is 0.5 %."""
    assert 0.92 <= coverage(mean_interval, distribution, num_videos, num_sets=2000, seed=0) <= 0.97


def test_without_skewness_it_is_students():
    values = np.array([1.0, 2, 3, 4, 7, 8, 9, 10])
    expected = stats.t.interval(0.95, 7, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected, rel=1e-12)


def test_two_values_are_students():
    values = np.array([1.0, 4.0])
    assert mean_interval(values) == pytest.approx(stats.t.interval(0.95, 1, 2.5, stats.sem(values)), rel=1e-12)


def test_the_bounds_solve_halls_equation():
    values = np.random.default_rng(3).lognormal(0, 1, 12)
    mean, deviation, skewness = values.mean(), values.std(ddof=1), stats.skew(values, bias=False)
    quantile = stats.t.ppf(0.975, 11) / np.sqrt(12)
    for bound, target in zip(mean_interval(values), (quantile, -quantile), strict=True):
        t = (mean - bound) / deviation
        found = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / (6 * 12)
        assert found == pytest.approx(target, rel=1e-12)


def test_a_long_tail_widens_the_interval_on_its_side():
    low, high = mean_interval(np.array([1.0, 1.1, 1.2, 1.3, 5.0]))
    mean = 9.6 / 5
    assert high - mean > 1.5 * (mean - low)
    mirrored = mean_interval(-np.array([1.0, 1.1, 1.2, 1.3, 5.0]))
    assert mirrored == pytest.approx((-high, -low))


@pytest.mark.parametrize("num", [3, 5, 50, 1000])
def test_the_mean_is_inside_however_far_one_value_is_off(num):
    values = np.zeros(num)
    values[0] = 1e9
    low, high = mean_interval(values)
    assert low < values.mean() < high


def test_equal_values_and_single_ones():
    assert mean_interval(np.full(5, 100.0)) == (100, 100)
    assert mean_interval(np.array([1.0])) == mean_interval(np.array([])) == (None, None)
