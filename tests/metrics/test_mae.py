from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from exprbench.metrics.face_errors import face_errors
from exprbench.metrics.mae import angle_deg, mean_angle_deg, mean_open_angle_deg
from tests.metrics.faces import direction, hidden, looking, pair

vectors = arrays(np.float64, 3, elements=st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 0.1)


@settings(max_examples=50)
@given(vectors, st.floats(0, 180))
def test_a_known_turn_is_the_angle(vector, angle):
    vector = vector / np.linalg.norm(vector)
    across = np.cross(vector, [0.3, -0.7, 0.6])
    across /= np.linalg.norm(across)
    turned = Rotation.from_rotvec(np.radians(angle) * across).apply(vector)
    assert angle_deg(vector, turned) == pytest.approx(angle, abs=1e-9)


@settings(max_examples=50)
@given(vectors, vectors)
def test_it_is_symmetric_within_180_degrees_and_exactly_zero_at_equality(a, b):
    assert angle_deg(a, b) == angle_deg(b, a)
    assert 0 <= angle_deg(a, b) <= 180
    assert angle_deg(a, a) == 0


def test_small_angles_keep_their_digits():
    tiny = 1e-7
    assert angle_deg([0, 0, 1], [np.sin(tiny), 0, np.cos(tiny)]) == pytest.approx(np.degrees(tiny), rel=1e-9)


def test_eyes_are_averaged_and_closed_ones_left_out():
    ahead = np.tile(direction(0, 0), (3, 2, 1))
    looks = np.stack([[direction(10, 0), direction(20, 0)]] * 3)
    closed = np.array([[False, False], [True, False], [True, True]])
    assert mean_angle_deg(ahead, looks) == pytest.approx([15, 15, 15])
    assert mean_open_angle_deg(ahead, looks, closed)[:2] == pytest.approx([15, 20])
    assert np.isnan(mean_open_angle_deg(ahead, looks, closed)[2])


TURNS = Rotation.from_euler("yxz", [[0, 0, 0], [20, -10, 5], [-15, 8, 0]], degrees=True)


@pytest.mark.parametrize("angle", [0, 5, 12.5])
def test_a_gaze_turned_by_some_degrees_scores_them(angle):
    """Through landmarks in single precision, as tracks hold them."""
    reference = looking([direction(3, 2)] * 3, TURNS)
    predicted = looking([direction(3, 2 + angle)] * 3, TURNS)
    assert face_errors(pair(reference, predicted))["mae"] == pytest.approx([angle] * 3, abs=2e-3)


def test_a_mirrored_gaze_is_twice_its_yaw():
    upright = Rotation.identity(1)
    errors = face_errors(pair(looking([direction(15, 4)], upright), looking([direction(-15, 4)], upright)))
    truth = np.degrees(np.arccos(direction(15, 4) @ direction(-15, 4)))
    assert errors["mae"] == pytest.approx([truth], abs=2e-3)


def test_eyes_that_move_with_the_head_have_not_moved_in_it():
    turn = Rotation.from_euler("y", 12, degrees=True)
    heads = Rotation.identity(1), Rotation.concatenate([turn])
    still, turned = looking([direction(5, 0)], heads[0]), looking([turn.apply(direction(5, 0))], heads[1])
    errors = face_errors(pair(still, turned))
    assert errors["mae"] == pytest.approx([12], abs=2e-3)
    assert errors["mae_in_head"] == pytest.approx([0], abs=2e-3)
    assert errors["apd_deg"] == pytest.approx([12], abs=1e-3)


def test_equal_faces_score_exactly_zero_and_unseen_ones_nothing():
    face = looking([direction(3, 2)] * 3, TURNS, closed=[(0, 0), (1, 0), (1, 1)])
    errors = face_errors(pair(face, hidden(face, 2)))
    assert errors["mae"][:2].tolist() == [0, 0]
    assert np.isnan(errors["mae"][2])
    assert errors["mae_open"][0] == 0
    assert np.isnan(errors["mae_open"][1:]).all()


def test_the_size_of_a_prediction_does_not_turn_its_gaze():
    """The same picture at twice the size: the landmarks in [0, 1] are the same."""
    face = looking([direction(8, -3)] * 3, TURNS)
    errors = face_errors(pair(face, face, size=(640, 360), predicted_size=(1280, 720)))
    assert errors["mae"] == pytest.approx(np.zeros(3), abs=1e-9)


def test_a_wider_frame_around_the_same_face_does_not_turn_its_gaze():
    """The same pixels in a frame twice as wide: half of everything across."""
    face = looking([direction(8, -3)] * 3, TURNS)
    wider = replace(face, landmarks=face.landmarks * np.float32([0.5, 1, 0.5]))
    errors = face_errors(pair(face, wider, size=(640, 360), predicted_size=(1280, 360)))
    assert errors["mae"] == pytest.approx(np.zeros(3), abs=1e-3)
    assert errors["mae_in_head"] == pytest.approx(np.zeros(3), abs=1e-3)
    assert face_errors(pair(face, wider, size=(640, 360)))["mae"].min() > 1


def test_gaze_in_the_head_is_seen_from_each_sides_own_head():
    turn = Rotation.from_euler("yx", [25, 10], degrees=True)
    ahead = looking([direction(0, 0)], Rotation.identity(1))
    turned = looking([direction(0, 0)], Rotation.concatenate([turn]))
    errors = face_errors(pair(ahead, turned))
    assert errors["mae"] == pytest.approx([0], abs=2e-3)
    assert errors["mae_in_head"] == pytest.approx(errors["apd_deg"], rel=0.05)
