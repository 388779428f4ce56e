from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.faces import eye_closed, gaze, rotation
from exprbench.faces.landmark_groups import BROWS, EYES, LIPS, OUTER_EYE_CORNERS, RIGID
from multiexpr.recipe import ScoreMotion, ScoreSharpness
from multiexpr.scorers import motion
from multiexpr.scorers.edges import effective_side
from multiexpr.scorers.landmark_alignment import in_percent, stabilize, without_planar_motion
from multiexpr.scorers.motion import (
    MotionScorer,
    face_motion,
    face_picture,
    gaze_variation_deg,
    head_variation_deg,
    jitter_variance,
    person_scores,
    rms_deviation,
)
from multiexpr.scorers.sharpness import laplacian_variance
from tests import people

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
    leakage = 0.02  # of the motion into the estimate of the jitter, at one radian per frame
    assert region(opening(), LIPS) == pytest.approx(expected, rel=leakage)
    assert region(moved(opening(), degrees=0), LIPS) == pytest.approx(region(opening(), LIPS), rel=1e-6)
    foreshortening = 0.35  # of the motion in rotated faces
    assert region(moved(opening()), LIPS) == pytest.approx(expected, rel=foreshortening)
    assert region(opening(), EYES) < 1e-6


def test_size_does_not_matter():
    assert region(opening() * 3, LIPS) == pytest.approx(region(opening(), LIPS))


def test_jitter_is_not_expression():
    """A frozen face with grain moves in every frame, a smiling one with the same grain moves as without it."""
    jitter = RNG.normal(0, 3.0, (60, 478, 3))
    assert region(still(60), LIPS) < 1e-9
    assert rms_deviation((still(60) + jitter)[:, LIPS]) < 0.25 * np.sqrt(2) * 3.0
    smile = still(60)
    smile[:, LIPS, 1] += 8 * np.sin(np.arange(60) / 5)[:, None]
    assert rms_deviation((smile + jitter)[:, LIPS]) == pytest.approx(rms_deviation(smile[:, LIPS]), rel=0.1)


def test_sudden_motion_is_not_jitter():
    blinks = np.zeros((60, 4, 2))
    blinks[[10, 11, 30, 31, 50, 51]] = 5.0
    assert jitter_variance(blinks) == 0
    assert jitter_variance(np.zeros((4, 1, 2))) == 0  # too short to estimate


