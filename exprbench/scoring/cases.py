"""Score one case: resolve it into computations, compute them in a single pass, reduce the results.

`resolve_case` decides what each column needs, or why it cannot be computed. `single_pass` decodes. `reduce_case` turns
the results into the case's `CaseScore`. The score is cached under the keys of everything it was computed from.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.benchmark import Case
from exprbench.core.cache import pack_json, read_entry, write_entry
from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_path
from exprbench.core.processes import WorkerKilled
from exprbench.core.schema import decode
from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.video_tracks import given_path, given_tracks, main_faces, track_image
from exprbench.media import open_clip, read_image
from exprbench.metrics import Metric
from exprbench.metrics.errors import MetricError
from exprbench.metrics.face_pair import FacePair, Readings
from exprbench.metrics.face_readers import READERS
from exprbench.metrics.metric import LANDMARKER
from exprbench.records import CaseScore
from exprbench.scoring.computations import (
    FaceCrops,
    face_readings,
    feature_computation,
    pixel_computation,
    shape_computation,
    tracks_computation,
)
from exprbench.scoring.face_scores import FaceInputs, face_pairs, score_faces
from exprbench.scoring.jittered import jittered_tracks
from exprbench.scoring.plan import ScoringPlan, verified
from exprbench.scoring.prediction_files import own_timing
from exprbench.scoring.single_pass import Computation, VideoInput, single_pass

VERSION = "case-5"  # increase it when a change of the code changes scores of cases
PREDICTION, SHAPE, PIXELS = "prediction", "shape", "pixels"

Results = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ResolvedCase:
    """Everything that a case's score is computed from.

    Attributes:
        drivers: path in the benchmark -> video.
        columns: per-case columns that are defined on the case's track.
        unscored: column -> why it cannot be computed.
        computations: what the single pass computes.
        given: name -> video with a track file next to it.
    """

    plan: ScoringPlan
    case: Case
    prediction: VideoInput
    drivers: dict[str, VideoInput]
    columns: tuple[Metric, ...]
    unscored: dict[str, str]
    computations: tuple[Computation, ...]
    given: dict[str, VideoInput]

    @property
    def videos(self) -> dict[str, VideoInput]:
        """Return the name of a face track -> its video, for the prediction and the drivers."""
        return {PREDICTION: self.prediction, **self.drivers}

    def key(self) -> dict[str, Any]:
        """Return the cache key of the case's score."""
        return {
            "version": VERSION,
            "case": self.case.to_row(),
            "fps": self.plan.bench.fps,
            "benchmark": {path: asset.scored_fields() for path, asset in self.plan.case_assets(self.case).items()},
            "columns": {metric.name: self.plan.ids[metric.name] for metric in self.columns},
            "unscored": self.unscored,
            "without": sorted(self.plan.without),
            "missing": self.plan.missing,
            "looks": self.plan.looks,
            "device": self.plan.device,
            "given": {name: sha256_path(given_path(video.path)) for name, video in self.given.items()},
            "computations": [[c.name, c.kind, c.key] for c in self.computations],
        }


def score_case(plan: ScoringPlan, case: Case) -> CaseScore:
    """Return a case's score, from the cache if nothing it depends on has changed.

    Raises:
        UserError: the benchmark has changed since it was opened.
        WorkerKilled: decoders were killed from outside.
    """
    try:
        resolved = resolve_case(plan, case)
        cached = _recall(resolved)
        if cached:
            return cached
        for relative in plan.case_assets(case):
            verified(plan.bench, relative)
        scored = reduce_case(resolved, compute_case(resolved))
    except WorkerKilled:
        raise
    except ItemError as error:
        return failed_case(plan, case, error)
    write_entry("cases", resolved.key(), pack_json(asdict(scored)))
    return scored


def compute_case(resolved: ResolvedCase) -> Results:
    """Return name -> result of the computations of a case, and of its given face tracks."""
    given = {name: _given_tracks(video) for name, video in resolved.given.items()}
    return {**_averaged(resolved, single_pass(resolved.computations)), **given}


def recall_case(plan: ScoringPlan, case: Case) -> CaseScore | None:
    """Return the score of a case from the cache, an error score if it has no video, or None if it is not cached."""
    try:
        return _recall(resolve_case(plan, case))
    except ItemError as error:
        return failed_case(plan, case, error)


def _recall(resolved: ResolvedCase) -> CaseScore | None:
    body = read_entry("cases", resolved.key())
    if body is None:
        return None
    features = [c for c in resolved.computations if c.kind == "features"]  # set distances read them
    return decode(CaseScore, json.loads(body), "cache") if all(c.is_cached() for c in features) else None


def failed_case(plan: ScoringPlan, case: Case, error: ItemError) -> CaseScore:
    """Return the score of a case that could not be scored."""
    return replace(_blank(plan, case), outcome="error", code=error.code, detail=error.detail)


