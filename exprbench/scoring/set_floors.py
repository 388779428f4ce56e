"""Noise floors of distances between sets of features: between the benchmark's videos and their own re-encoding."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from exprbench.benchmark import Case
from exprbench.core.arrays import pack_array, unpack_array
from exprbench.core.cache import cached, pack_json
from exprbench.core.errors import ItemError
from exprbench.core.processes import process_map
from exprbench.media import write_video
from exprbench.metrics import Metric
from exprbench.metrics.errors import MetricError
from exprbench.metrics.metric import ClipStream
from exprbench.scoring.cases import driver_input
from exprbench.scoring.computations import feature_computation
from exprbench.scoring.plan import ScoringPlan
from exprbench.scoring.single_pass import Computation, single_pass

VERSION = "floors-1"  # increase it when a change of the code changes these floors
CRF = 18  # of the re-encoding; visually lossless


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

    return cached("floors", key, measure, pack_json, json.loads)


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

    key = {"version": VERSION, "crf": CRF, "of": computation.key}
    return cached("features", key, measure, pack_array, unpack_array)


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
