"""How one person moves: head, gaze and expression over T frames, lively, smooth and repeatable from a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from exprbench.demo.blendshapes import NAMES, index, places

FPS = 25
HEAD_REACH_DEG = np.array([21.0, 11.0, 8.0])  # yaw, pitch, roll of the furthest a head is turned
SWAY_CM = np.array([0.8, 0.45])
GAZE_REACH_DEG = np.array([17.0, 9.0])  # in the head, sideways and up or down
EYE_FULL_DEG = np.array([30.0, 25.0])  # at which an eyeLook blendshape is one
BLINK = np.array([0.35, 0.9, 1.0, 0.75, 0.35, 0.1])
SACCADE_FRAMES = 3

# An expression is a few blendshapes; a name without its side moves both.
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
    """One person's movement over T frames at 25 fps.

    Directions are in the camera's frame: x right, y up, z towards the viewer.

    Shapes:
        rotation: (T, 3, 3) float64, head to camera; the identity faces the camera.
        gaze: (T, 3) float64 unit vectors, the same for both eyes.
        blendshapes: (T, 52) float64 in [0, 1], in MediaPipe's order.
        offset_cm: (T, 2) float64, where the head has swayed to: right and up of its place.
        seen: (T,) bool, false where a book is held before the face.
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
        """(T, 3) head rotation as axis times angle in radians."""
        return Rotation.from_matrix(self.rotation).as_rotvec()


def still(
    expression: Mapping[str, float] | None = None,
    *,
    head_deg: Sequence[float] = (0, 0, 0),
    gaze_deg: Sequence[float] = (0, 0),
    num_frames: int = 1,
) -> Animation:
    """Somebody who holds still.

    Args:
        expression: blendshapes by name ("mouthSmile" is both sides).
        head_deg: yaw and roll to the viewer's right, pitch up.
        gaze_deg: to the viewer's right and up, in the camera's frame; (0, 0) looks into the camera.
    """
    shapes = np.zeros((num_frames, len(NAMES)))
    for name, value in (expression or {}).items():
        shapes[:, list(places(name))] = value
    rotation = np.tile(head_rotation(np.array([head_deg])), (num_frames, 1, 1))
    gaze = np.tile(direction(np.array([gaze_deg])), (num_frames, 1))
    _look(shapes, eye_angles_deg(rotation, gaze))
    return Animation(
        rotation=rotation,
        gaze=gaze,
        blendshapes=shapes,
        offset_cm=np.zeros((num_frames, 2)),
        seen=np.ones(num_frames, bool),
    )


def perform(seed: int, num_frames: int) -> Animation:
    """A lively performance: glances, nods, blinks, talk and one expression after another. The same seed, the same."""
    head, sway, look, face, blink, talk = (np.random.default_rng([seed, i]) for i in range(6))
    angles_deg = _head_deg(head, num_frames)
    rotation = head_rotation(angles_deg)
    eye_deg, jumps = _gaze_in_head_deg(look, num_frames)
    shapes = _expressions(face, num_frames)
    _speak(talk, shapes)
    shapes[:, list(places("eyeBlink"))] = _blinks(blink, num_frames, jumps)[:, None]
    _look(shapes, eye_deg)
    return Animation(
        rotation=rotation,
        gaze=np.einsum("tij,tj->ti", rotation, direction(eye_deg)),
        blendshapes=np.clip(shapes, 0, 1),
        offset_cm=_wander(sway, num_frames, 1.3, 2) * SWAY_CM + angles_deg[:, :2] * (0.035, 0.02),
        seen=np.ones(num_frames, bool),
    )


def head_rotation(angles_deg: np.ndarray) -> np.ndarray:
    """(T, 3, 3) from yaw (to the viewer's right), pitch (up) and roll (to the viewer's right), each (T,) in degrees."""
    yaw, pitch, roll = np.moveaxis(np.asarray(angles_deg, np.float64), -1, 0)
    return Rotation.from_euler("YXZ", np.column_stack([yaw, -pitch, -roll]), degrees=True).as_matrix()


def direction(angles_deg: np.ndarray) -> np.ndarray:
    """(T, 3) unit vectors from angles (T, 2) in degrees to the right and up."""
    right, up = np.radians(angles_deg).T
    return np.column_stack([np.sin(right) * np.cos(up), np.sin(up), np.cos(right) * np.cos(up)])


