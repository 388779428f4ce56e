import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.toy_benchmark.animation import perform
from exprbench.toy_benchmark.damage import (
    delayed,
    expression_scaled,
    frozen,
    gaze_turned,
    head_turned,
    jittered,
    swapped,
)

FIELDS = ("rotation", "gaze", "blendshapes", "offset_cm", "seen")
MOTION = perform(11, 80)


def angle_deg(a, b):
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def unchanged(a, b, *names):
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in names)


@pytest.mark.parametrize("degrees", [0.5, 5, 20, -7])
def test_gaze_is_turned_by_exactly_that_angle_to_the_right(degrees):
    turned = gaze_turned(MOTION, degrees)
    np.testing.assert_allclose(angle_deg(MOTION.gaze, turned.gaze), abs(degrees), atol=1e-9)
    assert (np.sign(turned.gaze[:, 0] - MOTION.gaze[:, 0]) == np.sign(degrees)).all()
    assert unchanged(MOTION, turned, "rotation", "blendshapes", "offset_cm", "seen")


@pytest.mark.parametrize("axis", [(0, 1, 0), (1, 0, 0), (1, 2, -3)])
def test_head_is_turned_by_exactly_that_angle(axis):
    turned = head_turned(MOTION, 4, axis=axis)
    between = Rotation.from_matrix(MOTION.rotation).inv() * Rotation.from_matrix(turned.rotation)
    np.testing.assert_allclose(np.degrees(between.magnitude()), 4, atol=1e-9)
    np.testing.assert_allclose(
        between.as_rotvec(), np.tile(np.radians(4) * np.array(axis) / np.linalg.norm(axis), (80, 1)), atol=1e-9
    )
    assert unchanged(MOTION, turned, "gaze", "blendshapes", "offset_cm", "seen")


def test_delay_shows_earlier_frames_and_holds_the_first():
    late = delayed(MOTION, 2)
    for name in FIELDS:
        old, new = getattr(MOTION, name), getattr(late, name)
        np.testing.assert_array_equal(new[2:], old[:-2])
        np.testing.assert_array_equal(new[:2], old[[0, 0]])
    assert unchanged(MOTION, delayed(MOTION, 0), *FIELDS)
    assert unchanged(frozen(MOTION), delayed(MOTION, 500), *FIELDS)


def test_frozen_holds_one_frame():
    still = frozen(MOTION, 7)
    for name in FIELDS:
        assert (getattr(still, name) == getattr(MOTION, name)[7]).all()


def test_swapped_passes_motions_on():
    a, b, c = (perform(seed, 5) for seed in range(3))
    assert swapped([a, b]) == [b, a]
    assert [id(m) for m in swapped([a, b, c])] == [id(b), id(c), id(a)]


def test_jitter_is_seeded_and_of_the_size_asked_for():
    a, b = jittered(MOTION, 1), jittered(MOTION, 1)
    assert unchanged(a, b, *FIELDS)
    assert not unchanged(a, jittered(MOTION, 2), "rotation")
    long = perform(0, 3000)
    noisy = jittered(long, 0, head_deg=2, gaze_deg=3, blendshape=0.05, offset_cm=0.1)
    between = (Rotation.from_matrix(noisy.rotation) * Rotation.from_matrix(long.rotation).inv()).as_rotvec()
    assert np.degrees(between).std() == pytest.approx(2, rel=0.05)
    assert np.sqrt((angle_deg(noisy.gaze, long.gaze) ** 2).mean()) == pytest.approx(3, rel=0.05)
    assert (noisy.offset_cm - long.offset_cm).std() == pytest.approx(0.1, rel=0.05)
    assert noisy.blendshapes.min() >= 0
    assert noisy.blendshapes.max() <= 1
    assert not noisy.blendshapes[:, 0].any()
    np.testing.assert_allclose(np.linalg.norm(noisy.gaze, axis=1), 1, atol=1e-12)


def test_expression_scaled_changes_the_expression_only():
    half = expression_scaled(MOTION, 0.5)
    np.testing.assert_array_equal(half.blendshapes, MOTION.blendshapes * 0.5)
    assert unchanged(MOTION, half, "rotation", "gaze", "offset_cm", "seen")
