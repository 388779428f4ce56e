"""What the networks of the profile `paper` read in a tracked face: a second look at the video, with the faces known."""

import io
from functools import lru_cache
from typing import Any

import numpy as np

from exprbench import weights
from exprbench.core.cache import cached
from exprbench.core.files import sha256_bytes
from exprbench.faces import FaceTrack
from exprbench.metrics import l2cs, smirk
from exprbench.metrics.faces import Readings
from exprbench.scoring.plan import Plan
from exprbench.scoring.single_pass import Video

ARRAYS = ("gaze", "expression", "pose")


def readings_of(plan: Plan, video: Video, track: FaceTrack | None, num_frames: int) -> Readings:
    """Of one face over a video's first frames; None for networks whose files are not to be had."""
    have = {name: name not in plan.without for name in ("l2cs", "smirk")}
    if not any(have.values()):
        return Readings()
    if track is None:
        return _unread(num_frames, have)
    key = {
        "video": video.sha256,
        "track": sha256_bytes(track.seen.tobytes() + track.landmarks.tobytes()),
        "weights": {name: weights.get(name).sha256 for name, there in have.items() if there},
        "fps": plan.bench.fps,
        "device": plan.device,
    }

    def read() -> Readings:
        return _read(plan, video, track, have)

    readings = cached("readings", key, read, _pack, _unpack)
    return Readings(**{name: _first(getattr(readings, name), num_frames) for name in ARRAYS})


def _first(array: np.ndarray | None, num_frames: int) -> np.ndarray | None:
    return None if array is None else array[:num_frames]


def _unread(num_frames: int, have: dict[str, bool]) -> Readings:
    unknown = {name: np.full((num_frames, n), np.nan) for name, n in (("gaze", 3), ("expression", 55), ("pose", 3))}
    return Readings(
        gaze=unknown["gaze"] if have["l2cs"] else None,
        expression=unknown["expression"] if have["smirk"] else None,
        pose=unknown["pose"] if have["smirk"] else None,
    )


def _read(plan: Plan, video: Video, track: FaceTrack, have: dict[str, bool]) -> Readings:
    """Crop the face out of every frame in which it is seen, and let the networks look at the crops."""
    crops: dict[str, list[np.ndarray]] = {"l2cs": [], "smirk": []}
    with video.open() as clip:
        for t, frame in enumerate(video.frames(clip)):
            if track.seen[t]:
                points = track.landmarks[t, :, :2].astype(np.float64) * (frame.shape[1], frame.shape[0])
                crops["l2cs"].append(l2cs.crop(frame, points))
                crops["smirk"].append(smirk.crop(frame, points))
    found: dict[str, np.ndarray] = {}
    if have["l2cs"]:
        found["gaze"] = _gaze_network(plan.device)(crops["l2cs"])
    if have["smirk"]:
        parameters = _expression_network(plan.device)(crops["smirk"])
        found |= {"expression": parameters.expression, "pose": parameters.pose}
    return Readings(**{name: _spread(values, track.seen) for name, values in found.items()})


def _spread(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values of the frames in which the face is seen, put where those frames are."""
    whole = np.full((len(seen), values.shape[1]), np.nan)
    whole[seen] = values
    return whole


@lru_cache(maxsize=1)
def _gaze_network(device: str) -> Any:
    return l2cs.GazeNetwork(weights.require("l2cs"), device=device)


@lru_cache(maxsize=1)
def _expression_network(device: str) -> Any:
    return smirk.ExpressionNetwork(weights.require("smirk"), device=device)


def _pack(readings: Readings) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name in ARRAYS if (value := getattr(readings, name)) is not None})
    return buffer.getvalue()


def _unpack(data: bytes) -> Readings:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return Readings(**{name: file[name] for name in file.files})
