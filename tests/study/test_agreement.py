"""Krippendorff's alpha on closed-form cases, and against the package of that name."""

import numpy as np
import pytest

from exprbench.study.agreement import krippendorff_alpha

NAN = float("nan")


def test_full_agreement_is_one():
    assert krippendorff_alpha(np.array([[1.0, 5, 9], [1, 5, 9]])) == 1.0


def test_two_raters_and_two_units_by_hand():
    # D_o = (2 * 1 + 2 * 1) / 4 = 1; values 1 2 3 4: D_e = 2 * (1 + 4 + 9 + 1 + 4 + 1) / 12 = 10 / 3
    assert krippendorff_alpha(np.array([[1.0, 3], [2, 4]])) == pytest.approx(1 - 1 / (10 / 3), abs=1e-12)


def test_units_with_one_rating_do_not_count():
    pairs = np.array([[1.0, 3], [2, 4]])
    single = np.array([[9.0], [NAN]])
    assert krippendorff_alpha(np.hstack([pairs, single])) == krippendorff_alpha(pairs)


@pytest.mark.parametrize("ratings", [[[NAN, 3.0], [2.0, NAN]], [[4.0, 4.0], [4.0, 4.0]]])
def test_alpha_is_undefined_without_pairs_or_without_variance(ratings):
    assert krippendorff_alpha(np.array(ratings)) is None


def test_a_large_offset_does_not_matter():
    ratings = np.random.default_rng(0).integers(0, 11, (5, 20)).astype(float)
    assert krippendorff_alpha(ratings + 1e7) == pytest.approx(krippendorff_alpha(ratings), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_package_krippendorff_agrees(seed):
    krippendorff = pytest.importorskip("krippendorff")
    rng = np.random.default_rng(seed)
    ratings = rng.integers(0, 11, (12, 40)) + 3 * rng.normal(size=(1, 40))
    ratings[rng.random(ratings.shape) < 0.6] = NAN
    theirs = krippendorff.alpha(reliability_data=ratings, level_of_measurement="interval")
    assert krippendorff_alpha(ratings) == pytest.approx(theirs, abs=1e-12)
