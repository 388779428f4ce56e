"""`score_pair`: score one video against another one, without a benchmark.

The two videos are the only self case of a benchmark in memory, so that everything is computed, and cached, by the same
code as for a benchmark.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.benchmark import Asset, Benchmark, Case
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import sha256_path
from exprbench.faces.video_tracks import given_tracks, main_faces, track_faces
from exprbench.metrics import COLUMNS, METRICS, Metric
from exprbench.metrics.errors import MetricError
from exprbench.metrics.metric import LANDMARKER, SELF
from exprbench.scoring.cases import (
    PIXELS,
    PREDICTION,
    ResolvedCase,
    compute_case,
    face_inputs,
    reduce_case,
    resolve_case,
)
from exprbench.scoring.computations import shape_computation
from exprbench.scoring.face_scores import frame_errors
from exprbench.scoring.plan import Pairing, ScoringPlan, metric_names, missing_weights, torch_device
from exprbench.scoring.prediction_files import own_timing
from exprbench.scoring.set_scores import distance_between
from exprbench.scoring.single_pass import VideoInput, single_pass

CASE_ID = "single-self-0001"
DEFAULT_FPS = 25.0
NOT_DEFINED = "not defined for a pair of videos"
NO_FACE = "the reference shows no face in at least half of its frames"


class PairScores(dict[str, float]):
    """Column -> value, unscaled, for example `{"psnr": 31.2, "lmd": 0.0042}`.

    Attributes:
        unscored: column -> reason why it has no value.
        ids: column -> id of the variant.
        num_frames: number of frames compared; `num_frames_reference` is that of the reference.
        num_faces: number of people compared; `detect_rate` is the share of their faces that the prediction shows, None
            if faces were not detected.
        fps: frame rate of the comparison, that of the reference.
        per_frame: column -> values of the frames; with several people also one column for each, such as `lmd_0`.
    """

    unscored: dict[str, str]
    ids: dict[str, str]
    num_frames: int
    num_frames_reference: int
    num_faces: int
    detect_rate: float | None
    fps: float
    per_frame: dict[str, list[float]]


def score_pair(
    prediction: Path | str,
    reference: Path | str,
    *,
    metrics: Sequence[str] | str | None = None,
    profile: str = "mediapipe",
    pairing: Pairing = "time",
    device: str = "auto",
    fps: float | None = None,
) -> PairScores:
    """Return the scores of a video against a reference that shows the same scene, as a flat dict.

    Columns that cannot be computed are not in it; its attribute `unscored` holds the reasons. FID and FVD are distances
    between the frames, or clips, of the two videos; they do not compare with those of a benchmark, whose sets are
    larger.

    Args:
        prediction, reference: video files, or folders of frames.
        metrics: names of columns; all eight metrics by default.
        profile: `mediapipe`, or `paper` for gaze by L2CS-Net and expression and pose by SMIRK.
        pairing: frames paired by `time`, or by `index` whatever the frame rates.
        device: `cpu`, `cuda` or `auto`, for the networks.
        fps: frame rate of the comparison; that of the reference by default, 25 for a folder of frames.

    Raises:
        UserError: a video cannot be read, or an argument is invalid.
    """
    paths = {"prediction": Path(prediction), "reference": Path(reference)}
    for name, path in paths.items():
        if not path.exists():
            raise UserError(f"the {name} {path} does not exist; expected a video or a folder of frames")
    columns = metric_names(metrics or list(METRICS), profile)
    without = missing_weights(columns, profile)
    try:
        bench = _bench(paths["reference"], fps, _needs_faces(columns) and LANDMARKER not in without)
        plan = ScoringPlan(
            bench=bench,
            predictions=Path(),
            profile=profile,
            columns=columns,
            missing="exclude",
            pairing=pairing,
            device=torch_device(device, columns, profile),
            without=without,
            names={CASE_ID: str(paths["prediction"].absolute())},
        )
        resolved = resolve_case(plan, bench.cases[0])
        return _scores(resolved, compute_case(resolved))
    except ItemError as error:
        raise UserError(f"the videos cannot be compared: {error}") from error


def _needs_faces(columns: Sequence[str]) -> bool:
    return any(COLUMNS[column].kind == "face" for column in columns)


def _bench(reference: Path, fps: float | None, detects_faces: bool) -> Benchmark:
    """Return a benchmark in memory with one self case, whose driver is the reference."""
    fps = fps or own_timing(reference, DEFAULT_FPS)[1] or DEFAULT_FPS
    sha256 = sha256_path(reference)
    video = VideoInput(path=reference, sha256=sha256, fps=fps)
    num_frames, width, height = single_pass([shape_computation("reference", video)])["reference"]
    tracks = track_faces(reference, fps=fps) if detects_faces else given_tracks(reference)
    num_faces = len(main_faces(tracks)) if tracks else 0
    asset = Asset(
        kind="driver",
        split="single",
        sha256=sha256,
        num_bytes=0,
        width=width,
        height=height,
        num_frames=num_frames,
        num_faces=num_faces,
    )
    name = reference.name or reference.absolute().name
    case = Case(
        case_id=CASE_ID,
        split="single",
        track=SELF,
        source=name,
        drivers=(name,),
        face_map=tuple((0, face) for face in range(num_faces)),
    )
    return Benchmark(
        root=reference.absolute().parent,
        name="pair",
        fps=fps,
        clip_seconds=num_frames / fps,
        seed=0,
        assets={name: asset},
        cases=(case,),
    )


def _scores(resolved: ResolvedCase, results: dict[str, Any]) -> PairScores:
    plan, score = resolved.plan, reduce_case(resolved, results)
    values, unscored = dict(score.values), dict(score.unscored)
    for metric in plan.columns_on(SELF):
        if metric.kind == "face" and not resolved.case.face_map and metric.name not in resolved.unscored:
            unscored[metric.name] = NO_FACE
        if metric.per == "group":
            values, unscored = _with_distance(resolved, metric, values, unscored)
    scores = PairScores({name: values[name] for name in plan.columns if name in values})
    scores.unscored = {name: unscored.get(name, NOT_DEFINED) for name in plan.columns if name not in values}
    scores.ids = {name: plan.ids[name] for name in plan.columns}
    scores.num_frames, scores.num_frames_reference = score.num_frames, score.num_frames_reference
    scores.num_faces, scores.detect_rate, scores.fps = score.num_faces, score.detect_rate, plan.bench.fps
    scores.per_frame = _per_frame(resolved, results)
    return scores


def _with_distance(
    resolved: ResolvedCase, metric: Metric, values: dict[str, float], unscored: dict[str, str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the values and reasons with the distance between the two videos of a set column."""
    if reason := resolved.plan.unavailable_reason(metric):
        return values, {**unscored, metric.name: reason}
    features = {CASE_ID: {c.name: c for c in resolved.computations if c.kind == "features"}}
    try:
        return {**values, metric.name: distance_between(metric, features, features).value}, unscored
    except MetricError as error:
        return values, {**unscored, metric.name: str(error)}


