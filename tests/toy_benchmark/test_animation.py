import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.faces.gaze import BLINKS
from exprbench.toy_benchmark.animation import (
    EXPRESSIONS,
    EYE_FULL_DEG,
    HEAD_REACH_DEG,
    direction,
    eye_angles_deg,
    head_rotation,
    perform,
    still,
)
from exprbench.toy_benchmark.blendshapes import NAMES, index, indices

SEEDS = range(8)
FRAMES = 125


def angle_deg(a, b):
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def test_blendshapes_are_in_mediapipes_order():
    assert len(NAMES) == len(set(NAMES)) == 52
    assert NAMES[0] == "_neutral"
    assert (index("eyeBlinkLeft"), index("eyeBlinkRight")) == BLINKS
    assert indices("mouthSmile") == (44, 45)
    assert indices("jawOpen") == (25,)
    face_landmarker = pytest.importorskip("mediapipe.tasks.python.vision.face_landmarker")
    theirs = [shape.name.replace("_", "").lower() for shape in face_landmarker.Blendshapes]
    assert [name.replace("_", "").lower() for name in NAMES] == theirs


def test_head_rotation_turns_right_up_and_tilts_right():
    for angles, axis, towards in (
        ((30, 0, 0), (0, 0, 1), (0.5, 0, np.sqrt(0.75))),
        ((0, 30, 0), (0, 0, 1), (0, 0.5, np.sqrt(0.75))),
        ((0, 0, 30), (0, 1, 0), (0.5, np.sqrt(0.75), 0)),
    ):
        np.testing.assert_allclose(head_rotation(np.array([angles]))[0] @ axis, towards, atol=1e-12)


def test_directions_and_eye_angles_are_each_others_inverse():
    angles = np.random.default_rng(0).uniform(-30, 30, (50, 2))
    turned = head_rotation(np.random.default_rng(1).uniform(-20, 20, (50, 3)))
    gaze = np.einsum("tij,tj->ti", turned, direction(angles))
    np.testing.assert_allclose(eye_angles_deg(turned, gaze), angles, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_performance_is_valid_and_stays_in_range(seed):
    m = perform(seed, FRAMES)
    assert len(m) == FRAMES
    assert m.blendshapes.shape == (FRAMES, 52)
    assert m.blendshapes.min() >= 0
    assert m.blendshapes.max() <= 1
    assert not m.blendshapes[:, 0].any()
    np.testing.assert_allclose(np.linalg.norm(m.gaze, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(
        m.rotation @ m.rotation.transpose(0, 2, 1), np.tile(np.eye(3), (FRAMES, 1, 1)), atol=1e-12
    )
    yaw, pitch, roll = np.abs(Rotation.from_matrix(m.rotation).as_euler("YXZ", degrees=True)).T
    assert (yaw.max(), pitch.max(), roll.max()) <= tuple(HEAD_REACH_DEG)
    assert angle_deg(m.gaze, np.array([0, 0, 1])).max() < 60
    assert m.seen.all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_performance_is_lively_and_smooth(seed):
    m = perform(seed, FRAMES)
    step_deg = np.degrees(
        np.linalg.norm(Rotation.from_matrix(m.rotation[1:] @ m.rotation[:-1].transpose(0, 2, 1)).as_rotvec(), axis=1)
    )
    assert step_deg.max() < 6
    assert step_deg.mean() > 0.3
    assert np.abs(np.diff(m.offset_cm, axis=0)).max() < 0.5
    assert m.blendshapes[:, index("eyeBlinkLeft")].max() > 0.85
    assert m.blendshapes.std(0).sum() > 1


@pytest.mark.parametrize("seed", SEEDS)
def test_eye_look_follows_the_gaze_in_the_head(seed):
    m = perform(seed, FRAMES)
    right, up = (eye_angles_deg(m.rotation, m.gaze) / EYE_FULL_DEG).T
    look = {
        name: m.blendshapes[:, index(f"eyeLook{name}")]
        for name in ("OutLeft", "InLeft", "OutRight", "UpLeft", "DownRight")
    }
    np.testing.assert_allclose(look["OutLeft"] - look["InLeft"], np.clip(right, -1, 1), atol=1e-9)
    np.testing.assert_allclose(look["OutRight"], np.clip(-right, 0, 1), atol=1e-9)
    np.testing.assert_allclose(look["UpLeft"] - look["DownRight"], np.clip(up, -1, 1), atol=1e-9)


def test_the_same_seed_gives_the_same_performance_and_another_another():
    a, b, c = perform(4, 60), perform(4, 60), perform(5, 60)
    for name in ("rotation", "gaze", "blendshapes", "offset_cm"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
        assert not np.allclose(getattr(a, name), getattr(c, name))


def test_any_length_down_to_one_frame():
    for num_frames in (1, 2, 3, 16, 500):
        assert len(perform(0, num_frames)) == num_frames


def test_a_still_holds_what_it_is_given():
    m = still({"mouthSmile": 0.5, "jawOpen": 0.2}, head_deg=(10, 0, 0), gaze_deg=(10, 0), num_frames=3)
    assert len(m) == 3
    np.testing.assert_array_equal(m.blendshapes[:, [44, 45, 25]], np.tile([0.5, 0.5, 0.2], (3, 1)))
    np.testing.assert_allclose(np.degrees(m.rotvec), np.tile([0, 10, 0], (3, 1)), atol=1e-9)
    np.testing.assert_allclose(eye_angles_deg(m.rotation, m.gaze), 0, atol=1e-9)
    assert m.blendshapes[:, index("eyeLookOutLeft")].max() < 1e-9


def test_expressions_name_blendshapes():
    for expression in EXPRESSIONS.values():
        assert all(indices(name) for name in expression)
