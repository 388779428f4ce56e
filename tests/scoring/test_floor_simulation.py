"""What a perfect prediction scores against its noise floor, at small size; `benchmarks/floors.py` is the full size."""

import pytest

from benchmarks.floors import COLUMNS, simulate_faces, simulate_sets


@pytest.fixture(scope="module")
def faces():
    return {looks: simulate_faces(4, 5, looks, seed=0) for looks in (1, 4)}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_perfect_prediction_scores_the_floor_and_two_are_tied(faces, column):
    """The seed is fixed; both sides have errors of the same distribution, so their ratio is 1 up to sampling."""
    for found in faces.values():
        assert 0.9 < found[column]["median"] < 1.1
        assert found[column]["tied"] >= 0.75  # of four pairs; 95 % and more of many


def test_paired_sets_score_the_floor_of_their_re_encoding_far_below_that_of_halves():
    found = simulate_sets(10, 10, seed=0)
    assert 0.8 < found["re-encoding"]["median"] < 1.25
    assert found["half-split"]["95 %"] < 0.01
