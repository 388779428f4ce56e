"""Expression features of every person in a driving video; frames without a face are interpolated and counted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from exprbench.core.arrays import pack_arrays, unpack_arrays
from exprbench.core.cache import cached
from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_bytes, sha256_path
from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.landmark_groups import FIVE_POINTS
from exprbench.faces.video_tracks import main_faces, track_faces
from exprbench.media import DECODER, open_clip
from fantasyportrait.expression.align import align_face
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.model.configs import FEATURES

BATCH_SIZE = 32
CACHE_VERSION = "points-1"  # change it when a change here changes features


@dataclass(frozen=True, kw_only=True)
class FacePoints:
    """Alignment points of one person through a video of F frames.

    `seen` is (F,) bool, `points` (F, 5, 2) in pixels, with 0 at the centre of the first one, `boxes` (F, 4) x0 y0 x1 y1
    in [0, 1] of the frame. Points and boxes are NaN in frames where the face is not seen.
    """

    seen: np.ndarray
    points: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class FaceMotion:
    """Expression of one person through a video of F frames.

    `features` is (F, 554) float32, `boxes` (F, 4) x0 y0 x1 y1 in [0, 1] of the frame. In `num_filled` frames no face
    was seen; their values are interpolated.
    """

    features: np.ndarray
    boxes: np.ndarray
    num_filled: int

    def pad_or_trim(self, num_frames: int) -> "FaceMotion":
        """Return the first `num_frames` frames, the last one repeated if there are fewer."""
        indices = np.minimum(np.arange(num_frames), len(self.features) - 1)
        return FaceMotion(features=self.features[indices], boxes=self.boxes[indices], num_filled=self.num_filled)


class LandmarkDetector(Protocol):
    """Detector of the alignment points of people in a video."""

    def __call__(self, path: Path, *, fps: float, max_frames: int | None) -> list[FacePoints]:
        """Return the people seen in at least half of the frames, left to right."""


def detect_with_mediapipe(path: Path, *, fps: float, max_frames: int | None) -> list[FacePoints]:
    """Return the people in a video's face tracks, left to right; the default `LandmarkDetector`.

    Tracks are those of the whole project: read from files given with the video, or computed with MediaPipe and cached.

    Raises:
        ItemError: `tracks_mismatch`, if the given tracks have another frame rate.
    """
    tracks = track_faces(path, fps=fps, max_frames=max_frames)
    if abs(tracks.fps - fps) > 1e-3:
        raise ItemError(
            "tracks_mismatch", f"the tracks given for {path.name} have {tracks.fps:g} fps; expected {fps:g} fps"
        )
    return select_people(tracks.first(max_frames or tracks.num_frames))  # given tracks can be longer than the limit


def select_people(tracks: FaceTracks) -> list[FacePoints]:
    """Return the people of face tracks who are seen in at least half of the frames, left to right."""
    return [_select_points(track, tracks) for track in main_faces(tracks)]


def _select_points(track: FaceTrack, tracks: FaceTracks) -> FacePoints:
    # Of the mesh points near the nose tip, point 1 in FIVE_POINTS brings faces nearest to the template: 4.0 pixels of
    # 224 on average over 105 frames of seven people, against 4.6 with point 4.
    points = track.landmarks[:, FIVE_POINTS, :2] * (tracks.width, tracks.height)
    return FacePoints(seen=track.seen, points=points - 0.5, boxes=track.box)  # OpenCV: 0 is the first pixel's centre


def find_faces(
    path: Path, *, fps: float, max_frames: int | None = None, landmark_detector: LandmarkDetector | None = None
) -> list[FacePoints]:
    """Find the people of a driving video, left to right, without encoding their expression.

    Args:
        path: the video.
        fps: frame rate at which it is read.
        max_frames: maximum number of frames; None for all.
        landmark_detector: by default, `detect_with_mediapipe`.

    Raises:
        MediaError: the video cannot be read.
        ItemError: `no_face`, if no person is seen in half of the frames.
    """
    people = (landmark_detector or detect_with_mediapipe)(path, fps=fps, max_frames=max_frames)
    if not people:
        raise ItemError("no_face", f"no face is seen in half of the frames of {path.name}")
    return people


def extract_motion(
    path: Path,
    people: list[FacePoints],
    *,
    encoder: ExpressionEncoder,
    encoder_name: str,
    fps: float,
) -> list[FaceMotion]:
    """Extract the motion of each person that `find_faces` found; results are cached by content.

    Args:
        path: the video.
        people: points of the people to encode.
        encoder: on any device.
        encoder_name: hash of the encoder's weights, a part of the cache key.
        fps: as given to `find_faces`.
    """
    key = {
        "video": sha256_path(path),
        "decoder": DECODER,
        "fps": fps,
        "points": [sha256_bytes(p.seen.tobytes() + p.points.tobytes() + p.boxes.tobytes()) for p in people],
        "encoder": encoder_name,
        "reader": CACHE_VERSION,
    }
    return cached("expression", key, lambda: _encode_video(path, people, encoder, fps), _pack, _unpack)


def _encode_video(path: Path, people: list[FacePoints], encoder: ExpressionEncoder, fps: float) -> list[FaceMotion]:
    with open_clip(path, fps=fps, max_frames=len(people[0].seen)) as clip:
        return encode_motion(clip, people, encoder)


def encode_motion(
    frames: Iterable[np.ndarray], people: list[FacePoints], encoder: ExpressionEncoder
) -> list[FaceMotion]:
    """Encode the motion of each person in frames (H, W, 3) uint8 RGB."""
    num_frames = len(people[0].seen)
    features = np.full((len(people), num_frames, sum(FEATURES.values())), np.nan, np.float32)
    for indices, crops in _batches(_crops(frames, people)):
        rows, columns = zip(*indices, strict=True)
        features[rows, columns] = encode_crops(encoder, np.stack(crops))
    return [
        FaceMotion(features=fill_gaps(f, p.seen), boxes=fill_gaps(p.boxes, p.seen), num_filled=int((~p.seen).sum()))
        for f, p in zip(features, people, strict=True)
    ]


def _crops(frames: Iterable[np.ndarray], people: list[FacePoints]) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yield ((person, frame), aligned crop) for every face that is seen."""
    for t, frame in enumerate(frames):
        for i, person in enumerate(people):
            if person.seen[t]:
                yield (i, t), align_face(frame, person.points[t])


