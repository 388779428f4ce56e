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


def test_changes_are_pyscenedetects_own_of_frames_at_the_wanted_size():
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector
    from scenedetect.stats_manager import StatsManager

    frames = [cv2.resize(picture, (512, 288)) for picture in (texture(0), texture(5), 255 - texture(1))]
    running, detector = CutScorer(ScoreCuts(long_side=128)).start({}), ContentDetector()
    detector.stats_manager = StatsManager()
    detector.stats_manager.register_metrics(detector.get_metrics())
    for i, frame in enumerate(frames):
        running.update(frame, i / 12.5)
        small = cv2.resize(frame, (128, 72), interpolation=cv2.INTER_AREA)
        detector.process_frame(FrameTimecode(i, fps=12.5), np.ascontiguousarray(small[..., ::-1]))
    times = [FrameTimecode(i, fps=12.5) for i in range(3)]
    theirs = [detector.stats_manager.get_metrics(at, ["content_val"])[0] for at in times]
    assert running.changes[1:] == pytest.approx(theirs[1:])
    assert min(theirs[1:]) > 5


def test_red_to_magenta_is_a_large_change_of_hue():
    red, magenta = (np.full((72, 128, 3), colour, np.uint8) for colour in ((255, 0, 0), (255, 0, 255)))
    assert score([red, magenta])["cut"] == pytest.approx(150 / 3, abs=1)  # blue to magenta would be 30


def result_of(changes, **params):
    """What comes of changes between frames a second apart."""
    running = CutScorer(ScoreCuts(**params)).start({})
    running.times_s, running.changes = [float(i) for i in range(len(changes) + 1)], [0.0, *changes]
    return running.compute()


def test_a_cut_stands_out_by_the_recipes_ratio_from_its_neighbours():
    changes = [10.0, 10.0, 30.0, 10.0, 10.0]
    assert result_of(changes)["cut"] == 30  # just three times as large
    assert result_of([10.0, 10.0, 29.9, 10.0, 10.0])["cut"] == 0
    assert result_of(changes, ratio=3.1)["cut"] == 0
    assert result_of([10.0, 10.0, 25.0, 10.0, 10.0], ratio=2.5)["cut"] == 25


def test_times_are_those_of_cuts_at_least_half_as_strong_as_the_strongest():
    quiet = [1.0] * 5
    found = result_of([*quiet, 40.0, *quiet, 20.0, *quiet, 19.0, *quiet])
    assert found == {"cut": 40.0, "cut_times_s": [6.0, 12.0]}
    assert result_of([0.0] * 4) == {"cut": 0.0, "cut_times_s": []}


@pytest.mark.shared
def test_an_animated_film_has_cuts(shared):
    from exprbench.media import open_frames

    with open_frames(shared("raw/Megamind.avi"), [k / 12.5 for k in range(100)], long_side=256) as frames:
        columns = score(frames)
    assert columns["cut"] > 27
