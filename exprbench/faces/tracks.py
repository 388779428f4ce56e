"""Who is where in every frame: the one neutral record of faces that everything else reads."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exprbench.core.arrays import pack_arrays, unpack_arrays
from exprbench.core.errors import ItemError
from exprbench.core.files import write_bytes

NUM_LANDMARKS = 478
NUM_BLENDSHAPES = 52
SCHEMA = 1
MAX_FACES = 64


class TracksError(ItemError):
    """A track file that cannot be used: `tracks_invalid` or `tracks_mismatch`."""


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """One person through one video of T frames. Where `seen` is false the other arrays hold NaN.

    Shapes and frames of reference:
        seen: (T,) bool.
        box: (T, 4) float32, x0 y0 x1 y1 of the landmarks, in [0, 1] of the full frame (beyond it where a face is cut).
        landmarks: (T, 478, 3) float32, MediaPipe's mesh and irises: x and y in [0, 1] of the full frame, z in the
            unit of x, smaller towards the camera.
        blendshapes: (T, 52) float32 in [0, 1], in MediaPipe's order (`_neutral` first).
        pose: (T, 4, 4) float32, canonical head to camera: x right, y up, z towards the viewer, centimetres. The camera
            is that of the square crop around the face, so that where a face stands in the frame does not turn it.
    """

    seen: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    blendshapes: np.ndarray
    pose: np.ndarray

    def __post_init__(self) -> None:
        t = len(self.seen)
        if self.seen.dtype != bool:
            raise ValueError(f"FaceTrack.seen is of type {self.seen.dtype}, expected bool")
        shapes = {
            "box": (t, 4),
            "landmarks": (t, NUM_LANDMARKS, 3),
            "blendshapes": (t, NUM_BLENDSHAPES),
            "pose": (t, 4, 4),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"FaceTrack.{name} is of shape {array.shape}, expected {shape}")
            if not np.isfinite(array[self.seen]).all():
                raise ValueError(f"FaceTrack.{name} is not finite in a frame where the face is seen")

    @property
    def seen_rate(self) -> float:
        """Share of frames in which the face is seen."""
        return float(self.seen.mean()) if len(self.seen) else 0.0

    def first(self, num_frames: int) -> "FaceTrack":
        """The track's first frames."""
        arrays = (self.seen, self.box, self.landmarks, self.blendshapes, self.pose)
        seen, box, landmarks, blendshapes, pose = (array[:num_frames] for array in arrays)
        return FaceTrack(seen=seen, box=box, landmarks=landmarks, blendshapes=blendshapes, pose=pose)


def unseen(num_frames: int) -> FaceTrack:
    """Return the track of a face that is never seen."""

    def unknown(*shape: int) -> np.ndarray:
        return np.full((num_frames, *shape), np.nan, np.float32)

    return FaceTrack(
        seen=np.zeros(num_frames, bool),
        box=unknown(4),
        landmarks=unknown(NUM_LANDMARKS, 3),
        blendshapes=unknown(NUM_BLENDSHAPES),
        pose=unknown(4, 4),
    )


@dataclass(frozen=True, kw_only=True)
class FaceTracks:
    """Every person of one video, left to right by where each is first seen.

    `made_by` says where the tracks come from (a model's hash and parameters, or "given").
    """

    num_frames: int
    width: int
    height: int
    fps: float
    tracks: tuple[FaceTrack, ...]
    made_by: str
    video_sha256: str = ""

    def __post_init__(self) -> None:
        counts, texts = (self.num_frames, self.width, self.height), (self.made_by, self.video_sha256)
        if any(type(n) is not int or n < 0 for n in counts) or any(type(text) is not str for text in texts):
            raise ValueError(f"{counts} frames, width and height, or a text that is none")
        if not 0 < self.fps < np.inf:
            raise ValueError(f"{self.fps} frames a second")
        for track in self.tracks:
            if len(track.seen) != self.num_frames:
                raise ValueError(f"a track of {len(track.seen)} frames in a video of {self.num_frames}")

    def first(self, num_frames: int) -> "FaceTracks":
        """The tracks over the video's first frames."""
        tracks = tuple(track.first(num_frames) for track in self.tracks)
        return replace(self, num_frames=min(num_frames, self.num_frames), tracks=tracks)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height


def pack_tracks(tracks: FaceTracks) -> bytes:
    """The bytes of a `.npz` (no pickles); the same tracks give the same bytes."""
    scalars = ("num_frames", "width", "height", "fps", "made_by", "video_sha256")
    meta = {"schema": SCHEMA, **{name: getattr(tracks, name) for name in scalars}}
    arrays = {name: _stack(tracks, name) for name in ("seen", "box", "landmarks", "blendshapes", "pose")}
    return pack_arrays({"meta": np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8), **arrays})


def save_tracks(path: Path, tracks: FaceTracks) -> None:
    """Write tracks as a `.npz` that `load_tracks` reads."""
    write_bytes(path, pack_tracks(tracks))


def _stack(tracks: FaceTracks, name: str) -> np.ndarray:
    t = tracks.num_frames
    empty = {
        "seen": np.zeros((0, t), bool),
        "box": np.zeros((0, t, 4), np.float32),
        "landmarks": np.zeros((0, t, NUM_LANDMARKS, 3), np.float32),
        "blendshapes": np.zeros((0, t, NUM_BLENDSHAPES), np.float32),
        "pose": np.zeros((0, t, 4, 4), np.float32),
    }[name]
    arrays = [getattr(track, name) for track in tracks.tracks]
    return np.stack(arrays).astype(empty.dtype) if arrays else empty


def unpack_tracks(data: bytes) -> FaceTracks:
    """The tracks in the bytes of a `.npz`.

    Raises:
        TracksError: `tracks_invalid`, saying what is wrong.
    """
    try:
        return _from_arrays(unpack_arrays(data))
    except Exception as error:  # damaged archives make zipfile, zlib and numpy raise almost anything
        raise TracksError("tracks_invalid", f"not a track file: {type(error).__name__}: {error}") from error


def load_tracks(path: Path) -> FaceTracks:
    """Read tracks written by `save_tracks`, or by a user's own code in the same layout; errors as `unpack_tracks`."""
    return unpack_tracks(path.read_bytes())


def _from_arrays(arrays: dict[str, np.ndarray]) -> FaceTracks:
    meta = json.loads(arrays.pop("meta").tobytes())
    if meta.pop("schema") != SCHEMA:
        raise ValueError(f"tracks of another schema than {SCHEMA}")
    num_faces = len(arrays["seen"])
    if num_faces > MAX_FACES:
        raise ValueError(f"{num_faces} faces are more than {MAX_FACES}")
    tracks = [FaceTrack(**{name: array[i] for name, array in arrays.items()}) for i in range(num_faces)]
    return FaceTracks(tracks=tuple(tracks), **meta)