def _batches(items: Iterator[tuple[Any, np.ndarray]]) -> Iterator[tuple[list[Any], list[np.ndarray]]]:
    indices: list[Any] = []
    crops: list[np.ndarray] = []
    for index, crop in items:
        indices.append(index)
        crops.append(crop)
        if len(crops) == BATCH_SIZE:
            yield indices, crops
            indices, crops = [], []
    if crops:
        yield indices, crops


@torch.no_grad()
def encode_crops(encoder: ExpressionEncoder, crops: np.ndarray) -> np.ndarray:
    """Encode (B, 224, 224, 3) uint8 RGB crops as (B, 554) float32 features."""
    device = next(encoder.parameters()).device
    faces = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    return encoder(faces).cpu().numpy()


def fill_gaps(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Interpolate (F, C) values linearly in frames that are not seen; the first and last seen value extend to the ends.

    >>> fill_gaps(np.array([[0.0], [9.0], [4.0], [9.0]]), np.array([True, False, True, False])).ravel().tolist()
    [0.0, 2.0, 4.0, 4.0]
    """
    frames, known = np.arange(len(seen)), np.flatnonzero(seen)
    after = np.searchsorted(known, frames).clip(0, len(known) - 1)
    before = (np.searchsorted(known, frames, side="right") - 1).clip(0)
    gap = np.maximum(known[after] - known[before], 1)
    weight = ((frames - known[before]) / gap).clip(0, 1)[:, None]
    return (values[known[before]] * (1 - weight) + values[known[after]] * weight).astype(np.float32)


def _pack(motions: list[FaceMotion]) -> bytes:
    names = ("features", "boxes", "num_filled")
    return pack_arrays({name: np.stack([getattr(motion, name) for motion in motions]) for name in names})


def _unpack(data: bytes) -> list[FaceMotion]:
    rows = zip(*unpack_arrays(data).values(), strict=True)
    return [FaceMotion(features=features, boxes=boxes, num_filled=int(n)) for features, boxes, n in rows]
