"""Distances between sets of videos: FID, FVD and their variants, over the self cases of a split.

The reference set consists of all frames or clips of the references of all cases, whatever the predictions have: the
same set for every method.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from exprbench.benchmark import Case
from exprbench.core.cache import cached, pack_json
from exprbench.core.schema import decode
from exprbench.metrics import Metric
from exprbench.metrics.errors import MetricError
from exprbench.metrics.metric import ClipStream
from exprbench.metrics.set_distance import pack_reference, prepare, unpack_reference
from exprbench.records import Aggregate, CaseScore
from exprbench.scoring.cases import (
    driver_input,
    feature_computations,
    feature_name,
    prediction_input,
    reference_features,
)
from exprbench.scoring.plan import ScoringPlan
from exprbench.scoring.single_pass import Computation

VERSION = "sets-4"  # increase it when a change of the code changes distances

Pair = tuple[Case, CaseScore]
Features = dict[str, dict[str, Computation]]  # case id -> name -> computation


def set_distances(plan: ScoringPlan, pairs: Sequence[Pair]) -> dict[str, Aggregate | str]:
    """Return set column -> the distance of the scored predictions to the references of all cases, or why it has none.

    The features of every video are read from the cache.
    """
    references = {case.case_id: {c.name: c for c in reference_features(plan, case)} for case, _ in pairs}
    predictions = {case.case_id: _computations(plan, case, s) for case, s in pairs if s.outcome == "scored"}
    results: dict[str, Aggregate | str] = {}
    for metric in plan.columns_on("self"):
        if metric.per == "group":
            try:
                results[metric.name] = plan.unavailable_reason(metric) or distance_between(
                    metric, references, predictions
                )
            except MetricError as error:
                results[metric.name] = str(error)
    return results


def _computations(plan: ScoringPlan, case: Case, score: CaseScore) -> dict[str, Computation]:
    """Return the feature computations of the file that was scored; their results are in the cache."""
    path = plan.prediction(case)
    prediction = prediction_input(plan, path, score.prediction_sha256)
    return {c.name: c for c in feature_computations(plan, case, prediction, driver_input(plan, case.drivers[0]))}


def distance_between(metric: Metric, references: Features, predictions: Features) -> Aggregate:
    """Return the distance of a set column between two sets of videos, from features in the cache.

    Raises:
        MetricError: a set is too small, or its features cannot be used.
    """
    sides = [
        {case_id: computations[feature_name(metric, side)] for case_id, computations in features.items()}
        for side, features in (("reference", references), ("prediction", predictions))
    ]
    keys = [[[case_id, computation.key] for case_id, computation in sorted(side.items())] for side in sides]

    def measure() -> Aggregate:
        reference, predicted = map(_load, sides)
        if not predicted:
            raise MetricError("too_few_samples", "no prediction is long enough for a clip, or there is none")
        biased = isinstance(metric.stream, ClipStream) and metric.stream.grid.biased
        prepared = cached(
            "references",
            {"version": VERSION, "cases": keys[0]},
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
            rank=None if distance.rank is None else min(distance.rank, distance.reference_rank),
            bias_floor=distance.bias_floor,
            influence=distance.influence,
        )

    return cached("sets", {"version": VERSION, "compute": metric.compute, "cases": keys}, measure, _pack, _unpack)


def _load(side: dict[str, Computation]) -> dict[str, np.ndarray]:
    """Return case id -> (n, d) features of one side, without videos that are too short for a clip."""
    try:
        features = {case_id: computation.recall() for case_id, computation in side.items()}
    except LookupError as error:
        raise MetricError("features_missing", f"a video has no features: {error}") from error
    return {case_id: array for case_id, array in features.items() if len(array)}


def _pack(aggregate: Aggregate) -> bytes:
    return pack_json(asdict(aggregate))


def _unpack(data: bytes) -> Aggregate:
    return decode(Aggregate, json.loads(data), "cache")
