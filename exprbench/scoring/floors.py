"""Noise floors: what a perfect prediction scores, because measuring a video twice gives two results.

For faces it is the distance between the benchmark's videos and a second detection of them in jittered crops; for sets
of features, the distance between the benchmark's videos and their own re-encoding.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.benchmark import Case
from exprbench.core.arrays import pack_array, unpack_array
from exprbench.core.cache import cached, read_entry
from exprbench.core.errors import ItemError
from exprbench.core.processes import process_map
from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.video_tracks import given_path, main_faces
from exprbench.media import write_video
from exprbench.metrics import COLUMNS, Metric
from exprbench.metrics.errors import MetricError
from exprbench.metrics.face_errors import face_errors
from exprbench.metrics.face_pair import FacePair, Readings, mean_seen
from exprbench.metrics.face_readers import READERS
from exprbench.metrics.metric import LANDMARKER, ClipStream
from exprbench.records import Group
from exprbench.scoring.cases import driver_input
from exprbench.scoring.computations import feature_computation, reading_computation, tracks_computation
from exprbench.scoring.jittered import jittered_tracks
from exprbench.scoring.plan import ScoringPlan
from exprbench.scoring.single_pass import Computation, VideoInput, single_pass

VERSION = "floors-1"  # increase it when a change of the code changes floors
CRF = 18  # of the re-encoding; visually lossless

FaceFloors = list[dict[str, float]]  # column -> floor, of every main face of a driver


def face_columns(plan: ScoringPlan) -> list[str]:
    """Return the columns of single faces that have a floor; those that need the source image have none."""
    columns = [
        COLUMNS[name] for name in plan.columns if COLUMNS[name].kind == "face" and COLUMNS[name].over != "people"
    ]
    return [m.name for m in columns if not plan.unavailable_reason(m) and not _of_source(plan, m)]


def _of_source(plan: ScoringPlan, metric: Metric) -> bool:
    return any(name in READERS and READERS[name].of_source for name in metric.weights[plan.profile])


def driver_floors(plan: ScoringPlan, cases: Sequence[Case], workers: int) -> dict[str, FaceFloors]:
    """Return driver -> floors of its main faces; a driver with given tracks has none, nor has one that fails."""
    columns = face_columns(plan)
    drivers = dict.fromkeys(driver for case in cases for driver in case.drivers)
    detected = [d for d in drivers if not given_path(plan.bench.path(d)).is_file()]
    if not columns or LANDMARKER in plan.without:
        return {}
    keys = {driver: _key(plan, columns, driver_input(plan, driver)) for driver in detected}
    known = {driver: json.loads(body) for driver, key in keys.items() if (body := read_entry("floors", key))}
    missing = [driver for driver in detected if driver not in known]
    work = process_map(partial(_driver_floors, plan, columns), missing, workers=workers, label="floors", unit="video")
    return known | {driver: floors for driver, floors in work if not isinstance(floors, ItemError)}


def _key(plan: ScoringPlan, columns: Sequence[str], video: VideoInput) -> dict[str, Any]:
    return {
        "version": VERSION,
        "tracks": tracks_computation("", video).key,
        "columns": {name: plan.ids[name] for name in columns},
        "weights": {name: plan.weight_hashes(COLUMNS[name]) for name in columns},
        "device": plan.device,
    }


def _driver_floors(plan: ScoringPlan, columns: Sequence[str], driver: str) -> FaceFloors:
    video = driver_input(plan, driver)
    return cached("floors", _key(plan, columns, video), partial(_measure, plan, columns, video), _dump, json.loads)


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _measure(plan: ScoringPlan, columns: Sequence[str], video: VideoInput) -> FaceFloors:
    tracks = single_pass([tracks_computation("tracks", video)])["tracks"]
    first, second = (_detection(plan, video, tracks, part) for part in (0, 1))
    faces = [i for i, track in enumerate(tracks.tracks) if any(track is main for main in main_faces(tracks))]
    return [_face_floors(plan, columns, video, first, second, face) for face in faces]


def _detection(plan: ScoringPlan, video: VideoInput, tracks: FaceTracks, part: int) -> FaceTracks:
    """Return what scoring uses (part 0), or as many detections again in the crops of other jitters (part 1)."""
    if part == 0 and plan.looks == 1:
        return tracks
    return jittered_tracks(video, tracks, range(part * plan.looks, (part + 1) * plan.looks))


def _face_floors(
    plan: ScoringPlan, columns: Sequence[str], video: VideoInput, first: FaceTracks, second: FaceTracks, face: int
) -> dict[str, float]:
    pair = FacePair(
        reference=first.tracks[face],
        predicted=second.tracks[face],
        reference_size=first.size,
        predicted_size=first.size,
        profile=plan.profile,
        readings=tuple(_readings(plan, columns, video, side.tracks[face], i) for i, side in enumerate((first, second))),
    )
    means = {name: mean_seen(values) for name, values in face_errors(pair, columns).items()}
    return {name: mean for name, mean in means.items() if np.isfinite(mean)}


def _readings(plan: ScoringPlan, columns: Sequence[str], video: VideoInput, track: FaceTrack, part: int) -> Readings:
    readers = sorted({w for c in columns for w in COLUMNS[c].weights[plan.profile] if w in READERS})
    jitters = plan.jitters if part == 0 else range(plan.looks, 2 * plan.looks)
    computations = [reading_computation(plan, reader, reader, video, track, jitters) for reader in readers]
    return {name: v for reading in single_pass(computations).values() for name, v in reading.items()}


def set_floors(plan: ScoringPlan, cases: Sequence[Case], workers: int) -> dict[tuple[str, str], float]:
    """Return (split, set column) -> distance between the references of the self cases and their re-encodings."""
    columns = [m for m in plan.columns_on("self") if m.kind == "set" and not plan.unavailable_reason(m)]
    floors = {}
    for split in dict.fromkeys(case.split for case in cases if case.track == "self") if columns else ():
        own = [case for case in cases if (case.split, case.track) == (split, "self")]
        for name, value in _split_floors(plan, columns, own, workers).items():
            floors[split, name] = value
    return floors


def _split_floors(
    plan: ScoringPlan, columns: Sequence[Metric], cases: Sequence[Case], workers: int
) -> dict[str, float]:
    """Return set column -> floor of the self cases of a split."""
    keys = [[case.case_id, *(c.key for c in _computations(plan, columns, case).values())] for case in cases]
    key = {"version": VERSION, "crf": CRF, "columns": {m.name: m.compute for m in columns}, "cases": keys}

    def measure() -> dict[str, float]:
        work = partial(_both_features, plan, columns)
        results = process_map(work, cases, workers=workers, label="floors", unit="video")
        features = {case.case_id: sides for case, sides in results if not isinstance(sides, ItemError)}
        values = {m.name: _set_floor(m, {name: sides[m.name] for name, sides in features.items()}) for m in columns}
        return {name: value for name, value in values.items() if value is not None}

    return cached("floors", key, measure, _dump, json.loads)


Features = tuple[np.ndarray, np.ndarray]


def _computations(plan: ScoringPlan, columns: Sequence[Metric], case: Case) -> dict[str, Computation]:
    """Return set column -> the computation of the features of a self case's reference."""
    reference = driver_input(plan, case.drivers[0])
    num_frames = plan.bench.assets[case.drivers[0]].num_frames
    return {m.name: feature_computation(plan, m, m.name, reference, num_frames, case.case_id) for m in columns}


