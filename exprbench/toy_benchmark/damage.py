"""Known errors of a reenactment: each function changes one property of an animation by a known amount."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from scipy.spatial.transform import Rotation

from exprbench.toy_benchmark.animation import Animation

UP = np.array([0.0, 1.0, 0.0])


def at_frames(motion: Animation, frames: np.ndarray) -> Animation:
    """Return an animation with frame `frames[t]` of `motion` at its frame t."""
    return Animation(**{f.name: getattr(motion, f.name)[frames] for f in fields(Animation)})


def delayed(motion: Animation, num_frames: int) -> Animation:
    """Return the animation delayed by `num_frames`; the first frame is held until then."""
    return at_frames(motion, np.maximum(np.arange(len(motion)) - num_frames, 0))


def frozen(motion: Animation, frame: int = 0) -> Animation:
    """Return the animation held at one frame."""
    return at_frames(motion, np.full(len(motion), frame))


def swapped(motions: Sequence[Animation]) -> list[Animation]:
    """Return the animations with every person given the next one's, and the last the first one's."""
    return [*motions[1:], *motions[:1]]


def jittered(
    motion: Animation,
    seed: int,
    *,
    head_deg: float = 1.5,
    gaze_deg: float = 3.0,
    blendshape: float = 0.04,
    offset_cm: float = 0.12,
) -> Animation:
    """Return the animation with Gaussian noise of these standard deviations, independent for each frame."""
    rng = np.random.default_rng([seed, 77])
    t = len(motion)
    turn = Rotation.from_rotvec(np.radians(rng.normal(0, head_deg, (t, 3)))).as_matrix()
    axis = np.cross(motion.gaze, rng.normal(size=(t, 3)))
    noise = rng.normal(0, blendshape, motion.blendshapes.shape)
    noise[:, 0] = 0
    return replace(
        motion,
        rotation=turn @ motion.rotation,
        gaze=_turned(motion.gaze, axis, np.abs(rng.normal(0, gaze_deg, t))),
        blendshapes=np.clip(motion.blendshapes + noise, 0, 1),
        offset_cm=motion.offset_cm + rng.normal(0, offset_cm, (t, 2)),
    )


def gaze_turned(motion: Animation, angle_deg: float) -> Animation:
    """Return the animation with every gaze turned by exactly `angle_deg` to the viewer's right.

    The rotation axis is the one perpendicular to the gaze that is closest to the vertical. Blendshapes do not change.
    """
    axis = UP - (motion.gaze @ UP)[:, None] * motion.gaze
    return replace(motion, gaze=_turned(motion.gaze, axis, angle_deg))


def head_turned(motion: Animation, angle_deg: float, *, axis: Sequence[float] = (0, 1, 0)) -> Animation:
    """Return the animation with the head turned by exactly `angle_deg` about an axis of its frame; the gaze is kept."""
    unit = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    turn = Rotation.from_rotvec(np.radians(angle_deg) * unit).as_matrix()
    return replace(motion, rotation=motion.rotation @ turn)


def expression_scaled(motion: Animation, factor: float) -> Animation:
    """Return the animation with all blendshapes multiplied by a factor in [0, 1]."""
    return replace(motion, blendshapes=motion.blendshapes * factor)


def _turned(vectors: np.ndarray, axes: np.ndarray, angle_deg: np.ndarray | float) -> np.ndarray:
    """Return vectors (T, 3) rotated about axes (T, 3) of any length by angles in degrees."""
    units = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.broadcast_to(np.radians(angle_deg), len(vectors))[:, None]
    return Rotation.from_rotvec(angles * units).apply(vectors)
