import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from exprbench.faces import axis_angle, eye_closed, gaze, rotation
from exprbench.faces.gaze import eye_ball, to_camera
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


OUTER, INNER = np.array([-1.0, 0, 0]), np.array([0.0, 0, 0])  # of the right eye, on the left of the picture


def test_the_balls_centre_is_outward_of_the_middle_above_and_behind():
    """In units of the eye's width: 0.036 towards the temple, 0.045 up, 0.20 into the head, on either side."""
    for side in (1, -1):
        centre, radius = eye_ball(OUTER * (side, 1, 1), INNER, np.eye(3))
        assert centre == pytest.approx([side * (-0.5 - 0.036), 0.045, -0.20])
        assert radius == pytest.approx([0.34])
    larger, radius = eye_ball(30 * OUTER, 30 * INNER, np.eye(3))
    assert (larger / 30, radius / 30) == (pytest.approx([-0.536, 0.045, -0.20]), pytest.approx([0.34]))


@pytest.mark.parametrize("roll_deg", [0, 90, 180])
def test_the_ball_turns_with_the_head(roll_deg):
    turn = Rotation.from_euler("z", roll_deg, degrees=True)
    centre, _ = eye_ball(turn.apply(OUTER), turn.apply(INNER), turn.as_matrix())
    assert centre == pytest.approx(turn.apply([-0.536, 0.045, -0.20]), abs=1e-12)


def eyes_at(offset):
    """Landmarks in a square frame of eyes 0.1 wide, the irises `offset` eye widths right of and above the middle."""
    landmarks = np.zeros((478, 3))
    for (outer, inner, iris), x_outer, x_inner in (((33, 133, 468), 0.3, 0.4), ((263, 362, 473), 0.7, 0.6)):
        landmarks[outer], landmarks[inner] = (x_outer, 0.5, 0), (x_inner, 0.5, 0)
        landmarks[iris] = ((x_outer + x_inner) / 2 + 0.1 * offset[0], 0.5 - 0.1 * offset[1], 0)
    return landmarks


def test_the_gaze_of_an_iris_has_its_closed_form():
    """The offset from the ball's centre over its radius; the centre is on the side of the temple, for either eye."""
    for offset in ((0, 0), (0.05, 0), (0, 0.08), (-0.1, -0.05)):
        right, left = gaze(eyes_at(offset), np.eye(4), (500, 500))
        for read, outward in ((right, -0.036), (left, 0.036)):
            assert read[:2] == pytest.approx([(offset[0] - outward) / 0.34, (offset[1] - 0.045) / 0.34])
            assert read[2] == pytest.approx(np.sqrt(1 - read[0] ** 2 - read[1] ** 2))


def test_no_eye_turns_beyond_75_degrees():
    right, _ = gaze(eyes_at((2, 0.045)), np.eye(4), (500, 500))
    assert right == pytest.approx([np.sin(np.radians(75)), 0, np.cos(np.radians(75))])


def test_a_wide_frame_does_not_turn_the_gaze():
    """The same eyes in pixels, in a frame twice as wide."""
    landmarks = eyes_at((0.05, 0.08))
    assert gaze(landmarks * (0.5, 1, 0.5), np.eye(4), (1000, 500)) == pytest.approx(
        gaze(landmarks, np.eye(4), (500, 500))
    )


@pytest.mark.parametrize(("blink", "closed"), [(0.49, False), (0.5, False), (0.51, True)])
def test_an_eye_is_closed_above_one_half(blink, closed):
    assert eye_closed(np.full(52, blink)).tolist() == [closed, closed]


def test_each_iris_is_of_its_own_eye_and_the_right_one_comes_first():
    """The person's right eye is on the left of the picture."""
    still = gaze(eyes_at((0, 0)), np.eye(4), (500, 500))
    for iris, eye in ((468, 0), (473, 1)):
        landmarks = eyes_at((0, 0))
        landmarks[iris, 0] += 0.005
        moved = gaze(landmarks, np.eye(4), (500, 500))
        assert moved[eye, 0] == pytest.approx(still[eye, 0] + 0.05 / 0.34)
        assert np.array_equal(moved[1 - eye], still[1 - eye])


def test_the_cameras_axes_point_right_up_and_towards_the_viewer():
    """Landmarks grow downwards, and away from the camera; depth is in the unit of the width."""
    assert to_camera(np.array([0.5, 0.25, 0.1]), (640, 360)) == pytest.approx([320, -90, -64])
