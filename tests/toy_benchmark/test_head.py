import numpy as np
import pytest

from exprbench.faces import axis_angle, gaze
from exprbench.faces.landmark_groups import EYE_POINTS
from exprbench.toy_benchmark.animation import perform
from exprbench.toy_benchmark.blendshapes import NAMES, index
from exprbench.toy_benchmark.cast import CAST, random_character
from exprbench.toy_benchmark.head import Proportions, iris_points, pose_points, shape
from exprbench.toy_benchmark.mesh import (
    IRISES,
    LIPS,
    LOWER_BROW,
    LOWER_LID,
    MIDLINE,
    NUM_MESH,
    OVAL,
    UPPER_BROW,
    UPPER_LID,
    WING,
    laplacian,
    spread,
)

PEOPLE = [*CAST, *(random_character(seed) for seed in range(6))]
SIZE = (300, 200)


def test_index_sets_are_mediapipes():
    face_landmarker = pytest.importorskip("mediapipe.tasks.python.vision.face_landmarker")
    theirs = face_landmarker.FaceLandmarksConnections

    def pairs(connections):
        return {tuple(sorted((c.start, c.end))) for c in connections}

    def points(connections):
        return {i for pair in pairs(connections) for i in pair}

    assert points(theirs.FACE_LANDMARKS_FACE_OVAL) == set(OVAL)
    assert points(theirs.FACE_LANDMARKS_LIPS) == {i for row in LIPS for i in row}
    for side, eye, brow in (
        (0, theirs.FACE_LANDMARKS_RIGHT_EYE, theirs.FACE_LANDMARKS_RIGHT_EYEBROW),
        (1, theirs.FACE_LANDMARKS_LEFT_EYE, theirs.FACE_LANDMARKS_LEFT_EYEBROW),
    ):
        assert points(eye) == {*UPPER_LID[side], *LOWER_LID[side]}
        assert points(brow) == {*UPPER_BROW[side], *LOWER_BROW[side]}
    assert pairs(theirs.FACE_LANDMARKS_TESSELATION) == {tuple(p) for p in np.argwhere(np.triu(laplacian(), 1)).tolist()}


def test_spread_is_harmonic_and_keeps_what_is_known():
    known = np.array(OVAL)
    values = np.random.default_rng(0).normal(size=(len(known), 2))
    whole = spread(known, values)
    np.testing.assert_array_equal(whole[known], values)
    rest = np.setdiff1d(np.arange(NUM_MESH), known)
    np.testing.assert_allclose((laplacian() @ whole)[rest], 0, atol=1e-9)
    np.testing.assert_allclose(spread(known, np.ones((len(known), 1))), 1, atol=1e-9)


@pytest.mark.parametrize("person", PEOPLE, ids=lambda p: p.name)
def test_a_neutral_face_is_a_face(person):
    points, moves = shape(person.proportions)
    assert points.shape == (468, 3)
    assert moves.shape == (52, 468, 3)
    assert np.isfinite(moves).all()
    x, y, z = points.T
    assert z.argmax() in MIDLINE
    assert y[list(UPPER_BROW[0])].min() > y[33] > y[list(MIDLINE[-1:])].max() > y[13] > y[152]
    assert x[33] < x[133] < 0 < x[362] < x[263]
    for side in (0, 1):
        assert (y[list(UPPER_LID[side][1:-1])] > y[list(LOWER_LID[side][1:-1])]).all()
        assert (y[list(UPPER_BROW[side])] > y[list(LOWER_BROW[side])]).all()
    assert y[[10, 151, 9, 8, 168, 4, 2, 0, 17, 152]].tolist() == sorted(y[[10, 151, 9, 8, 168, 4, 2, 0, 17, 152]])[::-1]
    inside = np.setdiff1d(np.arange(NUM_MESH), OVAL)
    low, high = points[list(OVAL), :2].min(0), points[list(OVAL), :2].max(0)
    assert ((points[inside, :2] > low) & (points[inside, :2] < high)).all()


def test_a_neutral_face_is_symmetric():
    points, _ = shape(Proportions())
    for right, left in (UPPER_LID, LOWER_LID, UPPER_BROW, LOWER_BROW, WING):
        np.testing.assert_allclose(points[list(right)] * (-1, 1, 1), points[list(left)], atol=1e-9)
    np.testing.assert_allclose(points[list(MIDLINE), 0], 0, atol=1e-9)
    # the connections themselves are not quite symmetric, so the skin between the contours is so to 2 mm
    np.testing.assert_allclose(np.sort(-points[:, 0]), np.sort(points[:, 0]), atol=0.2)


def test_blendshapes_move_what_they_name():
    points, moves = shape(Proportions())
    change = {name: moves[index(name)] for name in NAMES}
    assert not change["_neutral"].any()
    assert change["jawOpen"][14, 1] < -2
    assert change["jawOpen"][152, 1] < -1
    assert abs(change["jawOpen"][13, 1]) < 0.1
    assert change["mouthSmileLeft"][291, 1] > 0.5 > abs(change["mouthSmileLeft"][61]).max()
    assert change["mouthSmileRight"][61, 0] < -0.5
    assert change["browInnerUp"][107, 1] > 0.5
    assert change["browDownRight"][[107, 66], 1].max() < 0
    assert change["mouthPucker"][61, 0] > 0.5
    assert change["mouthLeft"][13, 0] > 0.3
    np.testing.assert_allclose(change["mouthClose"][[13, 14]], -change["jawOpen"][[13, 14]], atol=1e-12)
    opening = points[159, 1] - points[145, 1]
    closed = opening + change["eyeBlinkRight"][159, 1] - change["eyeBlinkRight"][145, 1]
    assert 0 < closed < 0.05 * opening
    assert abs(change["eyeBlinkRight"][[33, 133, 386]]).max() < 1e-9


@pytest.mark.parametrize("person", PEOPLE[:4], ids=lambda p: p.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_gaze_and_rotation_read_back_what_was_put_in(person, seed):
    m = perform(seed, 60)
    mesh = pose_points(person.proportions, m.blendshapes, m.rotation)
    irises = iris_points(mesh, m.rotation, m.gaze)
    landmarks = np.concatenate([mesh, irises], axis=1) / (SIZE[0], -SIZE[1], -SIZE[0])
    pose = np.tile(np.eye(4), (60, 1, 1))
    pose[:, :3, :3] = m.rotation
    np.testing.assert_allclose(gaze(landmarks, pose, SIZE), np.repeat(m.gaze[:, None], 2, 1), atol=1e-9)
    np.testing.assert_allclose(axis_angle(pose), m.rotvec, atol=1e-9)


def test_irises_are_round_and_face_where_they_look():
    m = perform(3, 20)
    mesh = pose_points(Proportions(), m.blendshapes, m.rotation)
    irises = iris_points(mesh, m.rotation, m.gaze).reshape(20, 2, 5, 3)
    assert [eye[2] for eye in EYE_POINTS] == [iris[0] for iris in IRISES]
    spokes = irises[:, :, 1:] - irises[:, :, :1]
    radii = np.linalg.norm(spokes, axis=-1)
    np.testing.assert_allclose(radii, np.broadcast_to(radii[..., :1], radii.shape), rtol=1e-9)
    np.testing.assert_allclose(np.einsum("tesi,ti->tes", spokes, m.gaze), 0, atol=1e-9)
    assert (spokes[:, :, 0, 0] > 0).all()
    assert (spokes[:, :, 1, 1] > 0).all()