def _per_frame(resolved: ResolvedCase, results: dict[str, Any]) -> dict[str, list[float]]:
    """Return column -> values of the frames: of pixels, and of faces, averaged over people and for each of several."""
    columns: dict[str, list[float]] = {}
    for metric in resolved.columns:
        if metric.kind == "pixel" and metric.measure in results.get(PIXELS, {}).get("values", {}):
            compute, size = metric.function(metric.compute), results[PIXELS]["num_values"]
            columns[metric.name] = [compute([value], size) for value in results[PIXELS]["values"][metric.measure]]
    faces = [m.name for m in resolved.columns if m.kind == "face" and m.name not in resolved.unscored]
    if not faces or PREDICTION not in results or not resolved.case.face_map:
        return columns
    errors = frame_errors(face_inputs(resolved, results), faces)
    for name in errors[0]:
        of_people = [face[name] for face in errors]
        columns[name] = _mean_over_people(of_people)
        if len(of_people) > 1:
            columns |= {f"{name}_{i}": values.tolist() for i, values in enumerate(of_people)}
    return columns


def _mean_over_people(errors: Sequence[np.ndarray]) -> list[float]:
    stacked = np.array(errors)
    counts = np.isfinite(stacked).sum(0)
    sums = np.nansum(stacked, axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).tolist()
