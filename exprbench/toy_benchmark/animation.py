"""Generate the motion of one person: head, gaze and expression over T frames, smooth and determined by a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from exprbench.toy_benchmark.blendshapes import NAMES, index, indices

FPS = 25
HEAD_REACH_DEG = np.array([21.0, 11.0, 8.0])  # largest yaw, pitch and roll of the head
SWAY_CM = np.array([0.8, 0.45])
GAZE_REACH_DEG = np.array([17.0, 9.0])  # largest horizontal and vertical angle relative to the head
EYE_FULL_DEG = np.array([30.0, 25.0])  # angles at which an eyeLook blendshape is 1
BLINK = np.array([0.35, 0.9, 1.0, 0.75, 0.35, 0.1])
SACCADE_FRAMES = 3

# Blendshapes of each expression; a name without Left or Right sets both sides.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "calm": {"mouthSmile": 0.12},
    "smile": {"mouthSmile": 0.75, "cheekSquint": 0.4, "eyeSquint": 0.2},
    "laugh": {"mouthSmile": 0.95, "jawOpen": 0.42, "mouthUpperUp": 0.35, "cheekSquint": 0.6, "eyeSquint": 0.45},
    "surprise": {"jawOpen": 0.55, "mouthFunnel": 0.35, "eyeWide": 0.9, "browInnerUp": 0.9, "browOuterUp": 0.8},
    "doubt": {"browDownLeft": 0.5, "browOuterUpRight": 0.8, "mouthLeft": 0.5, "mouthPress": 0.4, "eyeSquintLeft": 0.4},
    "sulk": {"browDown": 0.6, "mouthFrown": 0.7, "mouthShrugLower": 0.5, "mouthPucker": 0.2},
    "worry": {"browInnerUp": 0.85, "mouthFrown": 0.35, "mouthStretch": 0.4, "mouthPress": 0.2},
    "kiss": {"mouthPucker": 0.9, "browInnerUp": 0.25, "eyeSquint": 0.15},
    "disgust": {"noseSneer": 0.8, "mouthUpperUp": 0.5, "browDown": 0.5, "eyeSquint": 0.5},
    "smirk": {"mouthSmileRight": 0.75, "mouthDimpleRight": 0.4, "browOuterUpRight": 0.35},
    "thought": {"mouthRight": 0.4, "mouthPucker": 0.4, "browInnerUp": 0.4},
    "puff": {"cheekPuff": 0.8, "mouthPress": 0.4, "eyeWide": 0.25},
}


@dataclass(frozen=True, kw_only=True)
class Animation:
    """Motion of one person over T frames at 25 fps.

    Directions are in the camera's frame: x right, y up, z towards the viewer.

    Attributes:
        rotation: (T, 3, 3) float64, head to camera; the identity faces the camera.
        gaze: (T, 3) float64 unit vectors, the same for both eyes.
        blendshapes: (T, 52) float64 in [0, 1], in MediaPipe's order.
        offset_cm: (T, 2) float64, offset of the head from its rest position, right and up.
        seen: (T,) bool, false in frames in which a book covers the face.
    """

    rotation: np.ndarray
    gaze: np.ndarray
    blendshapes: np.ndarray
    offset_cm: np.ndarray
    seen: np.ndarray

    def __len__(self) -> int:
        return len(self.gaze)

    @property
    def rotvec(self) -> np.ndarray:
        """Return the head rotation (T, 3) as axis times angle in radians."""
        return Rotation.from_matrix(self.rotation).as_rotvec()


def still(
    expression: Mapping[str, float] | None = None,
    *,
    head_deg: Sequence[float] = (0, 0, 0),
    gaze_deg: Sequence[float] = (0, 0),
    num_frames: int = 1,
) -> Animation:
    """Return the animation of a person who does not move.

    Args:
        expression: blendshapes by name ("mouthSmile" sets both sides).
        head_deg: yaw to the viewer's right, pitch up, roll to the viewer's right, in degrees.
        gaze_deg: angles to the viewer's right and up in the camera's frame; (0, 0) looks into the camera.
        num_frames: number of frames.
    """
    shapes = np.zeros((num_frames, len(NAMES)))
    for name, value in (expression or {}).items():
        shapes[:, list(indices(name))] = value
    rotation = np.tile(head_rotation(np.array([head_deg])), (num_frames, 1, 1))
    gaze = np.tile(direction(np.array([gaze_deg])), (num_frames, 1))
    _set_eye_blendshapes(shapes, eye_angles_deg(rotation, gaze))
    return Animation(
        rotation=rotation,
        gaze=gaze,
        blendshapes=shapes,
        offset_cm=np.zeros((num_frames, 2)),
        seen=np.ones(num_frames, bool),
    )


def perform(seed: int, num_frames: int) -> Animation:
    """Return an animation with saccades, nods, blinks, speech and changing expressions, determined by the seed."""
    head, sway, eyes, face, blink, speech = (np.random.default_rng([seed, i]) for i in range(6))
    angles_deg = _head_deg(head, num_frames)
    rotation = head_rotation(angles_deg)
    eye_deg, saccades = _gaze_in_head_deg(eyes, num_frames)
    shapes = _expressions(face, num_frames)
    _add_speech(speech, shapes)
    shapes[:, list(indices("eyeBlink"))] = _blinks(blink, num_frames, saccades)[:, None]
    _set_eye_blendshapes(shapes, eye_deg)
    return Animation(
        rotation=rotation,
        gaze=np.einsum("tij,tj->ti", rotation, direction(eye_deg)),
        blendshapes=np.clip(shapes, 0, 1),
        offset_cm=_wander(sway, num_frames, 1.3, 2) * SWAY_CM + angles_deg[:, :2] * (0.035, 0.02),
        seen=np.ones(num_frames, bool),
    )


def head_rotation(angles_deg: np.ndarray) -> np.ndarray:
    """Return rotations (T, 3, 3) from (T, 3) yaw to the viewer's right, pitch up and roll to the right, in degrees."""
    yaw, pitch, roll = np.moveaxis(np.asarray(angles_deg, np.float64), -1, 0)
    return Rotation.from_euler("YXZ", np.column_stack([yaw, -pitch, -roll]), degrees=True).as_matrix()


