"""Distances between sets of videos: FID, FVD and their variants, over the self cases of a split."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from exprbench.benchmark import Case
from exprbench.core.cache import cached
from exprbench.core.schema import decode
from exprbench.metrics import Metric
from exprbench.metrics.errors import MetricError
from exprbench.metrics.registry import ClipStream
from exprbench.metrics.set_distance import pack_reference, prepare, unpack_reference
from exprbench.records import Aggregate, CaseScore
from exprbench.scoring.cases import driver_input, feature_computations, feature_name, prediction_input
from exprbench.scoring.plan import ScoringPlan
from exprbench.scoring.prediction_files import find_prediction
from exprbench.scoring.single_pass import Computation

VERSION = "sets-2"  # increase it when a change of the code changes distances

Pair = tuple[Case, CaseScore]


def set_distances(plan: ScoringPlan, pairs: Sequence[Pair]) -> dict[str, Aggregate | str]:
    """Return set column -> its distance over the scored cases, or the reason why it has none.

    Both sides consist of the same cases and of the frames both videos have; if a prediction is missing, its reference
    is excluded too.
    """
    scored = [(case, score) for case, score in pairs if score.outcome == "scored"]
    features = {case.case_id: _computations(plan, case, score) for case, score in scored}
    results: dict[str, Aggregate | str] = {}
    for metric in plan.columns_on("self"):
        if metric.per == "group":
            try:
                results[metric.name] = plan.unavailable_reason(metric) or _distance(metric, scored, features)
            except MetricError as error:
                results[metric.name] = str(error)
    return results


def _computations(plan: ScoringPlan, case: Case, score: CaseScore) -> dict[str, Computation]:
    """Return the feature computations of the file that was scored; their results are in the cache."""
    path = find_prediction(plan.predictions, case)
    prediction = prediction_input(plan, path, score.prediction_sha256)
    return {c.name: c for c in feature_computations(plan, case, prediction, driver_input(plan, case.drivers[0]))}


def _distance(metric: Metric, scored: Sequence[Pair], features: dict[str, dict[str, Computation]]) -> Aggregate:
    names = [feature_name(metric, side) for side in ("reference", "prediction")]
    keys = [
        [case.case_id, score.num_frames, *(features[case.case_id][name].key for name in names)]
        for case, score in scored
    ]

    def measure() -> Aggregate:
        reference, predicted = _load(metric, scored, features, names)
        biased = isinstance(metric.stream, ClipStream) and metric.stream.grid.biased
        prepared = cached(
            "references",
            {"version": VERSION, "cases": [key[:3] for key in keys]},
            lambda: prepare(reference, biased=biased),
            pack_reference,
            unpack_reference,
        )
        distance = metric.function(metric.compute)(reference, predicted, prepared, biased=biased)
        return Aggregate(
            value=distance.value,
            num_videos=distance.num_videos,
            low=distance.low,
            high=distance.high,
            num_samples=distance.num_samples,
            rank=min(distance.rank, distance.reference_rank),
            bias_floor=distance.bias_floor,
        )

    return cached("sets", {"version": VERSION, "compute": metric.compute, "cases": keys}, measure, _pack, _unpack)


def _load(
    metric: Metric, scored: Sequence[Pair], features: dict[str, dict[str, Computation]], names: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return case id -> (n, d) features of reference and prediction, of the frames or clips that both have."""
    sides: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = {}, {}
    for case, score in scored:
        pair = [features[case.case_id][name].recall() for name in names]
        num = min(map(len, pair)) if isinstance(metric.stream, ClipStream) else score.num_frames
        for side, array in zip(sides, pair, strict=True):
            if num:
                side[case.case_id] = array[:num]
    if not sides[0]:
        raise MetricError("too_few_samples", "no prediction is long enough for a clip, or there is none")
    return sides


def _pack(aggregate: Aggregate) -> bytes:
    return json.dumps(asdict(aggregate)).encode()


def _unpack(data: bytes) -> Aggregate:
    return decode(Aggregate, json.loads(data), "cache")
