"""One case: find the prediction, watch it once, and say what it came to."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from exprbench.benchmark import Case
from exprbench.core.cache import read_entry, write_entry
from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_path
from exprbench.core.schema import decode
from exprbench.faces.video_tracks import given_path
from exprbench.metrics.frechet import frechet_distance
from exprbench.records import CaseScore
from exprbench.scoring.faces import is_of_faces, score_faces, want_tracks
from exprbench.scoring.features import feature_columns, feature_need, feature_needs
from exprbench.scoring.groups import columns_of, is_of_sets
from exprbench.scoring.pixels import PIXEL_COLUMNS, Pixels, shape_need
from exprbench.scoring.plan import Plan, find_prediction, verified
from exprbench.scoring.single_pass import Need, Video, watch

VERSION = "case-1"  # raise it when a change makes cases come out differently


def score_case(plan: Plan, case: Case) -> CaseScore:
    """A case's score, or the error it is; kept in the cache by everything it depends on.

    Raises:
        UserError: the benchmark is not what it was.
    """
    kept = recall_case(plan, case)
    if kept:
        return kept
    try:
        path = find_prediction(plan.predictions, case)
        scored = _score(plan, case, Video(path=path, sha256=sha256_path(path), fps=plan.bench.fps))
    except ItemError as error:
        return failed_case(plan, case, error)
    write_entry("cases", _key(plan, case, scored.prediction_sha256), json.dumps(asdict(scored)).encode())
    return scored


def recall_case(plan: Plan, case: Case) -> CaseScore | None:
    """The score of a case, if everything it takes is in the cache."""
    try:
        path = find_prediction(plan.predictions, case)
    except ItemError as error:
        return failed_case(plan, case, error)
    sha256 = sha256_path(path)
    body = read_entry("cases", _key(plan, case, sha256))
    if body is None:
        return None
    scored = decode(CaseScore, json.loads(body), "cache")
    there = (read_entry(need.kind, need.key) is not None for need in _left_features(plan, case, scored))
    return scored if all(there) else None


def _key(plan: Plan, case: Case, prediction_sha256: str) -> dict[str, object]:
    beside = given_path(find_prediction(plan.predictions, case))
    return {
        "version": VERSION,
        "case": case.to_row(),
        "benchmark": {path: asset.sha256 for path, asset in plan.assets_of(case).items()},
        "prediction": prediction_sha256,
        "tracks": sha256_path(beside) if beside.is_file() else plan.faces_from(),
        "fps": plan.bench.fps,
        "columns": {column: plan.ids[column] for column in plan.columns},
        "without": sorted(plan.without),
        "missing": plan.missing,
        "device": plan.device,
    }


def _left_features(plan: Plan, case: Case, scored: CaseScore) -> list[Need]:
    """The features a scored case has left in the cache."""
    if case.track != "self":
        return []
    columns = [column for column in feature_columns(plan.columns) if not plan.lacks(column)]
    return [need for column in columns for need in feature_needs(plan, column, case, scored)]


def failed_case(plan: Plan, case: Case, error: ItemError) -> CaseScore:
    """A case that could not be scored."""
    return replace(_blank(plan, case), outcome="error", code=error.code, detail=error.detail)


def _blank(plan: Plan, case: Case) -> CaseScore:
    frames = min(plan.bench.assets[driver].num_frames for driver in case.drivers)
    return CaseScore(
        case_id=case.case_id,
        split=case.split,  # type: ignore[arg-type]
        track=case.track,  # type: ignore[arg-type]
        outcome="scored",
        num_frames_reference=frames,
    )


def _score(plan: Plan, case: Case, prediction: Video) -> CaseScore:
    blank = _blank(plan, case)
    columns = [c for c in columns_of(case.track, plan.columns) if not is_of_sets(c)]
    unscored = {column: plan.lacks(column) for column in columns if plan.lacks(column)}
    prediction.max_frames = blank.num_frames_reference
    prediction.needs["shape"] = shape_need(prediction)
    drivers = [_driver(plan, path) for path in dict.fromkeys(case.drivers)]
    faces = [column for column in columns if is_of_faces(column)]
    unscored |= _want_faces(plan, [prediction, *drivers], faces)
    if case.track == "self":
        _want_features(plan, case, prediction, drivers[0])
    pixels = Pixels() if set(columns) & set(PIXEL_COLUMNS) else None
    watch([prediction, *drivers], pixels.add if pixels else None)
    num_frames, width, height = prediction.results["shape"]
    scored = replace(blank, num_frames=num_frames, size=(width, height), prediction_sha256=prediction.sha256)
    values: dict[str, float] = {}
    if pixels:
        scored = replace(scored, resized=pixels.resized)
        values |= pixels.values()
        unscored |= pixels.unscored
    if "fid_video_mean" in columns and "fid" in prediction.results:
        values |= _own_fid(prediction.results["fid"], drivers[0].results["fid"], num_frames)
    if faces and "tracks" in prediction.results and all("tracks" in d.results for d in drivers):
        found = score_faces(plan, case, drivers, prediction, [c for c in faces if c not in unscored])
        values, unscored = {**values, **found.values}, {**unscored, **found.unscored}
        scored = replace(scored, **found.counts())
    return replace(
        scored,
        values={column: values[column] for column in columns if column in values},
        unscored={column: unscored[column] for column in columns if column in unscored},
    )


def _driver(plan: Plan, relative: str) -> Video:
    asset = plan.bench.assets[relative]
    return Video(path=verified(plan.bench, relative), sha256=asset.sha256, fps=plan.bench.fps, of_benchmark=True)


def _want_faces(plan: Plan, videos: Sequence[Video], faces: Sequence[str]) -> dict[str, str]:
    """Ask for tracks of every video; where they cannot be had, the reason, for every column of faces."""
    if not faces:
        return {}
    try:
        for video in videos:
            want_tracks(plan, video)
    except ItemError as error:
        if error.code != "weights_missing":
            raise
        for video in videos:
            video.needs.pop("tracks", None)
        return dict.fromkeys(faces, str(error))
    return {}


def _want_features(plan: Plan, case: Case, prediction: Video, driver: Video) -> None:
    for column in feature_columns(plan.columns):
        if not plan.lacks(column):
            frames = plan.bench.assets[case.drivers[0]].num_frames
            for video in (prediction, driver):
                video.needs[column] = feature_need(plan, column, video.sha256, frames, case.case_id)


def _own_fid(predicted: np.ndarray, reference: np.ndarray, num_frames: int) -> dict[str, float]:
    if num_frames < 2:
        return {}
    return {"fid_video_mean": frechet_distance(reference[:num_frames], predicted[:num_frames])}
