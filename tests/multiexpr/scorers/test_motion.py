import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from multiexpr.scorers.motion import (
    BROWS,
    EYES,
    MOUTH,
    OUTER_CORNERS,
    RIGID,
    face_motion,
    gaze_variation_deg,
    head_variation_deg,
    spread_of,
    stabilised,
)

RNG = np.random.default_rng(0)
FACE = RNG.normal(0, 40, (478, 3))
EYE_DISTANCE = np.linalg.norm(FACE[OUTER_CORNERS[0]] - FACE[OUTER_CORNERS[1]])


def moved(points, count=20, degrees=25, zoom=0.3, shift=200):
    """The same face turned, scaled and shifted at random in every frame."""
    turns = Rotation.from_rotvec(np.radians(degrees) * RNG.uniform(-1, 1, (count, 3))).as_matrix()
    scales = 1 + zoom * RNG.uniform(-1, 1, (count, 1, 1))
    return scales * np.einsum("tij,tnj->tni", turns, points) + RNG.uniform(-shift, shift, (count, 1, 3))


def still(count=20):
    return np.repeat(FACE[None], count, 0)


def opening(count=20, by=4.0):
    """The lower half of the mouth goes up and down."""
    points = still(count)
    points[:, MOUTH[:20], 1] += by * np.sin(np.arange(count))[:, None]
    return points


def region(points, names):
    return spread_of(stabilised(points)[:, names])


def test_rigid_motion_and_size_leave_nothing():
    laid = stabilised(moved(still()))
    assert np.abs(laid - laid[0]).max() < 1e-6
    for names in (MOUTH, EYES, BROWS):
        assert region(moved(still()), names) < 1e-6


def test_a_moving_mouth_scores_its_own_motion_whatever_the_head_does():
    expected = 100 / EYE_DISTANCE * np.sqrt((4.0**2) * np.var(np.sin(np.arange(20))) / 2)
    assert region(opening(), MOUTH) == pytest.approx(expected, rel=1e-6)
    assert region(moved(opening(), degrees=0), MOUTH) == pytest.approx(expected, rel=1e-6)
    assert region(moved(opening()), MOUTH) == pytest.approx(
        expected, rel=0.35
    )  # seen from another side, it is foreshortened
    assert region(opening(), EYES) < 1e-6


def test_size_does_not_matter():
    assert region(opening() * 3, MOUTH) == pytest.approx(region(opening(), MOUTH))


def test_the_order_of_frames_does_not_matter():
    points = opening()
    assert region(points[::-1], MOUTH) == pytest.approx(region(points, MOUTH))
    assert region(points[RNG.permutation(20)], MOUTH) == pytest.approx(region(points, MOUTH), rel=1e-6)


def test_regions_do_not_hold_the_points_that_hold_still():
    assert not set(MOUTH) & set(RIGID)
    assert not set(BROWS) & set(RIGID)
    assert set(EYES) & set(RIGID) == {33, 133, 362, 263}  # the corners, by which the face is laid


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
    nobody_closes = np.zeros((2, 2), bool)
    heads = np.repeat(np.eye(3)[None], 2, 0)
    assert gaze_variation_deg(gazes([-7, 7]), heads, nobody_closes) == pytest.approx(7)
    turned = Rotation.from_euler("y", [[-7], [7]], degrees=True).as_matrix()
    assert gaze_variation_deg(gazes([-7, 7]), turned, nobody_closes) == pytest.approx(0, abs=1e-4)


def test_closed_eyes_look_nowhere():
    heads = np.repeat(np.eye(3)[None], 3, 0)
    closed = np.array([[False, False], [False, False], [True, False]])
    assert gaze_variation_deg(gazes([-5, 5, 60]), heads, closed) == pytest.approx(5)
    assert np.isnan(gaze_variation_deg(gazes([0, 1, 2]), heads, np.ones((3, 2), bool)))


def test_all_measures_of_a_face_that_does_nothing_are_zero():
    landmarks = np.repeat(RNG.uniform(0.3, 0.6, (1, 478, 3)), 10, 0)
    pose = np.repeat(np.eye(4)[None], 10, 0)
    measures = face_motion(landmarks, pose, np.zeros((10, 52)), (640, 360))
    assert all(value == pytest.approx(0, abs=1e-3) for value in measures.values())


def test_expression_is_a_third_of_each_region():
    landmarks = RNG.uniform(0.3, 0.6, (10, 478, 3))
    pose = np.repeat(np.eye(4)[None], 10, 0)
    m = face_motion(landmarks, pose, np.zeros((10, 52)), (640, 360))
    assert m["expression"] == pytest.approx(np.sqrt((m["mouth"] ** 2 + m["eyes"] ** 2 + m["brows"] ** 2) / 3))
