"""Computations behind the columns: faces, pixels, features and face readings, with their cache keys."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np

from exprbench import weights
from exprbench.core.arrays import pack_array, pack_arrays, unpack_array, unpack_arrays
from exprbench.core.cache import pack_json
from exprbench.core.files import sha256_bytes
from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.jitter import VERSION as JITTER
from exprbench.faces.jitter import jittered_points
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.tracks import pack_tracks, unpack_tracks
from exprbench.faces.video_tracks import collect, landmarker, tracks_key
from exprbench.media import DECODER
from exprbench.metrics import COLUMNS, Metric
from exprbench.metrics.errors import MetricError
from exprbench.metrics.extractors import ClipFeatures, FrameFeatures
from exprbench.metrics.face_pair import Readings
from exprbench.metrics.face_readers import READERS, FaceReader
from exprbench.metrics.metric import ClipStream
from exprbench.scoring.plan import ScoringPlan
from exprbench.scoring.single_pass import Computation, FramePair, VideoInput, single_pass

PIXELS = "pixels-1"  # increase a version when a change of the code changes the results


@dataclass
class Shape:
    """Accumulator of a video's number of frames and their size."""

    num_frames: int = 0
    size: tuple[int, int] = (0, 0)

    def update(self, frame: np.ndarray) -> None:
        """Take the next frame."""
        self.num_frames += 1
        self.size = frame.shape[1], frame.shape[0]

    def compute(self) -> tuple[int, int, int]:
        """Return the number of frames, the width and the height."""
        return self.num_frames, *self.size


def shape_computation(name: str, video: VideoInput) -> Computation:
    """Return the computation of a video's number of frames (at most `max_frames`), width and height."""
    key = {"video": video.sha256, "decoder": DECODER, "fps": video.rate, "max_frames": video.max_frames}
    return Computation(
        name=name, videos=(video,), kind="shapes", key=key, start=Shape, pack=pack_json, unpack=json.loads
    )


@dataclass
class PixelValues:
    """Accumulator of per-frame measures of a prediction and its reference, at the reference's size."""

    functions: dict[str, Any]
    values: dict[str, list[float]] = field(init=False)
    errors: dict[str, str] = field(default_factory=dict)
    num_values: int = 0
    resized: bool = False

    def __post_init__(self) -> None:
        self.values = {measure: [] for measure in self.functions}

    def update(self, pair: FramePair) -> None:
        """Take the next pair of frames."""
        self.resized |= pair.is_resized
        self.num_values = pair.reference.size
        for measure, function in self.functions.items():
            try:
                self.values[measure].append(function(pair.reference, pair.fitted))
            except MetricError as error:
                self.errors[measure] = str(error)

    def compute(self) -> dict[str, Any]:
        """Return per-frame values and errors by measure, the values in a frame, and whether sizes differed."""
        return {
            "values": {measure: values for measure, values in self.values.items() if measure not in self.errors},
            "errors": self.errors,
            "num_values": self.num_values,
            "resized": self.resized,
        }


def pixel_functions(columns: Sequence[Metric], device: str) -> dict[str, Any]:
    """Return measure -> its function of two frames; those of networks run on a device."""
    networks = {metric.measure for metric in columns if any(metric.weights.values())}
    functions = {metric.measure: metric.function(metric.measure) for metric in columns}
    return {m: partial(f, device=device) if m in networks else f for m, f in functions.items()}


def pixel_computation(
    name: str, reference: VideoInput, prediction: VideoInput, columns: list[Metric], device: str = "cpu"
) -> Computation:
    """Return the computation of the per-frame measures of pixel columns; `device` is that of their networks."""
    measures = {metric.measure: metric for metric in columns}
    key = {
        "version": PIXELS,
        "decoder": DECODER,
        "videos": [[video.sha256, video.max_frames] for video in (reference, prediction)],
        "fps": prediction.rate,
        "measures": sorted(measures),
    }
    if files := sorted({file for metric in columns for names in metric.weights.values() for file in names}):
        key |= {"weights": {file: weights.get(file).sha256 for file in files}, "device": device}

    def start() -> PixelValues:
        return PixelValues(pixel_functions(columns, device))

    videos = (reference, prediction)
    return Computation(name=name, videos=videos, kind="pixels", key=key, start=start, pack=pack_json, unpack=json.loads)


@dataclass
class Faces:
    """Accumulator of the face tracks of a video."""

    tracker: FaceTracker
    video_sha256: str

    def update(self, frame: np.ndarray) -> None:
        """Take the next frame."""
        self.tracker.update(frame)

    def compute(self) -> FaceTracks:
        """Return the tracks of all people."""
        return collect(self.tracker, self.video_sha256)


