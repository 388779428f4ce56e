"""Faces that move: for every person, how head, mouth, eyes, brows and gaze vary over the clip.

All are root mean squares of deviations from the person's own mean, over the frames in which the face is seen: they do
not depend on the frame rate, and a face that stands still scores zero however it is held. `docs/curation.md` gives the
formulas and what real clips score.
"""

from collections import deque
from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from exprbench import weights
from exprbench.core.files import sha256_path
from exprbench.faces import FaceTrack, eye_closed, gaze, rotation
from exprbench.faces.landmark_groups import BROWS, EYES, LIPS, OUTER_EYE_CORNERS, RIGID
from exprbench.faces.landmarker import square
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.video_tracks import TRACKER, landmarker
from multiexpr.recipe import ScoreMotion, ScoreSharpness
from multiexpr.scorers.base import Frames, Row, constant_rate, evenly_spaced, rounded, rounded_all
from multiexpr.scorers.sharpness import laplacian_variance

VERSION = "motion-1"
SHARPNESS_LOOKS = 10  # moments at which the sharpness of faces is measured
HELD_BYTES = 1 << 28  # of frames held back until the cheaper scores of the same frames are known

REGIONS = {"mouth": LIPS, "eyes": EYES, "brows": BROWS}
MEASURES = ("head_deg", "mouth", "eyes", "brows", "expression", "gaze_deg")


class MotionScorer:
    """Columns `face_...`: lists with one value a person, left to right."""

    name = "motion"
    costly = True
    columns = [  # noqa: RUF012
        *((f"face_{name}", pa.list_(pa.float64())) for name in ("seen", "px", "sharpness", *MEASURES)),
        ("face_box", pa.list_(pa.float64())),
    ]

    def __init__(self, params: ScoreMotion, sharpness: ScoreSharpness) -> None:
        self.params = params
        self.sharpness = sharpness

    def fingerprint(self) -> Row:  # noqa: D102
        model = sha256_path(weights.require("face_landmarker"))
        sharpness = {"face_side": self.sharpness.face_side, "percentile": self.sharpness.percentile}
        return {"version": VERSION, "tracker": TRACKER, "model": model, **asdict(self.params), **sharpness}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=constant_rate(facts["length_s"], self.params.fps), short_side=self.params.short_side)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.params, self.sharpness, facts)


class _Measurement:
    """Frames are held back, as far as memory allows, until `compute` is asked for: that is when tracking costs."""

    def __init__(self, params: ScoreMotion, sharpness: ScoreSharpness, facts: Row) -> None:
        self.sharpness = sharpness
        self.facts = facts
        self.held: deque[np.ndarray] = deque()
        self.held_bytes = 0
        self.tracker = FaceTracker(landmarker(), fps=params.fps)
        self.moments = {round(t * params.fps) for t in evenly_spaced(facts["length_s"], SHARPNESS_LOOKS)}
        self.kept: dict[int, np.ndarray] = {}
        self.num_seen = 0

    def update(self, frame: np.ndarray, time_s: float) -> None:
        if self.num_seen in self.moments:
            self.kept[self.num_seen] = frame
        self.num_seen += 1
        self.held.append(frame)
        self.held_bytes += frame.nbytes
        if self.held_bytes > HELD_BYTES:
            self._track()

    def _track(self) -> None:
        while self.held:
            self.tracker.update(self.held.popleft())
        self.held_bytes = 0

    def compute(self) -> Row:
        self._track()
        size = self.tracker.size
        people = [
            {**person(track, size, self.facts), "face_sharpness": self._sharpness(track)}
            for track in self.tracker.compute()
        ]
        boxes = [value for one in people for value in one.pop("face_box")]
        columns = [name for name, _ in MotionScorer.columns if name != "face_box"]
        return {**{name: rounded_all([one[name] for one in people]) for name in columns}, "face_box": boxes}

    def _sharpness(self, track: FaceTrack) -> float:
        side = self.sharpness.face_side
        found = [face_sharpness(frame, track.box[t], side) for t, frame in self.kept.items() if track.seen[t]]
        return float(np.percentile(found, self.sharpness.percentile)) if found else float("nan")


def person(track: FaceTrack, size: tuple[int, int], facts: Row) -> Row:
    """One person's values but for sharpness. `face_px` is in pixels of the clip itself, whatever size was looked at."""
    seen = track.seen
    boxes = track.box[seen].astype(np.float64)
    sides = (boxes[:, 2:] - boxes[:, :2]) * (facts["width"], facts["height"])
    measures = face_motion(track.landmarks[seen], track.pose[seen], track.blendshapes[seen], size)
    return {
        "face_seen": track.seen_rate,
        "face_px": float(np.median(sides.max(axis=1))),
        **{f"face_{name}": measures[name] for name in MEASURES},
        "face_box": [rounded(v) for v in np.median(boxes, axis=0)],
    }


