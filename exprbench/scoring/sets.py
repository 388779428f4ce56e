"""Distances between the sets of all videos: FID, FVD and their variants, over the self cases of a split."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from exprbench.benchmark import Case
from exprbench.core.cache import cached, read_entry
from exprbench.core.schema import decode
from exprbench.metrics.errors import MetricError
from exprbench.metrics.set_distance import pack_reference, prepare, set_distance, unpack_reference
from exprbench.records import Aggregate, CaseScore
from exprbench.scoring.features import GRIDS, RESIZES, feature_needs
from exprbench.scoring.groups import is_of_sets
from exprbench.scoring.plan import Plan

VERSION = "sets-1"  # raise it when a change makes distances come out differently

Pair = tuple[Case, CaseScore]


def set_distances(plan: Plan, pairs: Sequence[Pair]) -> dict[str, Aggregate | str]:
    """Column -> what it came to over the scored cases, or why it came to nothing.

    Both sides are the same cases and, of each, the frames both have: a missing prediction leaves its reference out too.
    """
    scored = [(case, score) for case, score in pairs if score.outcome == "scored"]
    found: dict[str, Aggregate | str] = {}
    for column in filter(is_of_sets, plan.columns):
        if plan.lacks(column):
            found[column] = plan.lacks(column)
            continue
        try:
            found[column] = _distance(plan, column, scored)
        except MetricError as error:
            found[column] = str(error)
    return found


def _distance(plan: Plan, column: str, scored: Sequence[Pair]) -> Aggregate:
    keys = [_keys(plan, column, case, score) for case, score in scored]
    key = {"version": VERSION, "cases": keys}

    def measure() -> Aggregate:
        reference, predicted = _features(plan, column, scored)
        biased = column in GRIDS and GRIDS[column].biased
        reference_key = {"version": VERSION, "cases": [k[:3] for k in keys]}
        prepared = cached(
            "references", reference_key, lambda: prepare(reference, biased=biased), pack_reference, unpack_reference
        )
        distance = set_distance(reference, predicted, prepared, biased=biased)
        return Aggregate(
            value=distance.value,
            num_videos=distance.num_videos,
            low=distance.low,
            high=distance.high,
            num_samples=distance.num_samples,
            rank=min(distance.rank, distance.reference_rank),
            bias_floor=distance.bias_floor,
        )

    return cached("sets", key, measure, _pack, _unpack)


def _keys(plan: Plan, column: str, case: Case, score: CaseScore) -> list[object]:
    reference, predicted = feature_needs(plan, column, case, score)
    return [case.case_id, score.num_frames, reference.key, predicted.key]


def _features(plan: Plan, column: str, scored: Sequence[Pair]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Case id -> (n, d) features of the reference and of the prediction, of the frames or clips both have."""
    sides: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = {}, {}
    for case, score in scored:
        pair = []
        for need in feature_needs(plan, column, case, score):
            body = read_entry(need.kind, need.key)
            if body is None:
                raise RuntimeError(f"the features of {case.case_id} have gone from the cache; score again")
            pair.append(need.unpack(body))
        num = score.num_frames if column in RESIZES else min(map(len, pair))
        for side, features in zip(sides, pair, strict=True):
            if num:
                side[case.case_id] = features[:num]
    if not sides[0]:
        raise MetricError("too_few_samples", "no prediction is long enough for a clip, or there is none")
    return sides


def _pack(aggregate: Aggregate) -> bytes:
    return json.dumps(asdict(aggregate)).encode()


def _unpack(data: bytes) -> Aggregate:
    return decode(Aggregate, json.loads(data), "cache")