def _blank(plan: ScoringPlan, case: Case) -> CaseScore:
    shape = plan.bench.assets[case.drivers[0] if case.track == "self" else case.source]
    return CaseScore(
        case_id=case.case_id,
        split=case.split,  # type: ignore[arg-type]
        track=case.track,  # type: ignore[arg-type]
        outcome="scored",
        num_frames_reference=_num_frames(plan, case),
        size_reference=(shape.width, shape.height),
    )


def _num_frames(plan: ScoringPlan, case: Case) -> int:
    return min(plan.bench.assets[driver].num_frames for driver in case.drivers)


def resolve_case(plan: ScoringPlan, case: Case) -> ResolvedCase:
    """Decide what each column of a case is computed from.

    Raises:
        ItemError: there is no prediction, or its tracks cannot be used.
    """
    path = plan.prediction(case)
    prediction = prediction_input(plan, path, sha256_path(path), _num_frames(plan, case))
    drivers = {relative: driver_input(plan, relative) for relative in case.drivers}
    on_track = plan.columns_on(case.track)
    columns = tuple(metric for metric in on_track if metric.per == "case")
    unscored = {m.name: reason for m in columns if (reason := plan.unavailable_reason(m))}
    computations = [shape_computation(SHAPE, prediction)]
    if case.track == "self":
        reference = drivers[case.drivers[0]]
        computations += feature_computations(plan, case, prediction, reference)
        pixels = [metric for metric in columns if metric.kind == "pixel" and metric.name not in unscored]
        computations += [pixel_computation(PIXELS, reference, prediction, pixels, plan.device)] if pixels else []
    given: dict[str, VideoInput] = {}
    if faces := [metric.name for metric in columns if metric.kind == "face"]:
        videos = {PREDICTION: prediction, **drivers}
        given = {name: video for name, video in videos.items() if given_path(video.path).is_file()}
        if LANDMARKER in plan.without and len(given) < len(videos):
            unscored, given = {**unscored, **dict.fromkeys(faces, plan.without[LANDMARKER])}, {}
        else:
            computations += [tracks_computation(n, video) for n, video in videos.items() if n not in given]
    return ResolvedCase(
        plan=plan,
        case=case,
        prediction=prediction,
        drivers=drivers,
        columns=columns,
        unscored=unscored,
        computations=tuple(computations),
        given=given,
    )


def prediction_input(plan: ScoringPlan, path: Path, sha256: str, max_frames: int | None = None) -> VideoInput:
    """Return a method's video as an input, read by time or by number as the plan pairs frames."""
    every_frame = plan.pairing == "index"
    return VideoInput(path=path, sha256=sha256, fps=plan.bench.fps, max_frames=max_frames, every_frame=every_frame)


def driver_input(plan: ScoringPlan, relative: str) -> VideoInput:
    """Return a driver as an input, its hash as recorded in the benchmark."""
    path, asset = plan.bench.path(relative), plan.bench.assets[relative]
    return VideoInput(path=path, sha256=asset.sha256, fps=plan.bench.fps, of_benchmark=True)


def _averaged(resolved: ResolvedCase, results: Results) -> Results:
    """Return the results with the tracks of each video averaged over the plan's jittered crops."""
    jitters = resolved.plan.jitters
    detected = {name: video for name, video in resolved.videos.items() if jitters and name in results}
    return {**results, **{n: jittered_tracks(video, results[n], jitters) for n, video in detected.items()}}


def compared_faces(resolved: ResolvedCase) -> list[FacePair]:
    """Return the faces that the face columns of a case compare, driven faces of the source from left to right.

    Returns nothing if no face column can be computed.

    Raises:
        ItemError: a video cannot be read.
    """
    columns = [m.name for m in resolved.columns if m.kind == "face" and m.name not in resolved.unscored]
    return face_pairs(face_inputs(resolved, compute_case(resolved)), columns) if columns else []


def _given_tracks(video: VideoInput) -> FaceTracks:
    tracks = given_tracks(video.path)
    return tracks.first(video.max_frames) if video.max_frames else tracks


def feature_name(metric: Metric, side: str) -> str:
    """Return the name of a set column's features; columns with the same network and stream share them."""
    return f"{metric.parent} {metric.stream} of the {side}"


def feature_computations(
    plan: ScoringPlan, case: Case, prediction: VideoInput, reference: VideoInput
) -> list[Computation]:
    """Return the computations of the features that the set columns of a self case need, of both sides."""
    computations = {}
    num_frames = _num_frames(plan, case)
    for metric in plan.columns_on(case.track):
        if metric.kind == "set" and not plan.unavailable_reason(metric):
            for side, video in (("prediction", prediction), ("reference", reference)):
                name = feature_name(metric, side)
                computations[name] = feature_computation(plan, metric, name, video, num_frames, case.case_id)
    return list(computations.values())


def reference_features(plan: ScoringPlan, case: Case) -> list[Computation]:
    """Return the computations of the features of a self case's reference."""
    reference = driver_input(plan, case.drivers[0])
    features = {c.name: c for c in feature_computations(plan, case, reference, reference)}
    return [computation for name, computation in features.items() if name.endswith(" of the reference")]


