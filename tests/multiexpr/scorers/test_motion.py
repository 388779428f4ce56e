import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.faces.landmark_groups import BROWS, EYES, LIPS, OUTER_EYE_CORNERS, RIGID
from multiexpr.scorers.motion import face_motion, gaze_variation_deg, head_variation_deg, rms_deviation, stabilize

RNG = np.random.default_rng(0)
FACE = RNG.normal(0, 40, (478, 3))
EYE_DISTANCE = np.linalg.norm(FACE[OUTER_EYE_CORNERS[0]] - FACE[OUTER_EYE_CORNERS[1]])


def moved(points, count=20, degrees=25, zoom=0.3, shift=200):
    """Return the face rotated, scaled and shifted at random in every frame."""
    turns = Rotation.from_rotvec(np.radians(degrees) * RNG.uniform(-1, 1, (count, 3))).as_matrix()
    scales = 1 + zoom * RNG.uniform(-1, 1, (count, 1, 1))
    return scales * np.einsum("tij,tnj->tni", turns, points) + RNG.uniform(-shift, shift, (count, 1, 3))


def still(count=20):
    return np.repeat(FACE[None], count, 0)


def opening(count=20, by=4.0):
    """Return a face whose first 20 lip points move up and down."""
    points = still(count)
    points[:, LIPS[:20], 1] += by * np.sin(np.arange(count))[:, None]
    return points


def region(points, names):
    return rms_deviation(stabilize(points)[:, names])


def test_rigid_motion_and_size_are_removed():
    aligned = stabilize(moved(still()))
    assert np.abs(aligned - aligned[0]).max() < 1e-6
    for names in (LIPS, EYES, BROWS):
        assert region(moved(still()), names) < 1e-6


def test_the_score_of_a_moving_mouth_does_not_depend_on_the_head():
    expected = 100 / EYE_DISTANCE * np.sqrt((4.0**2) * np.var(np.sin(np.arange(20))) / 2)
    assert region(opening(), LIPS) == pytest.approx(expected, rel=1e-6)
    assert region(moved(opening(), degrees=0), LIPS) == pytest.approx(expected, rel=1e-6)
    foreshortening = 0.35  # of the motion in rotated faces
    assert region(moved(opening()), LIPS) == pytest.approx(expected, rel=foreshortening)
    assert region(opening(), EYES) < 1e-6


def test_size_does_not_matter():
    assert region(opening() * 3, LIPS) == pytest.approx(region(opening(), LIPS))


def test_the_order_of_frames_does_not_matter():
    points = opening()
    assert region(points[::-1], LIPS) == pytest.approx(region(points, LIPS))
    assert region(points[RNG.permutation(20)], LIPS) == pytest.approx(region(points, LIPS), rel=1e-6)


def test_regions_and_rigid_points_share_only_the_eye_corners():
    assert not set(LIPS) & set(RIGID)
    assert not set(BROWS) & set(RIGID)
    assert set(EYES) & set(RIGID) == {33, 133, 362, 263}  # the corners of the eyes


@pytest.mark.parametrize("angle", [1.0, 10.0, 60.0])
def test_head_angles_of_two_poses(angle):
    turns = Rotation.from_euler("y", [[0], [angle]], degrees=True).as_matrix()
    assert head_variation_deg(turns) == pytest.approx(angle / 2)


def test_head_variation_is_that_of_scipys_mean():
    turns = Rotation.from_rotvec(RNG.normal(0, 0.4, (30, 3)))
    apart = (turns.mean().inv() * turns).magnitude()
    assert head_variation_deg(turns.as_matrix()) == pytest.approx(np.degrees(np.sqrt((apart**2).mean())), rel=1e-3)
    whole = Rotation.from_euler("xyz", (40, 10, -70), degrees=True) * turns
    assert head_variation_deg(whole.as_matrix()) == pytest.approx(head_variation_deg(turns.as_matrix()))


def gazes(degrees):
    angles = np.radians(degrees)
    vectors = np.stack([np.sin(angles), np.zeros(len(angles)), np.cos(angles)], axis=-1)
    return np.repeat(vectors[:, None], 2, 1)


def test_gaze_angles_relative_to_the_head():
    eyes_open = np.zeros((2, 2), bool)
    heads = np.repeat(np.eye(3)[None], 2, 0)
    assert gaze_variation_deg(gazes([-7, 7]), heads, eyes_open) == pytest.approx(7)
    turned = Rotation.from_euler("y", [[-7], [7]], degrees=True).as_matrix()
    assert gaze_variation_deg(gazes([-7, 7]), turned, eyes_open) == pytest.approx(0, abs=1e-4)


def test_frames_with_closed_eyes_are_skipped():
    heads = np.repeat(np.eye(3)[None], 3, 0)
    closed = np.array([[False, False], [False, False], [True, False]])
    assert gaze_variation_deg(gazes([-5, 5, 60]), heads, closed) == pytest.approx(5)
    assert np.isnan(gaze_variation_deg(gazes([0, 1, 2]), heads, np.ones((3, 2), bool)))


def test_all_measures_of_a_still_face_are_zero():
    landmarks = np.repeat(RNG.uniform(0.3, 0.6, (1, 478, 3)), 10, 0)
    pose = np.repeat(np.eye(4)[None], 10, 0)
    measures = face_motion(landmarks, pose, np.zeros((10, 52)), (640, 360))
    assert all(value == pytest.approx(0, abs=1e-3) for value in measures.values())


def test_expression_is_the_root_mean_square_of_the_regions():
    landmarks = RNG.uniform(0.3, 0.6, (10, 478, 3))
    pose = np.repeat(np.eye(4)[None], 10, 0)
    m = face_motion(landmarks, pose, np.zeros((10, 52)), (640, 360))
    assert m["expression"] == pytest.approx(np.sqrt((m["mouth"] ** 2 + m["eyes"] ** 2 + m["brows"] ** 2) / 3))