def face_motion(landmarks: np.ndarray, pose: np.ndarray, blendshapes: np.ndarray, size: tuple[int, int]) -> Row:
    """Measures of one person's motion.

    Args:
        landmarks: (T, 478, 3) in [0, 1] of a frame of `size` (width, height).
        pose: (T, 4, 4) head to camera.
        blendshapes: (T, 52), to tell open eyes from closed ones.

    Returns:
        head_deg: angle between the head and its mean orientation.
        mouth, eyes, brows: distance of the region's points from their mean places, in percent of the distance between
            the outer corners of the eyes, after head pose and size are taken out.
        expression: the same over the three regions together, each counting a third.
        gaze_deg: angle between the gaze and its mean direction, both relative to the head; over open eyes.
    """
    width, height = size
    still = stabilised(landmarks * np.array([width, height, width], np.float64))
    regions = {name: spread_of(still[:, points]) for name, points in REGIONS.items()}
    return {
        "head_deg": head_variation_deg(rotation(pose)),
        **regions,
        "expression": float(np.sqrt(np.mean([value**2 for value in regions.values()]))),
        "gaze_deg": gaze_variation_deg(gaze(landmarks, pose, size), rotation(pose), eye_closed(blendshapes)),
    }


def stabilised(points: np.ndarray) -> np.ndarray:
    """(T, 478, 3) points with the rigid motion of the head and the face's size taken out.

    Each frame is laid upon the mean face by the similarity (rotation, scale, shift) that fits the RIGID points best
    (Umeyama, 1991); the mean face is that of the frames so laid, found in three rounds. The unit is a hundredth of the
    distance between the outer corners of the mean face's eyes.
    """
    laid = points
    reference = points[len(points) // 2, RIGID]
    for _ in range(3):
        laid = np.stack([_laid_upon(frame, reference) for frame in points])
        reference = laid[:, RIGID].mean(0)
    right, left = (laid[:, corner].mean(0) for corner in OUTER_EYE_CORNERS)
    return laid * (100 / max(float(np.linalg.norm(right - left)), 1e-9))


def _laid_upon(frame: np.ndarray, reference: np.ndarray) -> np.ndarray:
    rigid = frame[list(RIGID)]
    centre, aim = rigid.mean(0), reference.mean(0)
    u, s, vt = np.linalg.svd((rigid - centre).T @ (reference - aim))
    mirror = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (s * mirror).sum() / max(float(((rigid - centre) ** 2).sum()), 1e-12)
    return scale * (frame - centre) @ (u * mirror) @ vt + aim


def spread_of(points: np.ndarray) -> float:
    """Root mean square distance of (T, n, 3) points from their means over time, across the face (x and y)."""
    flat = points[..., :2]
    return float(np.sqrt(((flat - flat.mean(0)) ** 2).sum(-1).mean()))


def head_variation_deg(rotations: np.ndarray) -> float:
    """Root mean square angle between (T, 3, 3) rotations and their mean (the one nearest to all, by chord)."""
    u, _, vt = np.linalg.svd(rotations.mean(0))
    mean = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    traces = np.einsum("ij,tij->t", mean, rotations)
    return float(np.degrees(np.sqrt((np.arccos(np.clip((traces - 1) / 2, -1, 1)) ** 2).mean())))


def gaze_variation_deg(gazes: np.ndarray, heads: np.ndarray, closed: np.ndarray) -> float:
    """Root mean square angle between (T, 2, 3) gazes and their mean, as the head sees them; NaN with no eye open.

    The mean over both eyes is taken in frames with both open.
    """
    open_ = ~closed.any(1)
    if not open_.any():
        return float("nan")
    seen = np.einsum("tji,tj->ti", heads[open_], gazes[open_].mean(1))
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    mean = seen.mean(0) / max(float(np.linalg.norm(seen.mean(0))), 1e-12)
    return float(np.degrees(np.sqrt((np.arccos(np.clip(seen @ mean, -1, 1)) ** 2).mean())))


def face_sharpness(frame: np.ndarray, box: np.ndarray, side: int) -> float:
    """Variance of the Laplacian of the square around a face, brought to a fixed side; the box is in [0, 1]."""
    x0, y0, x1, y1 = box * np.resize(frame.shape[1::-1], 4)
    crop, _ = square(frame, np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0))
    if crop is None:
        return 0.0
    scaled = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if len(crop) > side else cv2.INTER_LINEAR)
    return laplacian_variance(cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY))