def _both_features(plan: ScoringPlan, columns: Sequence[Metric], case: Case) -> dict[str, Features]:
    """Return set column -> features of a self case's reference and of its re-encoding."""
    computations = _computations(plan, columns, case)
    own = single_pass(list(computations.values()))
    return {name: (own[name], _reencoded_features(c)) for name, c in computations.items()}


def _reencoded_features(computation: Computation) -> np.ndarray:
    """Return the features of a computation's video after encoding it again with x264."""
    (video,) = computation.videos

    def measure() -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "reencoded.mp4"
            with video.open() as clip:
                write_video(path, video.frames(clip), fps=video.fps, crf=CRF)
            accumulator, copy = computation.start(), replace(video, path=path)
            with copy.open() as clip:
                for frame in copy.frames(clip):
                    accumulator.update(frame)
            return accumulator.compute()

    return cached("features", {"crf": CRF, "of": computation.key}, measure, pack_array, unpack_array)


def _set_floor(metric: Metric, features: dict[str, Features]) -> float | None:
    """Return the distance over all videos, or its mean over videos for a column per case; None if there is none."""
    function = metric.function(metric.compute)
    try:
        if metric.per == "case":
            return float(np.mean([function(*sides) for sides in features.values()]))
        sides = [{name: pair[i] for name, pair in features.items() if len(pair[i])} for i in (0, 1)]
        biased = isinstance(metric.stream, ClipStream) and metric.stream.grid.biased
        return float(function(*sides, biased=biased).value)
    except MetricError:
        return None


def with_floors(
    group: Group, cases: Sequence[Case], of_drivers: dict[str, FaceFloors], of_sets: dict[tuple[str, str], float]
) -> Group:
    """Return a group with the noise floors of its aggregates: means over its cases and their driven faces."""
    own = [case for case in cases if (case.split, case.track) == (group.split, group.track)]
    floors = {name: of_sets.get((group.split, name)) for name in group.aggregates}
    floors |= {name: value for name in group.aggregates if (value := _mean_floor(name, own, of_drivers)) is not None}
    aggregates = {name: replace(a, floor=floors[name]) for name, a in group.aggregates.items()}
    return replace(group, aggregates=aggregates)


def _mean_floor(column: str, cases: Sequence[Case], of_drivers: dict[str, FaceFloors]) -> float | None:
    means = []
    for case in cases:
        driven = [pair for pair in case.face_map if pair]
        faces = [of_drivers[case.drivers[d]][face] for d, face in driven if case.drivers[d] in of_drivers]
        means += [np.mean([face[column] for face in faces])] if faces and all(column in face for face in faces) else []
    return float(np.mean(means)) if means else None
