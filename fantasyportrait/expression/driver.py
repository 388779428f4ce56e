"""What every person of a driving video expresses in each frame; where a face is lost it is filled in, and counted."""

from collections.abc import Iterator
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
from exprbench.media import open_clip
from fantasyportrait.expression.align import align
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.model.configs import FEATURES

# Irises, nose tip and mouth corners in MediaPipe's mesh. Of the points near the nose's tip, 1 brings faces nearest to
# the template: 4.0 pixels of 224 on average over 105 frames of seven people, 4.6 with point 4.
BATCH = 32
READER = "points-1"  # raise it when a change here changes features


@dataclass(frozen=True, kw_only=True)
class FacePoints:
    """One person's alignment points through a video of F frames.

    seen: (F,) bool. points: (F, 5, 2) in pixels, `boxes`: (F, 4) in [0, 1] of the frame; NaN where not seen.
    """

    seen: np.ndarray
    points: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class FaceMotion:
    """One person's expression through a video: `features` (F, 554) float32, `boxes` (F, 4) in [0, 1] of the frame.

    `num_filled` frames had no face and took what lies between their neighbours'.
    """

    features: np.ndarray
    boxes: np.ndarray
    num_filled: int

    def frames(self, num_frames: int) -> "FaceMotion":
        """The first `num_frames`; where there are fewer, the last stays."""
        at = np.minimum(np.arange(num_frames), len(self.features) - 1)
        return FaceMotion(features=self.features[at], boxes=self.boxes[at], num_filled=self.num_filled)


class PointFinder(Protocol):
    """Finds alignment points."""

    def __call__(self, path: Path, *, fps: float, max_frames: int | None) -> list[FacePoints]:
        """The people seen in at least half of the frames, left to right."""


def mediapipe_points(path: Path, *, fps: float, max_frames: int | None) -> list[FacePoints]:
    """The default `PointFinder`: the tracks that everything else in this project uses, cached and shared with it."""
    tracks = track_faces(path, fps=fps, max_frames=max_frames)
    if abs(tracks.fps - fps) > 1e-3:
        raise ItemError(
            "tracks_mismatch", f"the tracks given for {path.name} are at {tracks.fps:g} a second, not {fps:g}"
        )
    tracks = tracks.first(max_frames or tracks.num_frames)  # given ones may be longer
    return [_points(track, tracks) for track in main_faces(tracks)]


def _points(track: FaceTrack, tracks: FaceTracks) -> FacePoints:
    points = track.landmarks[:, FIVE_POINTS, :2] * (tracks.width, tracks.height)
    return FacePoints(seen=track.seen, points=points, boxes=track.box)


def find_faces(
    path: Path, *, fps: float, max_frames: int | None = None, finder: PointFinder | None = None
) -> list[FacePoints]:
    """The people of a driving video, left to right; nothing is read of what they express.

    Raises:
        MediaError: the video cannot be read.
        ItemError: `no_face`.
    """
    people = (finder or mediapipe_points)(path, fps=fps, max_frames=max_frames)
    if not people:
        raise ItemError("no_face", f"no face is seen in half of the frames of {path.name}")
    return people


def read_motion(
    path: Path,
    people: list[FacePoints],
    *,
    encoder: ExpressionEncoder,
    encoder_name: str,
    fps: float,
) -> list[FaceMotion]:
    """What the people `find_faces` found express; kept by content.

    Args:
        path: the video.
        people: whom to read.
        encoder: on any device.
        encoder_name: its hash, for the cache.
        fps: as given to `find_faces`.
    """
    key = {
        "video": sha256_path(path),
        "fps": fps,
        "points": [sha256_bytes(p.seen.tobytes() + p.points.tobytes() + p.boxes.tobytes()) for p in people],
        "encoder": encoder_name,
        "reader": READER,
    }
    return cached("expression", key, lambda: _encode(path, people, encoder, fps), _pack, _unpack)


def _encode(path: Path, people: list[FacePoints], encoder: ExpressionEncoder, fps: float) -> list[FaceMotion]:
    num_frames = len(people[0].seen)
    features = np.full((len(people), num_frames, sum(FEATURES.values())), np.nan, np.float32)
    for places, crops in _batches(_crops(path, people, fps)):
        rows, columns = zip(*places, strict=True)
        features[rows, columns] = encode(encoder, np.stack(crops))
    return [
        FaceMotion(features=fill_gaps(f, p.seen), boxes=fill_gaps(p.boxes, p.seen), num_filled=int((~p.seen).sum()))
        for f, p in zip(features, people, strict=True)
    ]


def _crops(path: Path, people: list[FacePoints], fps: float) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    num_frames = len(people[0].seen)
    with open_clip(path, fps=fps, max_frames=num_frames) as clip:
        for t, frame in enumerate(clip):
            for i, person in enumerate(people):
                if person.seen[t]:
                    yield (i, t), align(frame, person.points[t])


def _batches(items: Iterator[tuple[Any, np.ndarray]]) -> Iterator[tuple[list[Any], list[np.ndarray]]]:
    places: list[Any] = []
    crops: list[np.ndarray] = []
    for place, crop in items:
        places.append(place)
        crops.append(crop)
        if len(crops) == BATCH:
            yield places, crops
            places, crops = [], []
    if crops:
        yield places, crops


@torch.no_grad()
def encode(encoder: ExpressionEncoder, crops: np.ndarray) -> np.ndarray:
    """(B, 224, 224, 3) uint8 RGB crops to (B, 554) float32 features."""
    device = next(encoder.parameters()).device
    faces = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    return encoder(faces).cpu().numpy()


def fill_gaps(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(F, C) values with those of unseen frames on the line between their neighbours; ends take the nearest.

    >>> fill_gaps(np.array([[0.0], [9.0], [4.0], [9.0]]), np.array([True, False, True, False])).ravel().tolist()
    [0.0, 2.0, 4.0, 4.0]
    """
    at, known = np.arange(len(seen)), np.flatnonzero(seen)
    after = np.searchsorted(known, at).clip(0, len(known) - 1)
    before = (np.searchsorted(known, at, side="right") - 1).clip(0)
    gap = np.maximum(known[after] - known[before], 1)
    share = ((at - known[before]) / gap).clip(0, 1)[:, None]
    return (values[known[before]] * (1 - share) + values[known[after]] * share).astype(np.float32)


def _pack(motions: list[FaceMotion]) -> bytes:
    names = ("features", "boxes", "num_filled")
    return pack_arrays({name: np.stack([getattr(motion, name) for motion in motions]) for name in names})


def _unpack(data: bytes) -> list[FaceMotion]:
    rows = zip(*unpack_arrays(data).values(), strict=True)
    return [FaceMotion(features=features, boxes=boxes, num_filled=int(n)) for features, boxes, n in rows]
