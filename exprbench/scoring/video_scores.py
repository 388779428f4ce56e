"""Score a video in memory against its reference: the same computations as for files, without a cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.video_tracks import landmarker, main_faces
from exprbench.metrics import COLUMNS
from exprbench.metrics.face_pair import Readings
from exprbench.metrics.face_readers import READERS
from exprbench.scoring.computations import FaceCrops, Faces, PixelValues, pixel_functions
from exprbench.scoring.face_scores import FaceInputs, score_faces
from exprbench.scoring.single_pass import FramePair

Frames = Sequence[np.ndarray]


@dataclass(frozen=True)
class VideoScores:
    """Values by column, and reasons for columns without a value."""

    values: dict[str, float]
    unscored: dict[str, str]


def score_video(
    predicted: Frames,
    reference: Frames,
    columns: Sequence[str],
    *,
    fps: float = 25,
    profile: str = "mediapipe",
    device: str = "cpu",
) -> VideoScores:
    """Score one video against its reference, over the frames that both have.

    Args:
        predicted, reference: (T, H, W, 3) uint8 RGB frames.
        columns: pixel and face columns of the registry.
        fps: frames per second of both, for the face tracker.
        profile: `mediapipe`, or `paper` for the networks of the paper's profile.
        device: device of those networks.

    Raises:
        WeightsError: a model file that a column needs is missing.
    """
    values, unscored = _score_pixels(predicted, reference, [c for c in columns if COLUMNS[c].kind == "pixel"], device)
    faces = [c for c in columns if COLUMNS[c].kind == "face"]
    if faces:
        inputs = _face_inputs(predicted, reference, fps, profile, device)
        face_scores = score_faces(inputs, faces)
        values, unscored = values | face_scores.values, unscored | face_scores.unscored
    return VideoScores(values, unscored)


def _score_pixels(
    predicted: Frames, reference: Frames, columns: Sequence[str], device: str
) -> tuple[dict[str, float], dict[str, str]]:
    metrics = [COLUMNS[column] for column in columns]
    pixels = PixelValues(pixel_functions(metrics, device))
    for frames in zip(reference, predicted, strict=False):
        pixels.update(FramePair(*frames))
    unscored = {m.name: pixels.errors[m.measure] for m in metrics if m.measure in pixels.errors}
    scored = [m for m in metrics if m.measure not in pixels.errors]
    return {m.name: m.function(m.compute)(pixels.values[m.measure], pixels.num_values) for m in scored}, unscored


def _track(frames: Frames, fps: float) -> FaceTracks:
    faces = Faces(FaceTracker(landmarker(), fps=fps), "")
    for frame in frames:
        faces.update(frame)
    return faces.compute()


def _read(reader: str, device: str, frames: Frames, track: FaceTrack) -> Readings:
    crops = FaceCrops(READERS[reader], device, track)
    for frame in frames:
        crops.update(frame)
    return crops.compute()


def _face_inputs(predicted: Frames, reference: Frames, fps: float, profile: str, device: str) -> FaceInputs:
    driver, prediction = _track(reference, fps), _track(predicted, fps)

    def read(readers: Sequence[str], side: int | None, track: FaceTrack) -> Readings:
        frames = predicted if side is None else reference
        results = [_read(reader, device, frames, track) for reader in readers]
        return {name: values for reading in results for name, values in reading.items()}

    def read_source(reader: str, face: int) -> Readings:
        return _read(reader, device, reference[:1], main_faces(driver)[face].first(1))

    return FaceInputs(
        profile=profile,
        missing="exclude",
        is_self=True,
        driver_tracks=(driver,),
        prediction_tracks=prediction,
        face_map=tuple((0, face) for face in range(len(main_faces(driver)))),
        source_tracks=None,
        read=read,
        read_source=read_source,
    )
