"""Motion scorer: variation of head pose, mouth, eyes, brows and gaze of every person over the clip.

All values are root mean squares of deviations from the person's own mean, over the frames with the face, without the
jitter of the landmarks. They do not depend on the frame rate, and a still face scores zero in any pose, grainy or not.
`docs/curation.md` gives the formulas and the scores of real clips.
"""

from collections import deque
from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from exprbench import weights
from exprbench.core.files import sha256_path
from exprbench.face_engine import choose_engine
from exprbench.faces import FaceTrack, eye_closed, gaze, rotation
from exprbench.faces.landmark_groups import BROWS, EYES, LIPS
from exprbench.faces.landmarker import square
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.video_tracks import FOLLOWER, TRACKER
from exprbench.media import VideoSource
from multiexpr.models.detector import Models
from multiexpr.recipe import ScoreMotion, ScoreSharpness
from multiexpr.scorers.base import Frames, Row, constant_rate, evenly_spaced, rounded, rounded_all
from multiexpr.scorers.edges import effective_side, without_impulses
from multiexpr.scorers.frame_damage import clipped_share, crushed_share
from multiexpr.scorers.landmark_alignment import in_percent, stabilize, without_planar_motion
from multiexpr.scorers.people import is_damaged, smoothed
from multiexpr.scorers.sharpness import laplacian_variance
from multiexpr.scorers.speech import loudness, mouth_opening, speaking

VERSION = "motion-7"
NUM_MOMENTS = 10  # moments at which faces are stored and their sharpness is measured
BUFFER_BYTES = 1 << 28  # of frames that are buffered before tracking starts

REGIONS = {"mouth": LIPS, "eyes": EYES, "brows": BROWS}
MEASURES = ("head_deg", "mouth", "eyes", "brows", "nonplanar", "expression", "gaze_deg")
FLAT_SHARE = 0.8  # of the variance of a face: if a flat picture explains more, the rest is an error of the landmarks
PICTURE_MEASURES = ("effective_px", "sharpness", "clipped", "crushed", "luma")
PERSON_COLUMNS = tuple(f"face_{name}" for name in ("seen", "px", *PICTURE_MEASURES, *MEASURES, "speaking"))
NORMAL_MEDIAN = 0.4549364  # median of the square of a standard normal variable


class MotionScorer:
    """Scorer of face motion; its columns `face_...` are lists with one value per person, left to right."""

    name = "motion"
    costly = True
    columns = [  # noqa: RUF012
        *((name, pa.list_(pa.float64())) for name in PERSON_COLUMNS),
        ("face_box", pa.list_(pa.float64())),
        ("face_moment_s", pa.list_(pa.float64())),
        ("face_moment_box", pa.list_(pa.float64())),
    ]

    def __init__(self, params: ScoreMotion, sharpness: ScoreSharpness, models: Models, *, speech: bool = False) -> None:
        self.params = params
        self.models = models
        self.hears = speech
        self.sharpness = sharpness

    def fingerprint(self) -> Row:  # noqa: D102
        model = sha256_path(weights.require("face_landmarker"))
        sharpness = {"face_side": self.sharpness.face_side}
        engine = choose_engine(self.params.engine)
        params = {**asdict(self.params), "engine": engine if engine == "mediapipe" else f"{engine}, {FOLLOWER}"}
        return {"version": VERSION, "tracker": TRACKER, "model": model, **params, **sharpness, "speech": self.hears}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=constant_rate(facts["length_s"], self.params.fps), short_side=self.params.short_side)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        tracker = FaceTracker(self.models.landmarker(self.params.engine), fps=self.params.fps, follow_regions=True)
        return _Measurement(tracker, self.sharpness, facts)


