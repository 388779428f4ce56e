"""Detect tracked faces again in slightly different crops: how much landmarks, gaze, expression and pose depend on it.

Jitter k shifts the crop around a face by up to 5 % of the face's longer side and changes its size by up to 5 %. It
differs from frame to frame and is the same in every run.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from exprbench.faces.boxes import overlap
from exprbench.faces.landmarker import CROPS, Face, Landmarker
from exprbench.faces.tracker import face_track
from exprbench.faces.tracks import FaceTrack, FaceTracks

VERSION = "jitter-1"  # increase it when a change of the code changes results
REACH = 0.05  # largest shift in sides of the face, and largest change of the crop's size
MIN_OVERLAP = 0.5  # of the boxes of a face and of its second detection
# Multiples of the powers of 1 / p, with p^4 = p + 1: their fractions fill the unit cube evenly.
_STEPS = 1.2207440846057596 ** -np.arange(1, 4)
_PER_FRAME = 97  # jitters of one frame before the sequence reaches the next frame's


def jitter(k: int, t: int) -> tuple[np.ndarray, float]:
    """Return the shift (2,) in sides of the face and the relative size of crop k of frame t."""
    unit = (0.5 + (k + _PER_FRAME * t + 1) * _STEPS) % 1
    return REACH * (2 * unit[:2] - 1), 1 + REACH * (2 * float(unit[2]) - 1)


def jittered_points(points_px: np.ndarray, k: int, t: int) -> np.ndarray:
    """Return landmarks (K, 2) in pixels, shifted and scaled by jitter k: a crop around them is a jittered one."""
    low, high = points_px.min(0), points_px.max(0)
    centre, side = (low + high) / 2, float((high - low).max())
    shift, scale = jitter(k, t)
    return centre + shift * side + scale * (points_px - centre)


class JitteredDetection:
    """Accumulator of a video's frames that detects its tracked faces again, in the crops of jitter k.

    Args:
        landmarker: the landmarker of this process.
        tracks: the tracks of the video.
        k: number of the jitter.
    """

    def __init__(self, landmarker: Landmarker, tracks: FaceTracks, k: int) -> None:
        self.landmarker, self.tracks, self.k = landmarker, tracks, k
        self.found: list[dict[int, Face]] = [{} for _ in tracks.tracks]
        self.num_frames = 0

    def update(self, frame: np.ndarray) -> None:
        """Take the next (H, W, 3) uint8 RGB frame."""
        t, self.num_frames = self.num_frames, self.num_frames + 1
        for track, found in zip(self.tracks.tracks, self.found, strict=True):
            if t < len(track.seen) and track.seen[t]:
                face = self._detect(frame, track.box[t] * np.tile(self.tracks.size, 2), t)
                if face:
                    found[t] = face

    def _detect(self, frame: np.ndarray, box: np.ndarray, t: int) -> Face | None:
        """Return the face in the jittered crop around a box in pixels, None if it is not the same one."""
        centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
        shift, scale = jitter(self.k, t)
        faces = self.landmarker.detect(frame, centre + shift * side, CROPS[0] * scale * side)
        shares = [overlap(face.box, tuple(box)) for face in faces]
        return faces[int(np.argmax(shares))] if shares and max(shares) > MIN_OVERLAP else None

    def compute(self) -> FaceTracks:
        """Return the tracks of the second detection, in the order of the first; frames without a face are unseen."""
        tracks = tuple(face_track(found, self.tracks.num_frames, self.tracks.size) for found in self.found)
        return replace(self.tracks, tracks=tracks)


def average(detections: Sequence[FaceTracks]) -> FaceTracks:
    """Return the mean of several detections of the same faces; a frame counts the detections that show the face.

    The mean of pose matrices is no rotation; readers of poses take its polar part, which is the mean rotation.
    """
    people = zip(*(tracks.tracks for tracks in detections), strict=True)
    return replace(detections[0], tracks=tuple(_mean_track(person) for person in people))


def _mean_track(tracks: Sequence[FaceTrack]) -> FaceTrack:
    seen = np.stack([track.seen for track in tracks])
    arrays = {}
    for name in ("box", "landmarks", "blendshapes", "pose"):
        values = np.stack([getattr(track, name) for track in tracks]).astype(np.float64)
        values[~seen] = 0
        count = seen.sum(0).reshape(-1, *[1] * (values.ndim - 2))
        mean = np.divide(values.sum(0), count, out=np.full(values.shape[1:], np.nan), where=count > 0)
        arrays[name] = mean.astype(np.float32)
    return FaceTrack(seen=seen.any(0), **arrays)