def direction(angles_deg: np.ndarray) -> np.ndarray:
    """Return unit vectors (T, 3) from angles (T, 2) in degrees to the right and up."""
    right, up = np.radians(angles_deg).T
    return np.column_stack([np.sin(right) * np.cos(up), np.sin(up), np.cos(right) * np.cos(up)])


def eye_angles_deg(rotation: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Return the gaze (T, 2) relative to the head, in degrees to the viewer's right and up."""
    x, y, z = np.einsum("tji,tj->it", rotation, gaze)
    return np.degrees(np.column_stack([np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))]))


def _wander(rng: np.random.Generator, num_frames: int, every_s: float, num: int) -> np.ndarray:
    """Return (T, num) smooth values of about [-1, 1] with a new random target every `every_s` seconds."""
    pad = 4
    count = int(np.ceil(num_frames / FPS / every_s)) + 2 * pad
    keys = rng.uniform(-1, 1, (count, num))
    times = (np.arange(count) - pad + rng.uniform(-0.3, 0.3, count)) * every_s
    return np.tanh(1.3 * PchipInterpolator(times, keys)(np.arange(num_frames) / FPS))


def _head_deg(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    turns = _wander(rng, num_frames, 0.9, 3)
    tremble = _wander(rng, num_frames, 0.35, 3)
    turns[:, 2] = 0.6 * turns[:, 2] + 0.4 * turns[:, 0]
    return gaussian_filter1d(HEAD_REACH_DEG * (0.9 * turns + 0.1 * tremble), 1.5, axis=0, mode="nearest")


def _gaze_in_head_deg(rng: np.random.Generator, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the gaze (T, 2) relative to the head, of saccades and slow pursuit, and the frames of the saccades."""
    target = np.zeros((num_frames, 2))
    saccades, t = [], 0
    while t < num_frames:
        saccades.append(t)
        target[t:] = rng.uniform(-1, 1, 2) * GAZE_REACH_DEG * rng.choice([0.35, 1.0])
        t += int(rng.integers(8, 30))
    path = np.array([target[max(0, i - SACCADE_FRAMES + 1) : i + 1].mean(0) for i in range(num_frames)])
    pursuit = _wander(rng, num_frames, 0.8, 2) * 0.25 * GAZE_REACH_DEG
    return path + pursuit, np.array(saccades[1:], int)


def _expressions(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Return (T, 52) blendshapes: expressions with smooth transitions and a slight asymmetry."""
    names = list(EXPRESSIONS)
    keys, times, t = [], [], -float(rng.uniform(0, 0.4))
    remaining: list[str] = []
    while not times or times[-1] < num_frames / FPS:
        remaining = remaining or [names[i] for i in rng.permutation(len(names))]
        pose = still(EXPRESSIONS[remaining.pop()]).blendshapes[0]
        pose = pose * rng.uniform(0.8, 1.05) * rng.uniform(0.85, 1, len(NAMES))
        for hold_s in (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.5)):
            keys.append(pose)
            times.append(t)
            t += float(hold_s)
    shapes = PchipInterpolator(times, np.array(keys))(np.arange(num_frames) / FPS)
    idle = 0.04 * (1 + _wander(rng, num_frames, 0.5, len(NAMES)))
    idle[:, [i for i, name in enumerate(NAMES) if not name.startswith(("brow", "eye", "cheekSquint"))]] = 0
    idle[:, list(indices("eyeBlink"))] = 0
    return np.clip(shapes + idle, 0, 1)


def _add_speech(rng: np.random.Generator, shapes: np.ndarray) -> None:
    """Add speech during about half of the time, at four syllables per second."""
    num_frames = len(shapes)
    talking = np.clip(3 * _wander(rng, num_frames, 1.1, 1)[:, 0], 0, 1)
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * np.cumsum(4 + _wander(rng, num_frames, 0.5, 1)[:, 0]) / FPS)
    shapes[:, index("jawOpen")] += 0.3 * talking * syllables
    for name, amount in (("mouthFunnel", 0.3), ("mouthPucker", 0.35), ("mouthStretch", 0.3), ("mouthLowerDown", 0.3)):
        vowel = np.clip(_wander(rng, num_frames, 0.25, 1), 0, 1)
        shapes[:, list(indices(name))] += amount * talking[:, None] * vowel


def _blinks(rng: np.random.Generator, num_frames: int, saccades: np.ndarray) -> np.ndarray:
    """Return (T,) closure of both lids: a blink every two to three seconds, and with some saccades."""
    lids = np.zeros(num_frames + len(BLINK))
    starts = np.cumsum(rng.integers(30, 85, 2 + num_frames // 30)) - 25
    for start in (*starts, *saccades[rng.random(len(saccades)) < 0.3]):
        if start < num_frames:
            part = lids[start : start + len(BLINK)]
            np.maximum(part, BLINK, out=part)
    return lids[:num_frames]


def _set_eye_blendshapes(shapes: np.ndarray, eye_deg: np.ndarray) -> None:
    """Set the eyeLook blendshapes to the gaze relative to the head, in degrees."""
    right, up = (eye_deg / EYE_FULL_DEG).T
    for name, value in (("Up", up), ("Down", -up)):
        shapes[:, list(indices(f"eyeLook{name}"))] = np.clip(value, 0, 1)[:, None]
    for name, value in (("OutLeft", right), ("InRight", right), ("InLeft", -right), ("OutRight", -right)):
        shapes[:, index(f"eyeLook{name}")] = np.clip(value, 0, 1)