class _Measurement:
    """Measurement that buffers frames and starts tracking in `compute`: most clips are dropped by cheaper scorers."""

    def __init__(self, tracker: FaceTracker, sharpness: ScoreSharpness, facts: Row) -> None:
        self.sharpness = sharpness
        self.facts = facts
        self.buffer: deque[np.ndarray] = deque()
        self.buffer_bytes = 0
        self.is_damaged: bool | None = None  # measured on one frame when tracking starts
        self.tracker = tracker
        self.fps = tracker.fps
        self.moments = sorted({round(t * self.fps) for t in evenly_spaced(facts["length_s"], NUM_MOMENTS)})
        self.kept_frames: dict[int, np.ndarray] = {}
        self.num_frames = 0
        self.loudness: np.ndarray | None = None
        self.has_listened = False

    def update(self, frame: np.ndarray, time_s: float) -> None:
        if self.num_frames in self.moments:
            self.kept_frames[self.num_frames] = frame
        self.num_frames += 1
        self.buffer.append(frame)
        self.buffer_bytes += frame.nbytes
        if self.buffer_bytes > BUFFER_BYTES:
            self._track()

    def listen(self, video: VideoSource) -> None:
        """Measure the loudness of the clip; called after the last frame if the scorer hears."""
        self.loudness = loudness(video, self.fps, self.num_frames)
        self.has_listened = True

    def _speaking(self, track: FaceTrack) -> Row:
        """Return how well a person's mouth fits the sound: 0 without sound, NaN if it is not measured."""
        if self.loudness is None:
            return {"face_speaking": 0.0 if self.has_listened else float("nan")}
        opening = mouth_opening(track.landmarks[track.seen], self.tracker.size)
        return {"face_speaking": speaking(opening, self.loudness, track.seen)}

    def _track(self) -> None:
        if self.is_damaged is None:
            self.is_damaged = bool(self.buffer) and is_damaged(self.buffer[len(self.buffer) // 2])
        while self.buffer:
            frame = self.buffer.popleft()
            self.tracker.update(smoothed(frame) if self.is_damaged else frame)
        self.buffer_bytes = 0

    def compute(self) -> Row:
        self._track()
        tracks = self.tracker.compute()
        people = [
            {
                **person_scores(track, self.tracker.size, self.facts),
                **self._picture_scores(track),
                **self._speaking(track),
            }
            for track in tracks
        ]
        moments = [t for t in self.moments if t < self.num_frames]
        return {
            **{name: rounded_all([person[name] for person in people]) for name in PERSON_COLUMNS},
            "face_box": [value for person in people for value in person["face_box"]],
            "face_moment_s": rounded_all([t / self.fps for t in moments]),
            "face_moment_box": [value for track in tracks for t in moments for value in rounded_all(track.box[t])],
        }

    def _picture_scores(self, track: FaceTrack) -> Row:
        """Return the scores of a person's picture, NaN if the face is visible at none of the moments."""
        pairs = [(frame, track.box[t]) for t, frame in self.kept_frames.items() if track.seen[t]]
        measured = [face_picture(frame, box, self.sharpness.face_side) for frame, box in pairs]
        values = np.array(
            [[m[name] for name in PICTURE_MEASURES] for m in measured] or [[np.nan] * len(PICTURE_MEASURES)]
        )
        medians = zip(PICTURE_MEASURES, np.median(values, axis=0), strict=True)
        return {f"face_{name}": float(median) for name, median in medians}


def person_scores(track: FaceTrack, size: tuple[int, int], facts: Row) -> Row:
    """Return one person's columns except sharpness.

    Args:
        track: face track of the person.
        size: (width, height) in pixels of the tracked frames.
        facts: columns of the container; `face_px` is in pixels of the clip itself.
    """
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
    """Return measures of one person's motion.

    Args:
        landmarks: (T, 478, 3) in [0, 1] of the frame.
        pose: (T, 4, 4) head to camera.
        blendshapes: (T, 52); they show in which frames the eyes are closed.
        size: (width, height) of the frame in pixels.

    Returns:
        head_deg: RMS angle between the head and its mean orientation, in degrees.
        mouth, eyes, brows: RMS distance of the region's points from their mean positions, in percent of the distance
            between the outer eye corners, after head pose and size are removed.
        nonplanar: root mean square of the three regions after the motion of a flat picture is removed instead.
        expression: root mean square of the three regions; 0 if the motion is that of a flat picture.
        gaze_deg: RMS angle between the gaze and its mean direction relative to the head, in degrees; NaN if the eyes
            are closed in all frames.
    """
    width, height = size
    points = landmarks * np.array([width, height, width], np.float64)
    regions = region_deviations(stabilize(points))
    expression = _root_mean_square(regions)
    nonplanar = _root_mean_square(region_deviations(in_percent(without_planar_motion(points[..., :2]))))
    return {
        "head_deg": head_variation_deg(rotation(pose)),
        **regions,
        "nonplanar": nonplanar,
        "expression": expression if nonplanar**2 >= (1 - FLAT_SHARE) * expression**2 else 0.0,
        "gaze_deg": gaze_variation_deg(gaze(landmarks, pose, size), rotation(pose), eye_closed(blendshapes)),
    }


def region_deviations(aligned: np.ndarray) -> Row:
    """Return the RMS distance of the points of each region from their means; (T, 478, 2 or 3) points are aligned."""
    return {name: rms_deviation(aligned[:, points]) for name, points in REGIONS.items()}


def _root_mean_square(values: Row) -> float:
    return float(np.sqrt(np.mean([value**2 for value in values.values()])))


def jitter_variance(values: np.ndarray) -> float:
    """Return the mean squared jitter of (T, n, k) points: noise that is independent from frame to frame.

    The fourth difference over time, divided by the root of 70, has the variance of such noise, and almost nothing of a
    motion that is smooth over several frames. Its median over time does not depend on the frames with a sudden motion,
    such as a blink. 0 for fewer than 5 frames.
    """
    if len(values) < 5:
        return 0.0
    squares = np.diff(values, n=4, axis=0) ** 2 / 70
    return float(np.median(squares, axis=0).sum(-1).mean() / NORMAL_MEDIAN)


def _rms_without(mean_square: float, jitter: float) -> float:
    return float(np.sqrt(max(0.0, mean_square - jitter)))


def rms_deviation(points: np.ndarray) -> float:
    """Return the root mean square distance of (T, n, 3) points from their means in x and y, without jitter."""
    flat = points[..., :2]
    return _rms_without(float(((flat - flat.mean(0)) ** 2).sum(-1).mean()), jitter_variance(flat))


def head_variation_deg(rotations: np.ndarray) -> float:
    """Return the root mean square angle in degrees, without jitter, of (T, 3, 3) rotations to their chordal mean."""
    from scipy.spatial.transform import Rotation

    u, _, vt = np.linalg.svd(rotations.mean(0))
    mean = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    vectors = Rotation.from_matrix(mean.T @ rotations).as_rotvec()
    return float(np.degrees(_rms_without(float((vectors**2).sum(-1).mean()), jitter_variance(vectors[:, None]))))


def gaze_variation_deg(gazes: np.ndarray, heads: np.ndarray, closed: np.ndarray) -> float:
    """Return the root mean square angle in degrees, without jitter, of gazes to their mean, relative to the head.

    The gaze of a frame is the mean over both eyes. Frames with a closed eye are skipped; NaN if there are no others.

    Args:
        gazes: (T, 2, 3) unit vectors in camera coordinates.
        heads: (T, 3, 3) rotations of the head to the camera.
        closed: (T, 2) bool, whether each eye is closed.
    """
    is_open = ~closed.any(1)
    if not is_open.any():
        return float("nan")
    directions = np.einsum("tji,tj->ti", heads[is_open], gazes[is_open].mean(1))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mean = directions.mean(0) / max(float(np.linalg.norm(directions.mean(0))), 1e-12)
    angles = np.arccos(np.clip(directions @ mean, -1, 1))
    across = directions - (directions @ mean)[:, None] * mean
    vectors = across * (angles / np.maximum(np.linalg.norm(across, axis=1), 1e-12))[:, None]
    return float(np.degrees(_rms_without(float((angles**2).mean()), jitter_variance(vectors[:, None]))))


def face_picture(frame: np.ndarray, box: np.ndarray, side: int) -> Row:
    """Return the scores of the square around a face in one frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
        box: x0, y0, x1, y1 of the face in [0, 1] of the frame.
        side: side in pixels to which larger squares are resized for `detail`, and all squares for `sharpness`.

    Returns:
        effective_px: effective size of the face, at most `side`; see `multiexpr.scorers.edges`.
        sharpness: variance of the Laplacian.
        clipped: share of pixels of which a channel is 250 or more.
        crushed: share of pixels of 5 or less.
        luma: mean brightness in [0, 1].
    """
    x0, y0, x1, y1 = box * np.resize(frame.shape[1::-1], 4)
    crop, _ = square(frame, np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0))
    if crop is None:
        return dict.fromkeys(PICTURE_MEASURES, 0.0)
    gray = without_impulses(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY))
    interpolation = cv2.INTER_AREA if len(crop) > side else cv2.INTER_LINEAR
    resized = cv2.resize(gray, (side, side), interpolation=interpolation)
    return {
        "effective_px": effective_side(resized if len(crop) > side else gray),
        "sharpness": laplacian_variance(resized),
        "clipped": clipped_share(crop),
        "crushed": crushed_share(gray),
        "luma": float(gray.mean() / 255),
    }
