"""Correlation, lag and swapped drivers, against numpy's own and on motions that are known."""

from dataclasses import fields, replace

import numpy as np
import pytest

from exprbench.faces import FaceTrack
from exprbench.metrics.face_errors import face_errors
from exprbench.metrics.face_pair import mean_seen
from exprbench.metrics.follow import MAX_LAG, best_lag, correlation
from exprbench.metrics.swap import swap, swap_margin
from exprbench.toy_benchmark.animation import perform, still
from tests.metrics.faces import any_face, hidden, pair, track

T = 60


def actor(motion):
    """A face with the expressions and the head of a motion."""
    landmarks = np.random.default_rng(0).uniform(0.4, 0.6, (478, 3)) + np.zeros((len(motion), 1, 1))
    pose = np.tile(np.eye(4), (len(motion), 1, 1))
    pose[:, :3, :3] = motion.rotation
    return track(landmarks, pose=pose, blendshapes=motion.blendshapes)


def acted(seed, count=T):
    return actor(perform(seed, count))


def frozen(count=T):
    return actor(still(num_frames=count))


def part(face, start, stop):
    return FaceTrack(**{f.name: getattr(face, f.name)[start:stop] for f in fields(FaceTrack)})


def value(name, reference, predicted):
    return mean_seen(face_errors(pair(reference, predicted), [name])[name])


@pytest.mark.parametrize("seed", range(5))
def test_the_correlation_is_numpys_of_all_centred_coefficients(seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(30, 7)) * rng.uniform(0.1, 3, 7)
    b = 0.6 * a + rng.normal(size=(30, 7))
    centred = [(x - x.mean(0)).ravel() for x in (a, b)]
    assert correlation(a, b) == pytest.approx(np.corrcoef(*centred)[0, 1], rel=1e-12)
    assert correlation(a, 5 * a + 2) == pytest.approx(1, rel=1e-12)
    assert correlation(a, -a) == pytest.approx(-1, rel=1e-12)


def test_one_coefficient_is_scipys_pearson():
    from scipy.stats import pearsonr

    a, b = np.random.default_rng(3).normal(size=(2, 40))
    assert correlation(a[:, None], b[:, None]) == pytest.approx(pearsonr(a, b).statistic, rel=1e-12)


def test_who_does_not_move_follows_nothing_and_leads_nothing():
    moving, still_one = np.random.default_rng(0).normal(size=(9, 4)), np.ones((9, 4))
    assert correlation(moving, still_one) == 0
    assert np.isnan(correlation(still_one, moving))
    assert np.isnan(correlation(moving[:2], moving[:2]))