def test_the_jitter_of_head_and_gaze_is_removed():
    turns = Rotation.from_rotvec(RNG.normal(0, 0.05, (200, 3))).as_matrix()
    assert head_variation_deg(turns) < 0.35 * np.degrees(0.05 * np.sqrt(3))
    directions = np.array([0, 0, 1]) + RNG.normal(0, 0.05, (200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    still_head, is_open = np.repeat(np.eye(3)[None], 200, 0), np.zeros((200, 2), bool)
    assert gaze_variation_deg(np.repeat(directions[:, None], 2, 1), still_head, is_open) < 0.35 * np.degrees(0.0707)


def test_the_direction_of_time_does_not_matter():
    points = opening()
    assert region(points[::-1], LIPS) == pytest.approx(region(points, LIPS))


def test_regions_and_rigid_points_share_only_the_eye_corners():
    assert not set(LIPS) & set(RIGID)
    assert not set(BROWS) & set(RIGID)
    assert set(EYES) & set(RIGID) == {33, 133, 362, 263}  # the corners of the eyes


@pytest.mark.parametrize("angle", [1.0, 10.0, 60.0])
def test_head_angles_of_two_poses(angle):
    turns = Rotation.from_euler("y", [[0], [angle]], degrees=True).as_matrix()
    assert head_variation_deg(turns) == pytest.approx(angle / 2)


def test_head_variation_is_that_of_scipys_mean():
    turns = Rotation.from_rotvec(0.4 * np.sin(np.arange(60)[:, None] / 9 + [0, 1, 2]))
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


def in_perspective(points, tilts):
    """Return the picture (478, 2) of a flat face at unit distance, tilted about its vertical axis in every frame."""
    flat = np.repeat((points[:, :2] / 200)[None], len(tilts), 0)
    distance = 1 - np.sin(tilts)[:, None] * flat[..., 0]
    return np.stack([np.cos(tilts)[:, None] * flat[..., 0], flat[..., 1]], axis=-1) / distance[..., None]


def test_a_photograph_that_is_tilted_does_not_move():
    tilts = 0.5 * np.sin(np.arange(20))
    points = in_perspective(FACE, tilts)
    assert np.abs(points - points.mean(0)).max() > 0.05
    mapped = without_planar_motion(points)
    assert np.abs(mapped - mapped[0]).max() < 1e-9


@pytest.mark.parametrize("tilt", [0, 0.4])
def test_a_mouth_that_opens_moves_tilted_or_not(tilt):
    def deviation(points):
        return rms_deviation(in_percent(without_planar_motion(points))[:, LIPS])

    flat = np.stack([in_perspective(face, np.array([tilt]))[0] for face in opening(by=8)])
    assert deviation(flat) > 0.75 * deviation(opening(by=8)[..., :2]) > 0.75 * 0.75 * region(opening(by=8), LIPS)


def test_a_head_that_turns_is_not_flat():
    turns = Rotation.from_euler("y", 0.2 * np.sin(np.arange(20))[:, None])
    turned = np.einsum("tij,nj->tni", turns.as_matrix(), FACE)[..., :2]
    assert rms_deviation(without_planar_motion(turned)) > 0.05


@pytest.mark.parametrize(("jitter", "flat"), [(0, True), (0.002, True), (0.05, False)])
def test_a_photograph_that_is_tilted_has_no_expression(jitter, flat):
    """Jitter is slow here: it is not that of the landmarks, and counts."""
    points = in_perspective(FACE, 0.5 * np.sin(np.arange(20) / 3))
    points += jitter * RNG.normal(size=points.shape[1:]) * np.cos(np.arange(20) / 2)[:, None, None]
    landmarks = np.concatenate([0.5 + 0.2 * points, np.zeros((20, 478, 1))], axis=-1)
    found = face_motion(landmarks, np.repeat(np.eye(4)[None], 20, 0), np.zeros((20, 52)), (640, 640))
    regions = np.sqrt(np.mean([found[name] ** 2 for name in ("mouth", "eyes", "brows")]))
    assert regions > 2
    assert (found["nonplanar"] < np.sqrt(0.2) * regions) == flat
    assert found["expression"] == (0 if flat else pytest.approx(regions))


def test_faces_are_measured_by_the_outer_corners_of_the_eyes():
    assert set(OUTER_EYE_CORNERS) == {33, 263}  # of MediaPipe's mesh
    wide = still() * (2, 1, 1)
    laid = stabilize(wide)
    assert np.linalg.norm(laid[0, 33] - laid[0, 263]) == pytest.approx(100)


def test_a_flat_face_is_turned_and_never_mirrored():
    """Corners, bridge and tip in one plane say nothing about the side the rest of the face is on."""
    flat = still()
    flat[:, RIGID, 2] = 0
    laid = stabilize(moved(flat, degrees=60))
    assert np.abs(laid - laid[0]).max() < 1e-6


def test_the_mean_face_hardly_depends_on_the_frame_it_began_with():
    rng = np.random.default_rng(0)
    points = np.repeat(rng.normal(0, 40, (1, 478, 3)), 9, 0) + rng.normal(0, 3, (9, 478, 3))
    points[4] += rng.normal(0, 40, (478, 3))  # the middle frame, to which the others are aligned first
    elsewhere = points[[0, 1, 2, 3, 5, 4, 6, 7, 8]]
    before, after = (rms_deviation(np.delete(stabilize(p), at, 0)) for p, at in ((points, 4), (elsewhere, 5)))
    assert after == pytest.approx(before, rel=0.02)


def test_depth_does_not_count():
    points = still()
    points[:, LIPS, 2] += 10 * np.sin(np.arange(20))[:, None]
    assert rms_deviation(points) < 1e-9


def test_landmarks_are_in_shares_of_the_frames_width_and_height_and_depth_in_those_of_the_width():
    points = moved(opening()) + 500
    found = face_motion(points / (640, 360, 640), np.repeat(np.eye(4)[None], 20, 0), np.zeros((20, 52)), (640, 360))
    assert found["mouth"] == pytest.approx(region(points, LIPS), rel=1e-9)


def test_the_gaze_is_measured_in_the_frames_own_shape_over_open_eyes():
    track = people.person(30, seed=3)
    blendshapes = track.blendshapes.copy()
    blendshapes[::3, 9:11] = 0.9  # both eyes blink in every third frame
    closed = eye_closed(blendshapes)
    assert 0 < closed.mean() < 1
    found = face_motion(track.landmarks, track.pose, blendshapes, (640, 360))
    seen = gaze(track.landmarks, track.pose, (640, 360))
    assert found["gaze_deg"] == pytest.approx(gaze_variation_deg(seen, rotation(track.pose), closed))
    assert found["head_deg"] == pytest.approx(head_variation_deg(rotation(track.pose)))


def with_boxes(track, boxes):
    return SimpleNamespace(**{**vars(track), "box": np.array(boxes, np.float32)}, seen_rate=track.seen_rate)


def test_a_faces_size_is_in_pixels_of_the_clip_whatever_size_was_looked_at():
    boxes = [(0.1, 0.1, 0.2, 0.3), (0.1, 0.1, 0.2, 0.4), (0.1, 0.1, 0.9, 0.9), (np.nan,) * 4]
    track = with_boxes(people.person(4, hidden=(3,)), boxes)
    found = person_scores(track, (640, 360), {"width": 1920, "height": 1080})
    assert found["face_px"] == pytest.approx(0.3 * 1080, rel=1e-6)  # the longer side, in the middle of the three
    assert found["face_seen"] == 0.75
    assert found["face_box"] == [0.1, 0.1, 0.2, 0.4]


def test_the_picture_of_a_face_is_the_square_around_it():
    frame = RNG.integers(0, 240, (360, 640, 3), np.uint8)
    frame[55:95, 160:320] = 255  # a quarter of the square is burnt out
    box = np.array([160 / 640, 90 / 360, 320 / 640, 180 / 360])  # 160 x 90 pixels around (240, 135)
    gray = cv2.cvtColor(frame[55:215, 160:320], cv2.COLOR_RGB2GRAY)
    resized = cv2.resize(gray, (128, 128), interpolation=cv2.INTER_AREA)
    found = face_picture(frame, box, 128)
    assert found == {
        "effective_px": effective_side(resized),
        "sharpness": laplacian_variance(resized),
        "clipped": 0.25,
        "crushed": pytest.approx(float((gray <= 5).mean())),
        "luma": pytest.approx(gray.mean() / 255),
    }
    assert set(face_picture(frame, box + 5, 128).values()) == {0.0}  # beyond the frame
    small = face_picture(frame, box, 200)  # a small face is not enlarged to measure its size
    assert small["effective_px"] == effective_side(gray)


class Tracker:
    """Notes the frames it is given, and finds the tracks it was made with."""

    tracks = ()
    size = (64, 36)

    def __init__(self, landmarker, fps, follow_regions):
        self.fps, self.frames = fps, []

    def update(self, frame):
        self.frames.append(frame)

    def compute(self):
        return self.tracks


@pytest.fixture
def start(monkeypatch):
    """`look(facts, ...)`: one clip being measured, with a made-up tracker."""
    monkeypatch.setattr(motion, "FaceTracker", Tracker)
    params, models = ScoreMotion(fps=10), SimpleNamespace(landmarker=lambda engine: None)
    return lambda facts, **sharpness: MotionScorer(params, ScoreSharpness(**sharpness), models).start(facts)


def pictures(count):
    return [np.full((36, 64, 3), i, np.uint8) for i in range(count)]


def test_frames_are_tracked_in_order_and_at_the_latest_when_memory_is_full(start, monkeypatch):
    monkeypatch.setattr(motion, "BUFFER_BYTES", 3 * 36 * 64 * 3)
    running, frames = start({"length_s": 1.0}), pictures(10)
    for i, frame in enumerate(frames):
        running.update(frame, i / 10)
        assert len(running.tracker.frames) == (i + 1) // 4 * 4  # with the fourth they are more than three
    running.compute()
    assert [frame[0, 0, 0] for frame in running.tracker.frames] == list(range(10))
    assert running.tracker.fps == 10


def test_pictures_are_measured_in_the_middles_of_ten_parts_where_the_face_is_seen(start, monkeypatch):
    seen = people.person(40, hidden=(2, 3))
    monkeypatch.setattr(Tracker, "tracks", (seen,))
    asked = []

    def picture(frame, box, side):
        asked.append((frame[0, 0, 0], side))
        return dict.fromkeys(("effective_px", "sharpness", "clipped", "crushed", "luma"), 10.0 * len(asked))

    monkeypatch.setattr(motion, "face_picture", picture)
    running = start({"length_s": 4.0, "width": 64, "height": 36}, face_side=96)
    for i, frame in enumerate(pictures(40)):
        running.update(frame, i / 10)
    row = running.compute()
    assert asked == [(t, 96) for t in (6, 10, 14, 18, 22, 26, 30, 34, 38)]  # at 2, the first, it is not seen
    for name in ("effective_px", "sharpness", "clipped", "crushed", "luma"):
        assert row[f"face_{name}"] == [50.0]  # the median
    assert row["face_moment_s"] == [0.2, 0.6, 1.0, 1.4, 1.8, 2.2, 2.6, 3.0, 3.4, 3.8]
    assert row["face_moment_box"][:4] == [None] * 4
    assert row["face_moment_box"][4:8] == [pytest.approx(float(v), abs=1e-4) for v in seen.box[6]]
    assert set(row) == {name for name, _ in MotionScorer.columns}


def test_a_face_seen_at_none_of_these_moments_has_no_size(start, monkeypatch):
    monkeypatch.setattr(Tracker, "tracks", (people.person(4, hidden=(0, 1)),))
    running = start({"length_s": 0.2, "width": 64, "height": 36})
    for frame in pictures(2):
        running.update(frame, 0.0)
    assert running.compute()["face_effective_px"] == [None]
