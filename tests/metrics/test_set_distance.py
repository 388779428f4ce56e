import numpy as np
import pytest
from scipy.stats import t

from exprbench.metrics.errors import MetricError
from exprbench.metrics.frechet import frechet_distance
from exprbench.metrics.set_distance import (
    bias_floor,
    distance_interval,
    fit_gaussian,
    half_width,
    pack_reference,
    prepare,
    set_distance,
    unpack_reference,
)


def videos(num=20, frames=6, d=8, seed=0, shift=0.3):
    """References whose frames resemble each other within a video, and predictions with errors of their own."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(num, 1, d)) + rng.normal(size=(num, frames, d))
    predicted = reference + shift + 0.5 * rng.normal(size=(num, 1, d)) + 0.3 * rng.normal(size=reference.shape)
    names = [f"case-{i:03d}" for i in range(num)]
    return tuple(dict(zip(names, side.astype(np.float32), strict=True)) for side in (reference, predicted))


def pooled(side):
    return np.concatenate([side[key] for key in sorted(side)])


def without(side, key):
    return {k: v for k, v in side.items() if k != key}


CASES = {
    "more samples than dimensions": {},
    "fewer": {"d": 200, "num": 12},
    "one side only": {"d": 100, "num": 12, "frames": 8},
}


@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
def test_the_distance_is_that_of_the_pooled_features(shape):
    reference, predicted = videos(**shape)
    result = set_distance(reference, predicted)
    assert result.value == pytest.approx(frechet_distance(pooled(reference), pooled(predicted)), rel=1e-9)
    assert result.num_samples == result.num_reference_samples == len(pooled(predicted))
    assert result.rank == min(len(pooled(predicted)) - 1, result.dims)


@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
def test_the_influence_is_the_derivative_by_a_videos_weight(shape):
    """A video's weight grows by a hair where everything is there a hundred times and it once more."""
    reference, predicted = videos(**shape)
    influence = set_distance(reference, predicted).influence

    def repeated(extra=None, times=100):
        sides = []
        for side in (reference, predicted):
            many = {f"{key}+{i}": value for key, value in side.items() for i in range(times + (key == extra))}
            sides.append(fit_gaussian(many, biased=True))
        return frechet_distance(*sides)

    gains = np.array([100 * (repeated(key) - repeated()) for key in list(reference)[:4]])
    told = np.array([influence[key] for key in list(reference)[:4]])
    assert np.ptp(gains - told) < 0.03 * np.ptp(list(influence.values()))


@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
def test_the_interval_is_that_of_leaving_out_videos_one_by_one(shape):
    reference, predicted = videos(**shape)
    result = set_distance(reference, predicted)
    left = np.array([set_distance(without(reference, k), without(predicted, k)).value for k in reference])
    num = len(left)
    jackknife = np.sqrt((num - 1) / num * ((left - left.mean()) ** 2).sum())
    half = half_width(list(result.influence.values()))
    assert half / t.ppf(0.975, num - 1) == pytest.approx(jackknife, rel=0.25)
    assert np.corrcoef(list(result.influence.values()), -left)[0, 1] > 0.95


def test_the_interval_is_that_of_the_bootstrap_where_its_bias_is_small():
    reference, predicted = videos(num=60, frames=30, d=3)
    result, rng, keys = set_distance(reference, predicted), np.random.default_rng(0), sorted(reference)
    drawn = []
    for _ in range(400):
        chosen = [keys[i] for i in rng.integers(0, len(keys), len(keys))]
        drawn.append(frechet_distance(*(np.concatenate([side[k] for k in chosen]) for side in (reference, predicted))))
    error = half_width(list(result.influence.values())) / t.ppf(0.975, len(keys) - 1)
    assert error == pytest.approx(np.std(drawn), rel=0.15)


def test_the_order_of_videos_is_of_no_matter():
    reference, predicted = videos()
    turned = [dict(reversed(side.items())) for side in (reference, predicted)]
    assert set_distance(*turned) == set_distance(reference, predicted)


def test_a_prediction_equal_to_the_reference_has_distance_zero_and_no_width():
    reference, _ = videos()
    result = set_distance(reference, reference)
    assert result.value == pytest.approx(0, abs=1e-12)
    assert result.high == pytest.approx(0, abs=1e-6)
    assert result.low == 0


@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
def test_a_prepared_reference_gives_the_same_and_survives_the_cache(shape):
    reference, predicted = videos(**shape)
    fresh, prepared = set_distance(reference, predicted), prepare(reference)
    assert set_distance(reference, predicted, prepared) == fresh
    kept = unpack_reference(pack_reference(prepared))
    assert set_distance(reference, predicted, kept) == fresh
    assert (kept.num_videos, kept.num_samples, kept.bias_floor) == (len(reference), fresh.num_samples, fresh.bias_floor)


def test_missing_predictions_leave_the_reference_whole():
    reference, predicted = videos()
    some = {key: predicted[key] for key in list(predicted)[:10]}
    result = set_distance(reference, some)
    assert (result.num_videos, result.num_samples, result.num_reference_samples) == (10, 60, 120)
    assert set(result.influence) == set(reference)


def test_the_bias_floor_is_the_distance_of_two_halves():
    reference, _ = videos()
    keys = sorted(reference)
    truth = frechet_distance(
        pooled({k: reference[k] for k in keys[::2]}), pooled({k: reference[k] for k in keys[1::2]})
    )
    assert bias_floor(reference) == pytest.approx(truth, rel=1e-9)
    assert bias_floor(dict(reversed(reference.items()))) == bias_floor(reference)
    assert bias_floor({keys[0]: reference[keys[0]]}) is None


def test_more_videos_lower_the_floor():
    assert bias_floor(videos(num=200)[0]) < bias_floor(videos(num=20)[0])


def test_one_video_has_a_distance_but_no_interval():
    reference, predicted = videos(num=1)
    result = set_distance(reference, predicted)
    assert (result.low, result.high, result.bias_floor) == (None, None, None)
    assert result.value > 0


def test_biased_covariances_are_smaller():
    reference, predicted = videos()
    n = len(pooled(reference))
    assert fit_gaussian(reference, biased=True).trace == pytest.approx(
        fit_gaussian(reference).trace * (n - 1) / n, rel=1e-12
    )
    assert set_distance(reference, predicted, biased=True).value < set_distance(reference, predicted).value


def test_nothing_to_compare_is_an_error_with_a_name():
    reference, _ = videos()
    for few in ({}, {"a": np.zeros((1, 8), np.float32)}):
        with pytest.raises(MetricError) as caught:
            set_distance(reference, few)
        assert caught.value.code == "too_few_samples"


def test_an_interval_does_not_reach_below_zero():
    assert distance_interval(1.0, [5.0, -5.0])[0] == 0
    assert distance_interval(1.0, [3.0]) == (None, None)
