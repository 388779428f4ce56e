"""Head pose from landmarks: the fit of the canonical face, by MediaPipe's geometry pipeline, for many faces at once.

The landmarks' depth has no unit, so the fit is made three times: in the plane of the image, which gives the scale of
the face; with that scale as its distance, which corrects the scale; and with the corrected scale.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

NUM_POINTS = 468  # of the mesh, without irises
HALF_HEIGHT = np.tan(np.radians(63) / 2)  # of the image, in units of its distance from the camera
VERTEX_FLOATS = 5  # position and texture coordinates


@dataclass(frozen=True, kw_only=True)
class CanonicalFace:
    """Points of the canonical face that are fitted.

    Attributes:
        indices: (K,) numbers of the landmarks.
        points: (K, 3) in centimetres; x right, y up, z towards the viewer.
        weights: (K,) of the squared distances.
    """

    indices: np.ndarray
    points: np.ndarray
    weights: np.ndarray


def read_canonical_face(data: bytes) -> CanonicalFace:
    """Return the canonical face in the bytes of MediaPipe's `geometry_pipeline_metadata_landmarks.binarypb`."""
    vertices: list[float] = []
    basis = []
    for number, value in _fields(data):
        if number == 1:
            vertices += [struct.unpack("<f", v)[0] for n, v in _fields(value) if n == 3]
        elif number == 2:
            landmark = dict(_fields(value))
            basis.append((landmark.get(1, 0), struct.unpack("<f", landmark[2])[0]))
    indices = np.array([index for index, _ in basis])
    points = np.array(vertices).reshape(-1, VERTEX_FLOATS)[:, :3]
    return CanonicalFace(indices=indices, points=points[indices], weights=np.array([weight for _, weight in basis]))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of the fields of a protocol buffer; values of fixed length and of messages are bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(wire)
        if length is None:
            length, at = _varint(data, at)
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def head_poses(landmarks: np.ndarray, canonical: CanonicalFace) -> np.ndarray:
    """Return poses (N, 4, 4), canonical head to camera in centimetres; x right, y up, z towards the viewer.

    Args:
        landmarks: (N, 478, 3) in [0, 1] of a square picture.
        canonical: the face that is fitted.
    """
    screen = (np.asarray(landmarks[:, :NUM_POINTS], np.float64) - (0.5, 0.5, 0)) * (2, -2, 2) * HALF_HEIGHT
    depth = screen[:, :, 2].mean(1)[:, None]
    points = screen[:, canonical.indices]
    first = _scales(_fit(points * (1, 1, -1), canonical))
    second = _scales(_fit(_in_space(points, depth, first), canonical))
    return _fit(_in_space(points, depth, first * second), canonical)


def _in_space(points: np.ndarray, depth: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return points on the image plane, with relative depth, in camera space, for a scale of each face."""
    distance = (points[..., 2] - depth + 1) / scales[:, None]
    return np.concatenate([points[..., :2] * distance[..., None], -distance[..., None]], axis=-1)


def _scales(poses: np.ndarray) -> np.ndarray:
    return np.linalg.norm(poses[:, :3, 0], axis=1)


def _fit(points: np.ndarray, canonical: CanonicalFace) -> np.ndarray:
    """Return the similarities (N, 4, 4) that map the canonical face best to points (N, K, 3) (weighted Procrustes)."""
    weights = canonical.weights / canonical.weights.sum()
    centre, target_centre = weights @ canonical.points, weights @ points
    source, target = canonical.points - centre, points - target_centre[:, None]
    covariance = np.einsum("nki,kj,k->nij", target, source, weights)
    u, s, vt = np.linalg.svd(covariance)
    mirror = np.ones_like(s)
    mirror[:, 2] = np.sign(np.linalg.det(u @ vt))
    linear = (u * mirror[:, None]) @ vt
    linear *= ((s * mirror).sum(1) / (weights @ (source**2).sum(1)))[:, None, None]
    poses = np.tile(np.eye(4), (len(points), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = linear, target_centre - linear @ centre
    return poses
