import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from exprbench.metrics import lmd
from tests.metrics.faces import SIZE, any_face, hidden, pair, shifted, track

WIDTH, HEIGHT = SIZE


def test_a_shift_moves_every_point_by_itself():
    face = any_face()
    for dx, dy in ((0.01, 0), (0, 0.02), (0.03, -0.04)):
        moved = pair(face, shifted(face, dx, dy))
        assert lmd.lmd(moved) == pytest.approx(np.hypot(dx, dy), abs=1e-7)
        assert lmd.lmd_px(moved) == pytest.approx(np.hypot(dx * WIDTH, dy * HEIGHT), abs=1e-4)
        for part in (lmd.lmd_mesh, lmd.lmd_lips, lmd.lmd_eyes, lmd.lmd_brows):
            assert part(moved) == pytest.approx(np.hypot(dx, dy), abs=1e-7)


def test_equal_faces_are_exactly_zero_apart():
    face = pair(any_face(), any_face())
    assert (lmd.lmd(face) == 0).all()
    assert (lmd.lmd_px(face) == 0).all()
    assert lmd.lmd_rigid(face) == pytest.approx(np.zeros(4), abs=1e-12)


def test_depth_does_not_count():
    face = any_face()
    deeper = track(face.landmarks + (0, 0, 0.2), pose=face.pose)
    assert lmd.lmd(pair(face, deeper)) == pytest.approx(np.zeros(4), abs=1e-7)


def test_the_unit_may_be_the_distance_of_the_eyes():
    landmarks = np.full((1, 478, 3), 0.5)
    landmarks[0, 33, 0], landmarks[0, 263, 0] = 0.4, 0.6
    face = track(landmarks)
    assert lmd.lmd_iod(pair(face, shifted(face, 0.01))) == pytest.approx([0.05], rel=1e-5)
    flat = track(np.full((1, 478, 3), 0.5))
    assert np.isnan(lmd.lmd_iod(pair(flat, flat))).all()


def test_the_plain_way_gives_the_same():
    a, b = any_face(seed=1), any_face(seed=2)
    slow = [
        np.mean([np.hypot(*(p[:2].astype(float) - r[:2])) for r, p in zip(ra, pa, strict=True)])
        for ra, pa in zip(a.landmarks, b.landmarks, strict=True)
    ]
    assert lmd.lmd(pair(a, b)) == pytest.approx(slow, abs=1e-9)


def turned(face, rotation, scale, shift):
    """A head turned, scaled and moved in the pixels of the frame."""
    to_px = np.array([WIDTH, HEIGHT, WIDTH])
    points = face.landmarks.astype(np.float64) * to_px
    return track((scale * points @ rotation.as_matrix().T + shift) / to_px)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3), st.floats(0.5, 2), st.floats(-50, 50))
def test_turning_the_head_does_not_count_as_expression(vector, scale, shift):
    face = any_face(count=2)
    moved = turned(face, Rotation.from_rotvec(vector), scale, shift)
    assert lmd.lmd_rigid(pair(face, moved)) == pytest.approx(np.zeros(2), abs=1e-5)
    if abs(shift) > 5:
        assert (lmd.lmd(pair(face, moved)) > 1e-3).all()


def test_what_is_left_after_the_fit_is_that_of_scipys_procrustes():
    """The sum of squares in space; ours is then taken in the image, but over the same points."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1, 478, 3))
    laid = lmd._align(b[:, lmd.MESH], a[:, lmd.MESH])
    *_, disparity = procrustes(a[0, lmd.MESH], b[0, lmd.MESH])
    centred = a[0, lmd.MESH] - a[0, lmd.MESH].mean(0)
    ours = ((laid[0] - a[0, lmd.MESH]) ** 2).sum() / (centred**2).sum()
    assert disparity <= ours + 1e-12  # theirs may also mirror the face
    assert ours == pytest.approx(disparity, rel=0.05)


def test_a_mirrored_face_is_not_laid_on_by_mirroring():
    face = any_face(count=1)
    mirrored = track(face.landmarks * (-1, 1, 1) + (1, 0, 0))
    assert lmd.lmd_rigid(pair(face, mirrored))[0] > 0.01


def test_a_moving_mouth_counts_in_every_reading():
    face = any_face()
    landmarks = face.landmarks.copy()
    landmarks[:, list(lmd.LIPS), 1] += 0.05
    open_mouth = pair(face, track(landmarks))
    assert lmd.lmd_lips(open_mouth) == pytest.approx(0.05, abs=1e-6)
    assert lmd.lmd_eyes(open_mouth) == pytest.approx(0, abs=1e-9)
    assert (lmd.lmd_rigid(open_mouth) > 0.003).all()
    assert lmd.lmd(open_mouth) == pytest.approx(0.05 * len(lmd.LIPS) / 478, abs=1e-6)


def test_frames_where_a_face_is_not_seen_have_no_value():
    face = any_face()
    gone = pair(hidden(face, 0), hidden(face, 2))
    for values in (lmd.lmd(gone), lmd.lmd_px(gone), lmd.lmd_iod(gone), lmd.lmd_rigid(gone)):
        assert np.isnan(values).tolist() == [True, False, True, False]


def test_it_is_symmetric_and_grows():
    face = any_face()
    for predicted in (any_face(seed=3), shifted(face, 0.02)):
        assert lmd.lmd(pair(face, predicted)) == pytest.approx(lmd.lmd(pair(predicted, face)), abs=1e-12)
    means = [lmd.lmd(pair(face, shifted(face, 0.01 * k))).mean() for k in range(5)]
    assert means == sorted(means)


def test_the_parts_are_mediapipes_own():
    connections = pytest.importorskip("mediapipe.tasks.python.vision").FaceLandmarksConnections

    def points(*names):
        return {i for name in names for c in getattr(connections, f"FACE_LANDMARKS_{name}") for i in (c.start, c.end)}

    assert set(lmd.LIPS) == points("LIPS")
    assert set(lmd.EYES) == points("LEFT_EYE", "RIGHT_EYE")
    assert set(lmd.BROWS) == points("LEFT_EYEBROW", "RIGHT_EYEBROW")
    assert [len(set(p)) == len(p) for p in (lmd.LIPS, lmd.EYES, lmd.BROWS)] == [True] * 3


def with_eyes(between, seed=0):
    """A face whose outer eye corners are `between` apart, in shares of the frame's width."""
    landmarks = any_face(count=2, seed=seed).landmarks.copy()
    landmarks[:, 33], landmarks[:, 263] = (0.5 - between / 2, 0.5, 0), (0.5 + between / 2, 0.5, 0)
    return track(landmarks)


def test_the_distance_of_the_eyes_is_the_references():
    near, far = with_eyes(0.1), with_eyes(0.2)
    apart = lmd.lmd_px(pair(near, far))
    assert lmd.lmd_iod(pair(near, far)) == pytest.approx(apart / (0.1 * WIDTH), rel=1e-5)
    assert lmd.lmd_iod(pair(far, near)) == pytest.approx(apart / (0.2 * WIDTH), rel=1e-5)


def test_pixels_are_the_references():
    face = any_face()
    moved = pair(face, shifted(face, 0.01, 0.01), size=(640, 360), predicted_size=(1280, 720))
    assert lmd.lmd_px(moved) == pytest.approx(0.01 * np.hypot(640, 360), abs=1e-4)
    eyes = with_eyes(0.1)
    assert lmd.lmd_iod(pair(eyes, shifted(eyes, 0.01), size=(640, 360), predicted_size=(320, 99))) == pytest.approx(
        0.1, rel=1e-5
    )
