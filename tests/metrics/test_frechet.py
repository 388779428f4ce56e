"""The distance against closed forms, other people's code and its own other ways of getting there."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_fid import fid_score
from scipy import linalg
from torchmetrics.image.fid import _compute_fid

from exprbench.metrics.errors import MetricError
from exprbench.metrics.frechet import Gaussian, _clip_rounding, frechet_distance, gaussian
from exprbench.metrics.moments import Moments, merge, moments, moments_from_parts

DIMS = 24


def samples(n, d=DIMS, seed=0, spread=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    mix = np.eye(d) + 0.3 * np.random.default_rng(99 + seed % 2).normal(size=(d, d)) / np.sqrt(d)
    return rng.normal(size=(n, d)) @ mix * spread + shift


def by_matrix_root(x, y):
    """pytorch-fid's formula on scipy's matrix root, whatever that is called in this scipy."""
    mean = x.mean(0) - y.mean(0)
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return mean @ mean + np.trace(s) + np.trace(t) - 2 * np.trace(linalg.sqrtm(s @ t).real)


def by_nuclear_norm(x, y):
    """Singular values of the product of the centred samples, in extended precision up to the decomposition."""
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    mean = x.mean(0) - y.mean(0)
    x, y = x - x.mean(0), y - y.mean(0)
    n, m = len(x) - 1, len(y) - 1
    cross = np.linalg.svd((x @ y.T / np.sqrt(np.longdouble(n) * m)).astype(np.float64), compute_uv=False).sum()
    return float(mean @ mean + (x**2).sum() / n + (y**2).sum() / m - 2 * cross)


def of(mean, covariance, n=10**6):
    return Gaussian(n, np.asarray(mean, float), covariance=np.asarray(covariance, float))


def test_one_dimension_has_its_closed_form():
    assert frechet_distance(of([1.0], [[4.0]]), of([3.0], [[9.0]])) == pytest.approx(
        (1 - 3) ** 2 + (2 - 3) ** 2, rel=1e-14
    )


def test_commuting_covariances_have_their_closed_form():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(DIMS, DIMS)))[0]
    for decades in (0, 6, 12):
        a = 10.0 ** (-decades * np.arange(DIMS) / DIMS)
        b, mean = a * rng.uniform(0.2, 5, DIMS), rng.normal(size=DIMS)
        truth = mean @ mean + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
        assert frechet_distance(of(0 * mean, axes * a @ axes.T), of(mean, axes * b @ axes.T)) == pytest.approx(
            truth, rel=1e-12
        )


def test_low_rank_covariances_have_their_closed_form():
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.normal(size=(DIMS, DIMS)))[0]
    a, b = np.zeros((2, DIMS))
    a[:5], b[3:9] = rng.uniform(0.5, 2, 5), rng.uniform(0.5, 2, 6)
    truth = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(
        of(np.zeros(DIMS), axes * a @ axes.T), of(np.zeros(DIMS), axes * b @ axes.T)
    ) == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("n", [2, 10, DIMS - 1, DIMS, DIMS + 1, DIMS + 2, 400])
@pytest.mark.parametrize("m", [2, DIMS, DIMS + 1, 300])
def test_any_number_of_samples_gives_the_exact_value(n, m):
    x, y = samples(n, seed=2), samples(m, seed=3, spread=1.4, shift=0.2)
    truth = by_nuclear_norm(x, y)
    prepared = gaussian(x)
    _ = prepared.root
    ways = [(x, y), (y, x), (moments(x), moments(y)), (x, moments(y)), (moments(x), y), (prepared, y), (y, prepared)]
    assert [frechet_distance(a, b) for a, b in ways] == pytest.approx([truth] * len(ways), rel=1e-10)


def test_the_value_is_that_of_other_libraries_where_they_are_exact():
    x, y = samples(500, seed=4), samples(300, seed=5, spread=0.7, shift=0.1)
    ours = frechet_distance(x, y)
    statistics = [v for z in (x, y) for v in (z.mean(0), np.cov(z, rowvar=False))]
    theirs = float(_compute_fid(*map(torch.from_numpy, statistics)))
    assert theirs == pytest.approx(ours, rel=1e-9)
    assert by_matrix_root(x, y) == pytest.approx(ours, rel=1e-9)
    try:
        assert fid_score.calculate_frechet_distance(*statistics) == pytest.approx(ours, rel=1e-9)
    except TypeError:  # a scipy without sqrtm(disp=...), which pytorch-fid cannot use: the call above stands for it
        assert "disp" not in linalg.sqrtm.__code__.co_varnames


def test_with_few_samples_other_libraries_are_off_in_the_sixth_digit():
    x, y = samples(12, seed=6), samples(15, seed=7, shift=0.3)
    assert by_matrix_root(x, y) == pytest.approx(frechet_distance(x, y), rel=1e-5)


def test_dead_and_doubled_features_do_no_harm():
    x, y = samples(200, seed=8), samples(150, seed=9, shift=0.2)
    for z in (x, y):
        z[:, ::5] = 0
        z[:, 1::5] = z[:, 2::5]
    assert gaussian(x).rank == DIMS - 10
    truth = by_nuclear_norm(x, y)
    for a, b in ((x, y), (moments(x), moments(y)), (x[:10], y)):
        assert frechet_distance(a, b) == pytest.approx(
            truth if len(getattr(a, "scatter", a)) != 10 else by_nuclear_norm(x[:10], y), rel=1e-10
        )


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 1000), st.floats(0, 3))
def test_it_is_symmetric_never_negative_and_zero_at_equality(n, m, seed, shift):
    x, y = samples(n, seed=seed), samples(m, seed=seed + 1, shift=shift)
    there, back = frechet_distance(x, y), frechet_distance(y, x)
    assert there == pytest.approx(back, rel=1e-9, abs=1e-9)
    assert there >= 0
    assert frechet_distance(x, x.copy()) == pytest.approx(0, abs=1e-10 * gaussian(x).trace)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.floats(-5, 5), st.floats(0.1, 10))
def test_moving_and_scaling_do_what_they_should(n, move, scale):
    x, y = samples(n, seed=1), samples(30, seed=2)
    apart = frechet_distance(x, y)
    assert frechet_distance(x + move, y + move) == pytest.approx(apart, rel=1e-8, abs=1e-8)
    assert frechet_distance(scale * x, scale * y) == pytest.approx(scale**2 * apart, rel=1e-9)
    assert frechet_distance(x, x + move) == pytest.approx(DIMS * move**2, rel=1e-9, abs=1e-9)


def test_growing_differences_grow_the_distance():
    x = samples(300, seed=3)
    noise = np.random.default_rng(0).normal(size=x.shape)
    for distances in (
        [frechet_distance(x, x + k * noise) for k in range(5)],
        [frechet_distance(x, k * x) for k in (1, 2, 3)],
    ):
        assert distances == sorted(distances)


def test_the_order_of_samples_and_of_features_is_of_no_matter():
    x, y = samples(60, seed=4), samples(70, seed=5, shift=0.1)
    order = np.random.default_rng(0).permutation
    features = order(DIMS)
    assert frechet_distance(x[order(60)], y[order(70)]) == pytest.approx(frechet_distance(x, y), rel=1e-12)
    assert frechet_distance(x[:, features], y[:, features]) == pytest.approx(frechet_distance(x, y), rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 1), st.floats(-1e3, 1e3))
def test_moments_of_shards_are_those_of_the_whole(sizes, shift):
    x = samples(sum(sizes), d=5, shift=shift)
    shards = np.split(x, np.cumsum(sizes)[:-1])
    for merged in (
        merge(map(moments_or_none, shards)),
        merge(map(moments_or_none, shards[::-1])),
        moments_from_parts(shards),
    ):
        assert merged.n == len(x)
        assert merged.mean == pytest.approx(x.mean(0), rel=1e-12, abs=1e-9)
        assert merged.covariance == pytest.approx(np.cov(x, rowvar=False), rel=1e-9, abs=1e-9)


def moments_or_none(part):
    return moments(part) if len(part) else Moments(0, np.zeros(5), np.zeros((5, 5)))


def test_moments_far_from_zero_keep_their_digits():
    x = samples(4000, d=6, shift=1e4).astype(np.float32)
    assert moments(x).covariance == pytest.approx(np.cov(x.astype(np.longdouble), rowvar=False).astype(float), rel=1e-9)


def test_a_prepared_side_serves_again_and_again():
    reference = gaussian(samples(100, seed=1))
    others = [samples(80, seed=k, shift=0.1 * k) for k in range(2, 6)]
    assert [frechet_distance(reference, o) for o in others] == pytest.approx(
        [frechet_distance(samples(100, seed=1), o) for o in others], rel=1e-12
    )


def test_a_covariance_over_n_is_that_of_libraries_that_divide_by_n():
    for n in (DIMS // 2, 100):
        x, y = samples(n, seed=1), samples(90, seed=2)
        biased = gaussian(x).scaled((n - 1) / n)
        truth = of(x.mean(0), np.cov(x, rowvar=False, bias=True), n)
        assert frechet_distance(biased, y) == pytest.approx(frechet_distance(truth, y), rel=1e-8)


def test_too_few_samples_are_an_error_with_a_name():
    for few in (np.zeros((1, 4)), np.zeros((0, 4))):
        with pytest.raises(MetricError) as caught:
            frechet_distance(few, samples(10, d=4))
        assert caught.value.code == "too_few_samples"
    with pytest.raises(MetricError):
        frechet_distance(moments(np.zeros((1, 4))), samples(10, d=4))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("n", [10, 50])
def test_features_that_are_no_numbers_are_an_error_and_never_mended(bad, n):
    x = samples(n)
    x[3, 4] = bad
    with pytest.raises(MetricError) as caught, np.errstate(invalid="ignore"):
        frechet_distance(x, samples(60))
    assert caught.value.code == "features_not_finite"


def test_features_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="dimensions"):
        frechet_distance(samples(10, d=4), samples(10, d=5))


def test_only_rounding_is_taken_for_zero():
    assert _clip_rounding(-1e-12, 1.0) == 0
    with pytest.raises(ArithmeticError):
        _clip_rounding(-1e-3, 1.0)


def test_features_that_overflow_when_squared_are_an_error_with_a_name():
    with pytest.raises(MetricError) as caught, np.errstate(over="ignore", invalid="ignore"):
        frechet_distance(1e200 * samples(10), samples(10))
    assert caught.value.code == "features_not_finite"