def compute_reference_features(plan: ScoringPlan, case: Case) -> None:
    """Compute the features of a self case's reference that are not in the cache, for a case without a score."""
    verified(plan.bench, case.drivers[0])
    single_pass(reference_features(plan, case))


def reduce_case(resolved: ResolvedCase, results: Results) -> CaseScore:
    """Return the case's score from the results of the computations."""
    num_frames, width, height = results[SHAPE]
    own_frames, own_fps = own_timing(resolved.prediction.path, resolved.prediction.fps)
    scored = replace(
        _blank(resolved.plan, resolved.case),
        num_frames=num_frames,
        own_frames=own_frames,
        own_fps=own_fps,
        size=(width, height),
        prediction_sha256=resolved.prediction.sha256,
    )
    values, unscored = {}, dict(resolved.unscored)
    if PIXELS in results:
        scored = replace(scored, resized=results[PIXELS]["resized"])
        _reduce_pixels(resolved.columns, results[PIXELS], values, unscored)
    _reduce_own_sets(resolved, results, values)
    faces = [m.name for m in resolved.columns if m.kind == "face"]
    if faces and PREDICTION in results:
        face_scores = score_faces(face_inputs(resolved, results), [name for name in faces if name not in unscored])
        values, unscored = {**values, **face_scores.values}, {**unscored, **face_scores.unscored}
        scored = replace(scored, **face_scores.counts())
    order = [metric.name for metric in resolved.columns]
    return replace(
        scored,
        values={name: values[name] for name in order if name in values},
        unscored={name: unscored[name] for name in order if name in unscored},
    )


def _reduce_pixels(
    columns: Sequence[Metric], pixels: Results, values: dict[str, float], unscored: dict[str, str]
) -> None:
    for metric in columns:
        if metric.kind == "pixel" and metric.measure in pixels["errors"]:
            unscored[metric.name] = pixels["errors"][metric.measure]
        elif metric.kind == "pixel" and metric.name not in unscored:
            per_frame = pixels["values"][metric.measure]
            values[metric.name] = metric.function(metric.compute)(per_frame, pixels["num_values"])


def _reduce_own_sets(resolved: ResolvedCase, results: Results, values: dict[str, float]) -> None:
    """Add the distances between the frames of this video and of its reference."""
    for metric in resolved.columns:
        if metric.kind != "set" or metric.name in resolved.unscored:
            continue
        reference, predicted = (results[feature_name(metric, side)] for side in ("reference", "prediction"))
        try:
            values[metric.name] = metric.function(metric.compute)(reference, predicted)
        except MetricError as error:
            if error.code != "too_few_samples":
                raise


def face_inputs(resolved: ResolvedCase, results: Results) -> FaceInputs:
    """Return the faces of a case, from the results of its computations."""
    plan, case = resolved.plan, resolved.case

    def read(readers: Sequence[str], driver: int | None, track: FaceTrack) -> Readings:
        video = resolved.prediction if driver is None else resolved.drivers[case.drivers[driver]]
        return face_readings(plan, readers, video, track, plan.jitters)

    def read_source(reader: str, face: int) -> Readings:
        track = _source_face(plan, case, results, face)
        if track is None:
            return {}
        crops = FaceCrops(READERS[reader], plan.device, track, plan.jitters)
        crops.update(_source_image(plan, case))
        return crops.compute()

    return FaceInputs(
        profile=plan.profile,
        missing=plan.missing,
        is_self=case.track == "self",
        driver_tracks=tuple(results[path] for path in case.drivers),
        prediction_tracks=results[PREDICTION],
        face_map=case.face_map,
        source_tracks=_source_tracks(plan, case),
        read=read,
        read_source=read_source,
    )


def _source_image(plan: ScoringPlan, case: Case) -> np.ndarray:
    """Return the source image of a case, or the first frame of its source if that is a video."""
    path = plan.bench.path(case.source)
    if plan.bench.assets[case.source].kind != "driver":
        return read_image(path)
    with open_clip(path, fps=plan.bench.fps, max_frames=1) as video:
        return next(iter(video))


def _source_face(plan: ScoringPlan, case: Case, results: Results, face: int) -> FaceTrack | None:
    """Return a face of the source image as a track of one frame; None if the faces found are not those of the case.

    The source image of a self case is the first frame of its driver.
    """
    if case.track == "self":
        driven = case.face_map[face]
        return main_faces(results[case.drivers[0]])[driven[1]].first(1) if driven else None
    tracks = _image_tracks(plan, case)
    return tracks.tracks[face] if tracks and len(tracks.tracks) == len(case.face_map) else None


def _source_tracks(plan: ScoringPlan, case: Case) -> FaceTracks | None:
    """Return the faces of a cross case's source image, None if they are not detected or there is no landmarker."""
    return None if case.track == "self" else _image_tracks(plan, case)


def _image_tracks(plan: ScoringPlan, case: Case) -> FaceTracks | None:
    """Return the faces of a case's source image, None if they are not detected or there is no landmarker."""
    path = plan.bench.path(case.source)
    if not plan.bench.assets[case.source].faces_found:
        return None
    return given_tracks(path) or (None if LANDMARKER in plan.without else track_image(path))
