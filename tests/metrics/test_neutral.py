"""Relative metrics recomputed from the tracks by formulas written here, and emulated transfers to other people."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.metrics import COLUMNS
from exprbench.metrics.face_errors import face_errors
from exprbench.metrics.face_pair import mean_seen
from exprbench.toy_benchmark.animation import perform, still
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render
from tests.metrics.faces import any_face, direction, hidden, looking, pair, poses

T = 75
SIZE = (256, 256)


def turned(face, vector):
    """The same face on a head that is turned by a constant rotation in the camera's frame."""
    turns = Rotation.from_rotvec(vector) * Rotation.from_matrix(face.pose[:, :3, :3])
    return replace(face, pose=poses(turns).astype(np.float32))


def value(name, reference, predicted, **options):
    return mean_seen(face_errors(pair(reference, predicted, **options), [name])[name])


def test_a_constant_offset_of_a_person_costs_nothing():
    face = any_face(9, blendshapes=np.random.default_rng(1).uniform(0.2, 0.6, (9, 52)))
    other = turned(replace(face, blendshapes=face.blendshapes + np.float32(0.25)), [0.1, 0, 0])
    assert value("aed", face, other) == pytest.approx(0.25, abs=1e-6)
    assert value("aed_rel", face, other) == pytest.approx(0, abs=1e-6)
    assert value("apd", face, other) > 0.02


def test_heads_that_turn_about_one_axis_differ_by_their_own_turns_only():
    angles = np.linspace(-0.3, 0.3, 7)
    heads = [any_face(7, pose=poses(Rotation.from_rotvec(np.outer(angles + offset, [0, 1, 0])))) for offset in (0, 0.2)]
    assert value("apd", *heads) == pytest.approx(0.2 / 3, abs=1e-6)
    assert value("apd_rel", *heads) == pytest.approx(0, abs=1e-6)
    still_head = any_face(7, pose=poses(Rotation.from_rotvec(np.zeros((7, 3)))))
    assert value("apd_rel", heads[1], still_head) == pytest.approx(np.abs(angles).mean() / 3, abs=1e-6)


def test_gazes_count_from_each_sides_own_median():
    yaw = np.array([-10.0, -5, 0, 5, 10])
    heads = Rotation.from_rotvec(np.zeros((5, 3)))
    reference = looking([direction(y, 0) for y in yaw], heads)
    squinting = looking([direction(y + 7, -4) for y in yaw], heads)
    assert value("mae", reference, squinting) > 7
    assert value("mae_rel", reference, squinting) == pytest.approx(0, abs=0.02)
    fixed = looking([direction(3, 0)] * 5, heads)
    assert value("mae_rel", reference, fixed) == pytest.approx(6, abs=0.02)


def test_the_formulas_written_out():
    """Medians over the frames that both sides show, and every loop by hand."""
    a, b = hidden(any_face(8, seed=1), 2), hidden(any_face(8, seed=2), 5)
    shown = [0, 1, 3, 4, 6, 7]
    e, f = a.blendshapes[shown].astype(float), b.blendshapes[shown].astype(float)
    by_hand = [
        np.mean([abs((f[t, k] - sorted(f[:, k])[2] / 2 - sorted(f[:, k])[3] / 2)
                     - (e[t, k] - sorted(e[:, k])[2] / 2 - sorted(e[:, k])[3] / 2)) for k in range(52)])
        for t in range(6)
    ]  # fmt: skip
    errors = face_errors(pair(a, b), ["aed_rel", "apd_rel"])
    np.testing.assert_allclose(errors["aed_rel"][shown], by_hand, rtol=1e-9)
    assert np.isnan(errors["aed_rel"][[2, 5]]).all()
    sides = []
    for face in (a, b):
        u, _, vt = np.linalg.svd(face.pose[shown, :3, :3].astype(float))
        heads = Rotation.from_matrix(u @ vt)
        neutral = Rotation.from_rotvec(np.median(heads.as_rotvec(), axis=0))
        sides.append((heads * neutral.inv()).as_rotvec())
    np.testing.assert_allclose(errors["apd_rel"][shown], np.abs(sides[1] - sides[0]).mean(1), rtol=1e-7)


def test_of_networks_too():
    rng = np.random.default_rng(0)
    expression, pose = rng.normal(size=(6, 55)), rng.normal(0, 0.2, (6, 3))
    gaze = np.array([direction(y, 3) for y in range(6)])
    sides = [{"expression": expression + c, "pose": pose, "gaze": gaze} for c in (0, 0.5)]
    faces = replace(pair(any_face(6), any_face(6)), profile="paper", readings=tuple(sides))
    errors = face_errors(faces, ["aed", "aed_rel", "apd_rel", "mae_rel"])
    assert errors["aed"] == pytest.approx(np.full(6, 0.5))
    assert errors["aed_rel"] == pytest.approx(np.zeros(6), abs=1e-12)
    assert errors["apd_rel"] == pytest.approx(np.zeros(6), abs=1e-12)
    assert errors["mae_rel"] == pytest.approx(np.zeros(6), abs=1e-12)


def seen_as(tracks, person):
    """What a face model reads of a drawn person: with a resting expression and a head bias of their own, and noise."""
    rng = np.random.default_rng([person, 7])
    resting, bias = rng.uniform(0, 0.2, 52) * (rng.random(52) < 0.7), rng.normal(0, 0.06, 3)
    face = turned(tracks.tracks[0], bias)
    read = face.blendshapes + resting + rng.normal(0, 0.006, face.blendshapes.shape)
    return replace(face, blendshapes=np.clip(read, 0, 1).astype(np.float32))


@cache
def transfers():
    """List of (driver, ideal transfer to another person, frozen portrait of that person) of drawn faces."""
    found = []
    for i, actor in enumerate(CAST):
        motion, other = perform(60 + i, T), (i + 1) % len(CAST)
        driver = seen_as(render([actor], [motion], SIZE)[1], i)
        ideal = seen_as(render([CAST[other]], [motion], SIZE)[1], other)
        frozen = seen_as(render([CAST[other]], [still(num_frames=T)], SIZE)[1], other)
        found.append((driver, ideal, frozen))
    return found


def contrast(name):
    found = np.array([[value(name, d, p, size=SIZE) for p in (ideal, frozen)] for d, ideal, frozen in transfers()])
    ideal, frozen = found.mean(0)
    return frozen / ideal


def test_an_ideal_transfer_is_four_times_better_than_a_frozen_portrait():
    assert contrast("aed") < 2
    assert contrast("aed_rel") > 4
    assert contrast("apd_rel") > 4


def test_a_follower_is_told_from_a_frozen_portrait():
    for driver, ideal, frozen in transfers():
        for name in ("follow_expression", "follow_pose"):
            assert value(name, driver, ideal, size=SIZE) > 0.9
            assert abs(value(name, driver, frozen, size=SIZE)) < 0.3


def test_the_registry_names_the_neutral():
    for name in ("aed_rel", "apd_rel", "mae_rel"):
        assert all("rel-median" in i for i in COLUMNS[name].ids.values())
