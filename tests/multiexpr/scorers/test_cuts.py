import cv2
import numpy as np
import pytest

from multiexpr.recipe import ScoreCuts
from multiexpr.scorers.cuts import CutScorer, neighbour_means

RNG = np.random.default_rng(0)


def score(frames):
    measurement = CutScorer(ScoreCuts()).start({})
    for i, frame in enumerate(frames):
        measurement.update(frame, i / 12.5)
    return measurement.compute()


def texture(seed):
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 255, (144, 256, 3), np.uint8), (0, 0), 4)


def pan(image, count, step=2):
    return [np.roll(image, i * step, 1) for i in range(count)]


def test_a_cut_is_detected_at_its_time():
    columns = score([*pan(texture(0), 20), *pan(255 - texture(1), 20)])
    assert columns["cut"] > 10
    assert columns["cut_times_s"] == [pytest.approx(20 / 12.5)]


def test_motion_is_not_a_cut():
    assert score(pan(texture(0), 40, step=6))["cut"] == 0
    assert score([texture(0)] * 20)["cut"] == 0


@pytest.mark.parametrize("position", [1, 2, 39])
def test_cuts_near_the_ends_are_detected(position):
    frames = [*pan(texture(0), position), *pan(255 - texture(1), 40 - position)]
    assert score(frames)["cut"] > 10


def test_clips_of_one_and_two_frames():
    assert score([texture(0)]) == {"cut": 0.0, "cut_times_s": []}
    assert score([texture(0), 255 - texture(1)])["cut"] > 10


def test_neighbour_means_use_fewer_values_at_the_ends():
    assert neighbour_means(np.array([1.0, 2, 3, 4, 5])).tolist() == [2.5, 8 / 3, 3.0, 10 / 3, 3.5]
    assert neighbour_means(np.array([7.0])).tolist() == [0.0]


@pytest.mark.shared
def test_an_animated_film_has_cuts(shared):
    from exprbench.media import open_frames

    with open_frames(shared("raw/Megamind.avi"), [k / 12.5 for k in range(100)], long_side=256) as frames:
        columns = score(frames)
    assert columns["cut"] > 27
