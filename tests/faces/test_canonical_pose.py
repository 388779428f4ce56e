"""The fit of the canonical face: on similarities that are known, and the reader of MediaPipe's file."""

import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from exprbench.faces.canonical_pose import CanonicalFace, _fit, _in_space, head_poses, read_canonical_face


def float_field(number, value):
    return bytes([number << 3 | 5]) + struct.pack("<f", value)


def message(number, content):
    assert len(content) < 16384
    return bytes([number << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content


@pytest.fixture
def canonical():
    random = np.random.default_rng(0)
    return CanonicalFace(
        indices=random.permutation(468)[:30], points=random.normal(0, 5, (30, 3)), weights=random.uniform(0.01, 0.2, 30)
    )


def test_known_similarities_are_recovered(canonical):
    rotations = Rotation.random(5, rng=1).as_matrix()
    targets = 1.7 * canonical.points @ rotations.transpose(0, 2, 1) + np.arange(15).reshape(5, 1, 3)
    poses = _fit(targets, canonical)
    assert poses[:, :3, :3] == pytest.approx(1.7 * rotations, abs=1e-9)
    assert poses[:, :3, 3] == pytest.approx(np.arange(15).reshape(5, 3), abs=1e-9)


def test_a_mirrored_face_is_fitted_without_mirroring(canonical):
    (pose,) = _fit((canonical.points * (-1, 1, 1))[None], canonical)
    assert np.linalg.det(pose[:3, :3]) > 0


def test_depth_is_in_front_of_the_camera_in_units_of_the_scale():
    points = np.array([[[0.1, 0.2, 0.5], [0.1, 0.2, 0.7]]])
    space = _in_space(points, np.array([[0.6]]), np.array([0.1]))
    assert space == pytest.approx(np.array([[[0.9, 1.8, -9], [1.1, 2.2, -11]]]))


def test_a_face_turned_in_the_plane_of_the_image_has_that_rotation(canonical):
    """In a camera so far away that the perspective does not matter."""
    flat = np.zeros((468, 3))
    flat[canonical.indices] = canonical.points
    poses = []
    for degrees in (0, 30):
        turned = flat @ Rotation.from_euler("z", degrees, degrees=True).as_matrix().T
        poses.append(head_poses((turned * (1e-4, -1e-4, -1e-4) + (0.5, 0.5, 0))[None], canonical)[0])
    turn = poses[1][:3, :3] @ np.linalg.inv(poses[0][:3, :3])
    assert Rotation.from_matrix(turn / np.cbrt(np.linalg.det(turn))).as_rotvec(degrees=True) == pytest.approx(
        [0, 0, 30], abs=0.01
    )
    assert poses[0][2, 3] < -1000  # centimetres


def test_faces_are_independent_of_their_batch(canonical):
    landmarks = np.random.default_rng(2).uniform(0.2, 0.8, (4, 478, 3))
    together = head_poses(landmarks, canonical)
    alone = np.concatenate([head_poses(face[None], canonical) for face in landmarks])
    assert together == pytest.approx(alone, rel=1e-9)


def test_the_file_is_a_mesh_and_weighted_points():
    mesh = b"\x08\x00\x10\x00" + b"".join(float_field(3, v) for v in range(15)) + b"\x20\x07"
    data = message(1, mesh) + message(2, b"\x08\x02" + float_field(2, 0.5)) + message(2, float_field(2, 0.25))
    canonical = read_canonical_face(data)
    assert canonical.indices.tolist() == [2, 0]
    assert canonical.points.tolist() == [[10, 11, 12], [0, 1, 2]]
    assert canonical.weights.tolist() == [0.5, 0.25]