def tracks_computation(name: str, video: VideoInput) -> Computation:
    """Return the computation of a video's face tracks."""

    def start() -> Faces:
        return Faces(FaceTracker(landmarker(), fps=video.fps), video.sha256)

    key = tracks_key(video.sha256, video.rate, video.max_frames)
    return Computation(
        name=name, videos=(video,), kind="tracks", key=key, start=start, pack=pack_tracks, unpack=unpack_tracks
    )


def feature_computation(
    plan: ScoringPlan, metric: Metric, name: str, video: VideoInput, num_frames: int, case_id: str
) -> Computation:
    """Return the computation of the features that a set column reads of a video of at most `num_frames` frames.

    Both sides of a case use the same `num_frames` and `case_id`, so that they are cut into the same clips.
    """
    stream = metric.stream
    drawn = case_id if isinstance(stream, ClipStream) and stream.grid.start == "seeded" else ""
    key = {
        "video": video.sha256,
        "decoder": DECODER,
        "network": plan.weight_hashes(metric) or plan.networks[metric.parent].id,
        "stream": asdict(stream),  # type: ignore[arg-type]
        "device": plan.device,
        "fps": video.rate,
        "num_frames": num_frames,
        "drawn": drawn,
    }

    def start() -> FrameFeatures | ClipFeatures:
        network = plan.networks.get(metric.parent) or load_network(metric.name, plan.device)
        if isinstance(stream, ClipStream):
            return ClipFeatures(network, num_frames, stream.grid, case_id)
        return FrameFeatures(network)

    return Computation(
        name=name, videos=(video,), kind="features", key=key, start=start, pack=pack_array, unpack=unpack_array
    )


@lru_cache(maxsize=4)
def load_network(name: str, device: str) -> Any:
    """Return the published network behind a set column; each process loads it once."""
    metric = COLUMNS[name]
    return metric.function(metric.stream.load)(metric.stream, device)  # type: ignore[union-attr]


@dataclass
class FaceCrops:
    """Accumulator of crops of one tracked face, which a network reads at the end; readings of jitters are averaged."""

    reader: FaceReader
    device: str
    track: FaceTrack
    jitters: range = range(0)
    crops: list[np.ndarray] = field(default_factory=list)
    num_frames: int = 0

    def update(self, frame: np.ndarray) -> None:
        """Take the next frame."""
        t, self.num_frames = self.num_frames, self.num_frames + 1
        if t < len(self.track.seen) and self.track.seen[t]:
            points = self.track.landmarks[t, :, :2].astype(np.float64) * (frame.shape[1], frame.shape[0])
            views = [jittered_points(points, k, t) for k in self.jitters] or [points]
            self.crops += [self.reader.crop(frame, view) for view in views]

    def compute(self) -> dict[str, np.ndarray]:
        """Return name -> (T, n) readings, NaN in frames without the face."""
        outputs = self.reader.network(self.device)(self.crops) if self.crops else {}
        seen = self.track.seen
        whole = {name: np.full((len(seen), size), np.nan) for name, size in self.reader.outputs.items()}
        for name, values in outputs.items():
            whole[name][seen] = values.reshape(seen.sum(), -1, values.shape[-1]).mean(1)
        return whole


def reading_computation(
    plan: ScoringPlan, reader: str, video: VideoInput, track: FaceTrack, jitters: range = range(0)
) -> Computation:
    """Return the computation of what a network reads in one tracked face of a video, averaged over jittered crops."""
    key = {
        "video": video.sha256,
        "decoder": DECODER,
        "track": sha256_bytes(track.seen.tobytes() + track.landmarks.tobytes()),
        "weights": {reader: weights.get(reader).sha256},
        "jitters": [JITTER, *jitters] if jitters else [],
        "fps": video.rate,
        "device": plan.device,
    }

    def start() -> FaceCrops:
        return FaceCrops(READERS[reader], plan.device, track, jitters)

    return Computation(
        name=reader, videos=(video,), kind="readings", key=key, start=start, pack=pack_arrays, unpack=unpack_arrays
    )


def face_readings(
    plan: ScoringPlan, readers: Sequence[str], video: VideoInput, track: FaceTrack, jitters: range
) -> Readings:
    """Return what networks read in one tracked face of a video, which is decoded once for all of them."""
    results = single_pass([reading_computation(plan, reader, video, track, jitters) for reader in readers])
    return {name: values for reading in results.values() for name, values in reading.items()}
