"""Made-up faces whose landmarks, gaze, pose and expression are known."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from exprbench.faces import FaceTrack
from exprbench.faces.gaze import eye_ball
from exprbench.faces.landmark_groups import EYE_POINTS
from exprbench.metrics import face_errors as module
from exprbench.metrics.face_pair import FacePair

SIZE = (640, 360)
NETWORKS = {"l2cs": ("gaze",), "smirk": ("expression", "pose")}


def track(landmarks, *, pose=None, blendshapes=None, seen=None):
    """A track of landmarks (T, 478, 3); upright heads and still faces where nothing else is said."""
    landmarks = np.asarray(landmarks, np.float32).copy()
    count = len(landmarks)
    seen = np.ones(count, bool) if seen is None else np.asarray(seen, bool)
    pose = np.tile(np.eye(4), (count, 1, 1)) if pose is None else pose
    blendshapes = np.zeros((count, 52)) if blendshapes is None else blendshapes
    flat = landmarks[..., :2]
    box = np.concatenate([flat.min(1), flat.max(1)], axis=1)
    arrays = {"box": box, "landmarks": landmarks, "blendshapes": blendshapes, "pose": pose}
    arrays = {name: np.array(array, np.float32) for name, array in arrays.items()}
    for array in arrays.values():
        array[~seen] = np.nan
    return FaceTrack(seen=seen, **arrays)


def any_face(count=4, seed=0, **options):
    rng = np.random.default_rng(seed)
    shape = rng.uniform(-0.1, 0.1, (478, 3)) + (0.5, 0.5, 0)
    landmarks = shape + rng.normal(0, 0.01, (count, 1, 3))
    options.setdefault("blendshapes", rng.uniform(0, 1, (count, 52)))
    options.setdefault("pose", poses(Rotation.from_rotvec(rng.normal(0, 0.3, (count, 3)))))
    return track(landmarks, **options)


def poses(turns):
    """(T, 4, 4) of rotations."""
    matrices = np.tile(np.eye(4), (len(turns), 1, 1))
    matrices[:, :3, :3] = turns.as_matrix()
    return matrices


def direction(yaw_deg, pitch_deg):
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def looking(directions, turns, closed=()):
    """A face whose both eyes look along `directions` (T, 3), on heads turned by `turns`; `closed`: (frame, eye)."""
    landmarks = np.random.default_rng(0).uniform(0.4, 0.6, (len(turns), 478, 3))
    corners = {33: (-1.5, 0, 0), 133: (-0.5, 0, 0.1), 263: (1.5, 0, 0), 362: (0.5, 0, 0.1)}
    for t, turn in enumerate(turns):
        points = {i: turn.apply(np.array(p) * 40.0) + (300, -200, 0) for i, p in corners.items()}
        for outer, inner, iris in EYE_POINTS:
            centre, radius = eye_ball(points[outer], points[inner], turn.as_matrix())
            points[iris] = centre + radius * directions[t]
        for i, point in points.items():
            landmarks[t, i] = point / (SIZE[0], -SIZE[1], -SIZE[0])
    blendshapes = np.zeros((len(turns), 52))
    for t, eye in closed:
        blendshapes[t, (10, 9)[eye]] = 0.9
    return track(landmarks, pose=poses(turns), blendshapes=blendshapes)


def pair(reference, predicted, size=SIZE, predicted_size=None):
    return FacePair(
        reference=reference, predicted=predicted, reference_size=size, predicted_size=predicted_size or size
    )


def face_errors(faces, profile="mediapipe", readings=({}, {})):
    """Errors of every column of a profile whose readings both sides have."""
    networks = [name for name, outputs in NETWORKS.items() if all(o in side for o in outputs for side in readings)]
    pair = replace(faces, profile=profile, readings=readings)
    return module.face_errors(pair, module.face_columns(profile, networks))


def hidden(face, *frames):
    """The same face, not seen in some frames."""
    seen = face.seen.copy()
    seen[list(frames)] = False
    arrays = {name: getattr(face, name).copy() for name in ("box", "landmarks", "blendshapes", "pose")}
    for array in arrays.values():
        array[~seen] = np.nan
    return FaceTrack(seen=seen, **arrays)


def shifted(face, dx, dy=0.0):
    landmarks = face.landmarks + np.array([dx, dy, 0], np.float32)
    return replace(face, landmarks=landmarks, box=face.box + np.array([dx, dy, dx, dy], np.float32))