def test_frames_without_a_face_are_left_out_of_the_correlation():
    driver, other = acted(1), acted(2)
    gone = [3, 17, 18]
    kept = np.setdiff1d(np.arange(T), gone)
    shapes = [face.blendshapes[kept].astype(float) for face in (driver, other)]
    expected = np.corrcoef(*[(s - s.mean(0)).ravel() for s in shapes])[0, 1]
    assert value("follow_expression", driver, hidden(other, *gone)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("late", [-MAX_LAG, -4, -1, 0, 1, 3, MAX_LAG])
def test_a_delay_is_found_and_undone(late):
    long = acted(5, T + 2 * MAX_LAG)
    driver, prediction = part(long, MAX_LAG, MAX_LAG + T), part(long, MAX_LAG - late, MAX_LAG - late + T)
    assert best_lag(pair(driver, prediction)) == late
    assert value("lag", driver, prediction) == abs(late)
    for name in ("lmd", "mae", "aed", "apd", "aed_rel", "apd_rel"):
        assert value(f"{name}_at_lag", driver, prediction) == pytest.approx(0, abs=2e-6), name
    if late:
        assert value("aed", driver, prediction) > value("aed_at_lag", driver, prediction) + 0.005


def test_an_early_prediction_that_loses_frames_keeps_its_lag():
    long = acted(6, T + 3)
    driver, prediction = part(long, 0, T), hidden(part(long, 3, T + 3), 10, 11, 40)
    assert best_lag(pair(driver, prediction)) == -3
    assert value("aed_at_lag", driver, prediction) == pytest.approx(0, abs=1e-7)


def test_a_frozen_portrait_has_no_lag():
    assert best_lag(pair(acted(1), frozen())) is None
    assert np.isnan(value("lag", acted(1), frozen()))
    assert np.isnan(value("aed_at_lag", acted(1), frozen()))
    assert value("follow_expression", acted(1), frozen()) == 0
    assert value("follow_pose", acted(1), frozen()) == 0


def test_short_tracks_have_no_lag_and_raise_nothing():
    for count in (1, 2, 3):
        assert best_lag(pair(any_face(count), any_face(count))) in (None, 0)


def people(*predicted, drivers=(11, 12)):
    return [pair(acted(seed), face) for seed, face in zip(drivers, predicted, strict=True)]


def test_everybody_in_their_place_and_swapped():
    own, swapped = people(acted(11), acted(12)), people(acted(12), acted(11))
    assert (swap(own), swap_margin(own)) == (0, 1)
    assert (swap(swapped), swap_margin(swapped)) == (1, -1)
    half = people(acted(11), acted(11))
    assert (swap(half), swap_margin(half)) == (0.5, 0)


def test_three_people_in_a_circle_and_two_of_them_swapped():
    drivers = (11, 12, 13)
    circle = people(acted(12), acted(13), acted(11), drivers=drivers)
    assert (swap(circle), swap_margin(circle)) == (1, -1)
    two = people(acted(12), acted(11), acted(13), drivers=drivers)
    assert swap(two) == pytest.approx(2 / 3)
    assert swap_margin(two) == pytest.approx(-1 / 3)


def test_frozen_people_follow_neither():
    found = people(frozen(), frozen())
    assert swap(found) == pytest.approx(0.5, abs=0.1)
    assert swap_margin(found) == pytest.approx(0, abs=0.15)


def test_one_person_and_two_who_move_alike_cannot_be_swapped():
    assert np.isnan(swap(people(acted(11), drivers=(11,))))
    assert np.isnan(swap(people(acted(11), acted(11), drivers=(11, 11))))
    assert np.isnan(swap_margin([]))


def test_swap_written_out():
    """Distances by loops, from arrays of each side's own median."""
    drivers = [acted(21, 20), acted(22, 20)]
    rng = np.random.default_rng(0)
    seen = [replace(d, blendshapes=d.blendshapes + rng.normal(0, 0.1, (20, 52)).astype(np.float32)) for d in drivers]
    from scipy.spatial.transform import Rotation

    def motion(face):
        shapes = face.blendshapes.astype(float)
        u, _, vt = np.linalg.svd(face.pose[:, :3, :3].astype(float))
        heads = Rotation.from_matrix(u @ vt)
        neutral = Rotation.from_rotvec(np.median(heads.as_rotvec(), axis=0))
        return shapes - np.median(shapes, axis=0), (heads * neutral.inv()).as_rotvec()

    def apart(a, b):
        return np.array([np.abs(x - y).mean(1) for x, y in zip(motion(a), motion(b), strict=True)])

    scale = apart(*drivers).mean(1, keepdims=True)
    table = [[(apart(d, p) / scale).sum(0) for d in drivers] for p in seen]
    nearer = [table[i][1 - i] < table[i][i] for i in (0, 1)]
    margins = [(table[i][1 - i] - table[i][i]) / (table[i][1 - i] + table[i][i]) for i in (0, 1)]
    found = [pair(d, p) for d, p in zip(drivers, seen, strict=True)]
    assert swap(found) == pytest.approx(np.mean(nearer), abs=1e-12)
    assert swap_margin(found) == pytest.approx(np.mean(margins), rel=1e-6)
