"""Face tracks: the landmarks, blendshapes and head pose of every person in every frame of a video."""

import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.arrays import pack_arrays, unpack_arrays
from exprbench.core.errors import ItemError
from exprbench.core.files import write_bytes

NUM_LANDMARKS = 478
NUM_BLENDSHAPES = 52
SCHEMA = 1
MAX_FACES = 64
MAX_BYTES = 1 << 30  # unpacked: an hour of two people at 25 frames per second
MAX_FRAMES, MAX_SIDE, MAX_TEXT = 1_000_000, 1 << 16, 1000  # of metadata: frames, pixels, characters


class TracksError(ItemError):
    """A track file that cannot be used: `tracks_invalid` or `tracks_mismatch`."""


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """One person in a video of T frames; in frames in which `seen` is false the other arrays are NaN.

    Attributes:
        seen: (T,) bool.
        box: (T, 4) float32, x0 y0 x1 y1 of the landmarks, in [0, 1] of the full frame (beyond it if a face is cut off).
        landmarks: (T, 478, 3) float32, MediaPipe's mesh and irises: x and y in [0, 1] of the full frame, whose first
            pixel has its centre at (0.5 / width, 0.5 / height); z in the unit of x, smaller towards the camera.
        blendshapes: (T, 52) float32 in [0, 1], in MediaPipe's order (`_neutral` first).
        pose: (T, 4, 4) float32, canonical head to camera: x right, y up, z towards the viewer, in centimetres. The
            camera is that of a square crop around the face, so the rotation does not depend on the place in the frame.
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
        """Return the share of frames in which the face is seen."""
        return float(self.seen.mean()) if len(self.seen) else 0.0

    @property
    def first_x(self) -> float:
        """Return the centre of the box, in [0, 1] of the width, where the face is first seen; infinity if never."""
        return float(self.box[self.seen.argmax(), [0, 2]].mean()) if self.seen.any() else float("inf")

    def first(self, num_frames: int) -> "FaceTrack":
        """Return the track over its first frames."""
        return self.cut(slice(num_frames))

    def skip(self, num_frames: int) -> "FaceTrack":
        """Return the track without its first frames."""
        return self.cut(slice(num_frames, None))

    def cut(self, frames: slice) -> "FaceTrack":
        """Return the track over some of its frames."""
        return FaceTrack(**{name: array[frames] for name, array in vars(self).items()})


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
    """The tracks of all people in a video, left to right by where each is first seen.

    Attributes:
        num_frames, width, height, fps: of the video; width and height in pixels.
        made_by: origin of the tracks, such as the model's hash and the tracker's version.
        video_sha256: hash of the video; empty if unknown.
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
            raise ValueError(f"{counts} frames, width and height, with texts {texts}; expected whole numbers and texts")
        if not 0 < self.fps < np.inf:
            raise ValueError(f"{self.fps} frames a second")
        for track in self.tracks:
            if len(track.seen) != self.num_frames:
                raise ValueError(f"a track of {len(track.seen)} frames in a video of {self.num_frames}")

    def first(self, num_frames: int) -> "FaceTracks":
        """Return the tracks over the video's first frames."""
        tracks = tuple(track.first(num_frames) for track in self.tracks)
        return replace(self, num_frames=min(num_frames, self.num_frames), tracks=tracks)

    def skip(self, num_frames: int) -> "FaceTracks":
        """Return the tracks without the video's first frames, in the order of the rest of the video."""
        tracks = sorted((track.skip(num_frames) for track in self.tracks), key=lambda track: track.first_x)
        return replace(self, num_frames=max(0, self.num_frames - num_frames), tracks=tuple(tracks))

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels."""
        return self.width, self.height


def pack_tracks(tracks: FaceTracks) -> bytes:
    """Return tracks as the bytes of a `.npz` without pickles; equal tracks give equal bytes."""
    scalars = ("num_frames", "width", "height", "fps", "made_by", "video_sha256")
    meta = {"schema": SCHEMA, **{name: getattr(tracks, name) for name in scalars}}
    arrays = {name: _stack(tracks, name) for name in ("seen", "box", "landmarks", "blendshapes", "pose")}
    return pack_arrays({"meta": np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8), **arrays})


def save_tracks(path: Path, tracks: FaceTracks) -> None:
    """Write tracks as a `.npz` for `load_tracks`."""
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
    """Return the tracks in the bytes of a `.npz`.

    Raises:
        TracksError: `tracks_invalid`, with the reason.
    """
    try:
        _check_size(len(data))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_size(sum(info.file_size for info in archive.infolist()))
        return _from_arrays(unpack_arrays(data))
    except Exception as error:  # damaged archives make zipfile, zlib and numpy raise almost anything
        raise TracksError("tracks_invalid", f"not a track file: {type(error).__name__}: {error}") from error


def load_tracks(path: Path) -> FaceTracks:
    """Load tracks from a file of `save_tracks`, or of other code with the same layout; raises as `unpack_tracks`."""
    try:
        _check_size(path.stat().st_size)
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise TracksError("tracks_invalid", f"{path.name} cannot be read: {error}") from error
    return unpack_tracks(data)


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_BYTES:
        raise ValueError(f"{num_bytes} bytes are more than {MAX_BYTES}")


def _check_meta(meta: dict[str, Any]) -> None:
    """Raise for values that no video has."""
    limits = {"num_frames": MAX_FRAMES, "width": MAX_SIDE, "height": MAX_SIDE, "fps": MAX_FRAMES}
    for name, limit in limits.items():
        if meta[name] > limit:
            raise ValueError(f"{name} is more than {limit}")
    for name in ("made_by", "video_sha256"):
        if len(meta[name]) > MAX_TEXT:
            raise ValueError(f"{name} has more than {MAX_TEXT} characters")
        meta[name].encode()  # a lone surrogate could not be written to a record


def _from_arrays(arrays: dict[str, np.ndarray]) -> FaceTracks:
    meta = json.loads(arrays.pop("meta").tobytes())
    _check_meta(meta)
    if meta.pop("schema") != SCHEMA:
        raise ValueError(f"tracks of another schema than {SCHEMA}")
    num_faces = len(arrays["seen"])
    if num_faces > MAX_FACES:
        raise ValueError(f"{num_faces} faces are more than {MAX_FACES}")
    tracks = [FaceTrack(**{name: array[i] for name, array in arrays.items()}) for i in range(num_faces)]
    return FaceTracks(tracks=tuple(tracks), **meta)
