"""KID against torchmetrics, loops, and what an unbiased estimate promises."""

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from exprbench.metrics.errors import MetricError
from exprbench.metrics.kid import kid, kid_distance


def clouds(seed, n=40, m=40, dims=12, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dims)).astype(np.float32), rng.normal(shift, 1.2, (m, dims)).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_torchmetrics_on_one_subset_of_everything(seed):
    a, b = clouds(seed, shift=0.3)
    expected = poly_mmd(torch.from_numpy(a).double(), torch.from_numpy(b).double()).item()
    assert kid(a, b) == pytest.approx(expected, rel=1e-9)


def test_the_definition_by_loops_with_sides_of_different_size():
    a, b = clouds(7, n=6, m=9, dims=4, shift=0.5)

    def k(x, y):
        return (float(np.dot(x.astype(float), y.astype(float))) / 4 + 1) ** 3

    xx = sum(k(a[i], a[j]) for i in range(6) for j in range(6) if i != j) / 30
    yy = sum(k(b[i], b[j]) for i in range(9) for j in range(9) if i != j) / 72
    xy = sum(k(x, y) for x in a for y in b) / 54
    assert kid(a, b) == pytest.approx(xx + yy - 2 * xy, rel=1e-10)


def test_blocks_make_no_difference(monkeypatch):
    a, b = clouds(3)
    whole = kid(a, b)
    monkeypatch.setattr("exprbench.metrics.kid.BLOCK", 7)
    assert kid(a, b) == pytest.approx(whole, rel=1e-12)


def test_it_is_unbiased_and_frechet_is_not():
    from exprbench.metrics.frechet import frechet_distance

    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 20, 8)) for _ in range(400)]
    found = np.array([kid(*pair) for pair in pairs])
    assert abs(found.mean()) < 4 * found.std() / 20  # four standard errors
    assert found.min() < 0
    assert np.mean([frechet_distance(*pair) for pair in pairs]) > 0.5


def test_a_difference_is_found():
    a, b = clouds(1, n=200, m=200, shift=0.8)
    assert kid(a, b) > 0.5


def test_the_interval_is_that_of_the_jackknife_over_videos():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (30, 6))
    reference = {f"v{i}": (centres[i] + rng.normal(0, 1, (8, 6))).astype(np.float32) for i in range(30)}
    predicted = {f"v{i}": (centres[i] + 0.4 + rng.normal(0, 1, (8, 6))).astype(np.float32) for i in range(30)}
    found = kid_distance(reference, predicted)
    left_out = []
    for key in reference:
        sides = [{k: v for k, v in side.items() if k != key} for side in (reference, predicted)]
        left_out.append(kid_distance(*sides).value)
    errors = np.array(left_out) - np.mean(left_out)
    by_jackknife = np.sqrt(29 / 30 * float(errors @ errors))
    from scipy.stats import t

    half = (found.high - found.low) / 2
    assert half == pytest.approx(t.ppf(0.975, 29) * by_jackknife, rel=0.25)
    assert np.corrcoef([found.influence[key] for key in reference], -errors)[0, 1] > 0.95
    assert found.value == pytest.approx((found.low + found.high) / 2)


def test_the_order_of_videos_changes_nothing():
    a, b = clouds(5)
    sides = [{f"v{i}": part for i, part in enumerate(np.split(side, 4))} for side in (a, b)]
    turned = [dict(reversed(side.items())) for side in sides]
    assert kid_distance(*sides) == kid_distance(*turned)
    assert kid_distance(*sides).value == pytest.approx(kid(a, b), rel=1e-12)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few(count):
    a, b = clouds(0)
    with pytest.raises(MetricError, match="too_few_samples"):
        kid(a[:count], b)


def test_features_that_are_not_finite():
    a, b = clouds(0)
    a[0, 0] = np.nan
    with pytest.raises(MetricError, match="features_not_finite"):
        kid(a, b)