def eye_angles_deg(rotation: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """(T, 2) where the eyes point in the head, in degrees to the viewer's right and up."""
    x, y, z = np.einsum("tji,tj->it", rotation, gaze)
    return np.degrees(np.column_stack([np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))]))


def _wander(rng: np.random.Generator, num_frames: int, every_s: float, num: int) -> np.ndarray:
    """(T, num) smooth values of about [-1, 1] that take a new course every so often."""
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
    """(T, 2) where the eyes point in the head: jumps, and slow pursuit between them; and the frames of the jumps."""
    held = np.zeros((num_frames, 2))
    jumps, t = [], 0
    while t < num_frames:
        jumps.append(t)
        held[t:] = rng.uniform(-1, 1, 2) * GAZE_REACH_DEG * rng.choice([0.35, 1.0])
        t += int(rng.integers(8, 30))
    path = np.array([held[max(0, i - SACCADE_FRAMES + 1) : i + 1].mean(0) for i in range(num_frames)])
    pursuit = _wander(rng, num_frames, 0.8, 2) * 0.25 * GAZE_REACH_DEG
    return path + pursuit, np.array(jumps[1:], int)


def _expressions(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """(T, 52): every expression eases into the next and is a little lopsided."""
    moods = list(EXPRESSIONS)
    keys, times, t = [], [], -float(rng.uniform(0, 0.4))
    bag: list[str] = []
    while not times or times[-1] < num_frames / FPS:
        bag = bag or [moods[i] for i in rng.permutation(len(moods))]
        pose = still(EXPRESSIONS[bag.pop()]).blendshapes[0] * rng.uniform(0.8, 1.05) * rng.uniform(0.85, 1, len(NAMES))
        for hold_s in (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.5)):
            keys.append(pose)
            times.append(t)
            t += float(hold_s)
    shapes = PchipInterpolator(times, np.array(keys))(np.arange(num_frames) / FPS)
    idle = 0.04 * (1 + _wander(rng, num_frames, 0.5, len(NAMES)))
    idle[:, [i for i, name in enumerate(NAMES) if not name.startswith(("brow", "eye", "cheekSquint"))]] = 0
    idle[:, list(places("eyeBlink"))] = 0
    return np.clip(shapes + idle, 0, 1)


def _speak(rng: np.random.Generator, shapes: np.ndarray) -> None:
    """Add talk to about half of the time: four syllables a second."""
    num_frames = len(shapes)
    talking = np.clip(3 * _wander(rng, num_frames, 1.1, 1)[:, 0], 0, 1)
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * np.cumsum(4 + _wander(rng, num_frames, 0.5, 1)[:, 0]) / FPS)
    shapes[:, index("jawOpen")] += 0.3 * talking * syllables
    for name, amount in (("mouthFunnel", 0.3), ("mouthPucker", 0.35), ("mouthStretch", 0.3), ("mouthLowerDown", 0.3)):
        vowel = np.clip(_wander(rng, num_frames, 0.25, 1), 0, 1)
        shapes[:, list(places(name))] += amount * talking[:, None] * vowel


def _blinks(rng: np.random.Generator, num_frames: int, jumps: np.ndarray) -> np.ndarray:
    """(T,) both lids: every two or three seconds, and now and then with a jump of the eyes."""
    lids = np.zeros(num_frames + len(BLINK))
    starts = np.cumsum(rng.integers(30, 85, 2 + num_frames // 30)) - 25
    for start in (*starts, *jumps[rng.random(len(jumps)) < 0.3]):
        if start < num_frames:
            part = lids[start : start + len(BLINK)]
            np.maximum(part, BLINK, out=part)
    return lids[:num_frames]


def _look(shapes: np.ndarray, eye_deg: np.ndarray) -> None:
    """Set the eyeLook blendshapes to where the eyes point in the head."""
    right, up = (eye_deg / EYE_FULL_DEG).T
    for name, value in (("Up", up), ("Down", -up)):
        shapes[:, list(places(f"eyeLook{name}"))] = np.clip(value, 0, 1)[:, None]
    for name, value in (("OutLeft", right), ("InRight", right), ("InLeft", -right), ("OutRight", -right)):
        shapes[:, index(f"eyeLook{name}")] = np.clip(value, 0, 1)
