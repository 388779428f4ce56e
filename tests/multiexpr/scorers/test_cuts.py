import cv2
import numpy as np
import pytest

from multiexpr.recipe import ScoreCuts
from multiexpr.scorers.cuts import CutScorer, neighbourhood

RNG = np.random.default_rng(0)


def start(frames):
    looked = CutScorer(ScoreCuts()).start({})
    for i, frame in enumerate(frames):
        looked.update(frame, i / 12.5)
    return looked.compute()


def texture(seed):
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 255, (144, 256, 3), np.uint8), (0, 0), 4)


def pan(picture, count, step=2):
    return [np.roll(picture, i * step, 1) for i in range(count)]


def test_a_cut_is_found_where_it_is():
    compute = start([*pan(texture(0), 20), *pan(255 - texture(1), 20)])
    assert compute["cut"] > 10
    assert compute["cut_times_s"] == [pytest.approx(20 / 12.5)]


def test_motion_without_a_cut_is_none():
    assert start(pan(texture(0), 40, step=6))["cut"] == 0
    assert start([texture(0)] * 20)["cut"] == 0


@pytest.mark.parametrize("where", [1, 2, 39])
def test_cuts_next_to_the_ends_are_found_too(where):
    frames = [*pan(texture(0), where), *pan(255 - texture(1), 40 - where)]
    assert start(frames)["cut"] > 10


def test_two_frames_and_one():
    assert start([texture(0)]) == {"cut": 0.0, "cut_times_s": []}
    assert start([texture(0), 255 - texture(1)])["cut"] > 10


def test_neighbourhoods_are_of_those_there_are():
    assert neighbourhood(np.array([1.0, 2, 3, 4, 5])).tolist() == [2.5, 8 / 3, 3.0, 10 / 3, 3.5]
    assert neighbourhood(np.array([7.0])).tolist() == [0.0]


@pytest.mark.shared
def test_an_animated_film_is_full_of_cuts(shared):
    from exprbench.media import open_frames

    with open_frames(shared("raw/Megamind.avi"), [k / 12.5 for k in range(100)], long_side=256) as frames:
        compute = start(frames)
    assert compute["cut"] > 27
