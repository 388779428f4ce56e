import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from exprbench.faces import axis_angle, eye_closed, gaze, rotation
from exprbench.faces.gaze import eye_ball
from exprbench.faces.landmark_groups import EYE_POINTS

SIZE = (640, 360)


def posed(turn):
    pose = np.eye(4)
    pose[:3, :3] = turn.as_matrix()
    return pose


def direction(yaw_deg, pitch_deg):
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def face_looking(towards, turn, scale=40.0):
    """Landmarks of a head turned by `turn` whose eyes look along `towards`; only the eyes matter."""
    landmarks = np.zeros((478, 3))
    corners = {33: (-1.5, 0, 0), 133: (-0.5, 0, 0.1), 263: (1.5, 0, 0), 362: (0.5, 0, 0.1)}
    points = {i: turn.apply(np.array(p) * scale) + np.array([300, -200, 0]) for i, p in corners.items()}
    for outer, inner, iris in EYE_POINTS:
        centre, radius = eye_ball(points[outer], points[inner], turn.as_matrix())
        points[iris] = centre + radius * towards
    for i, point in points.items():
        landmarks[i] = point / (SIZE[0], -SIZE[1], -SIZE[0])
    return landmarks


angles = st.floats(-35, 35)


@given(angles, angles, angles, angles, angles)
def test_the_gaze_put_in_is_the_gaze_read(yaw, pitch, turn_y, turn_x, turn_z):
    towards, turned = direction(yaw, pitch), Rotation.from_euler("yxz", [turn_y, turn_x, turn_z], degrees=True)
    read = gaze(face_looking(towards, turned), posed(turned), SIZE)
    assert read == pytest.approx(np.stack([towards, towards]), abs=1e-9)


def test_looking_into_the_lens_is_the_z_axis():
    assert gaze(face_looking(np.array([0, 0, 1]), Rotation.identity()), np.eye(4), SIZE) == pytest.approx(
        np.array([[0, 0, 1], [0, 0, 1]])
    )


def test_a_mirrored_face_looks_the_mirrored_way():
    towards, turned = direction(20, 10), Rotation.from_euler("yxz", [10, -5, 3], degrees=True)
    landmarks, pose = face_looking(towards, turned), posed(turned)
    flip = np.diag([-1.0, 1, 1, 1])
    mirrored = landmarks.copy()
    for (ro, ri, rp), (lo, li, lp) in ((EYE_POINTS[0], EYE_POINTS[1]), (EYE_POINTS[1], EYE_POINTS[0])):
        for a, b in ((ro, lo), (ri, li), (rp, lp)):
            mirrored[a] = landmarks[b] * (-1, 1, 1) + (1, 0, 0)
    read = gaze(mirrored, flip @ pose @ flip, SIZE)
    assert read == pytest.approx(np.stack([towards * (-1, 1, 1)] * 2), abs=1e-9)


def test_a_gaze_beyond_what_an_eye_can_do_stays_a_unit_vector():
    landmarks = face_looking(direction(0, 0), Rotation.identity())
    landmarks[468, 0] += 0.5
    assert np.linalg.norm(gaze(landmarks, np.eye(4), SIZE), axis=-1) == pytest.approx(1)


def test_batches_are_single_faces():
    faces = np.stack([face_looking(direction(a, -a), Rotation.from_rotvec([0, 0, a / 90])) for a in (-20, 0, 30)])
    poses = np.stack([posed(Rotation.from_rotvec([0, 0, a / 90])) for a in (-20, 0, 30)])
    single = np.stack([gaze(f, p, SIZE) for f, p in zip(faces, poses, strict=True)])
    assert np.array_equal(gaze(faces, poses, SIZE), single)


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_axis_angle_is_the_rotation_put_in(vector):
    turn = Rotation.from_rotvec(vector)
    assert axis_angle(posed(turn)[None]) == pytest.approx(turn.as_rotvec()[None], abs=1e-9)


def test_scale_and_rounding_of_the_matrix_do_not_turn_the_head():
    turn = Rotation.from_euler("yxz", [30, 20, 10], degrees=True)
    pose = posed(turn)
    pose[:3, :3] *= 1.3
    assert rotation(pose.astype(np.float32)) == pytest.approx(turn.as_matrix(), abs=1e-6)


def test_frames_without_a_face_stay_unknown():
    poses = np.stack([np.eye(4), np.full((4, 4), np.nan)])
    assert np.isfinite(axis_angle(poses)).tolist() == [[True] * 3, [False] * 3]
    assert np.isfinite(rotation(poses)).all((1, 2)).tolist() == [True, False]


def test_which_eye_is_closed():
    blendshapes = np.zeros((3, 52))
    blendshapes[1, 9] = 0.9  # eyeBlinkLeft
    blendshapes[2, 10] = 0.9  # eyeBlinkRight
    assert eye_closed(blendshapes).tolist() == [[False, False], [False, True], [True, False]]
