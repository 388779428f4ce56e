"""The faces of a case: tracks of both sides, who is who, and the errors between them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exprbench import weights
from exprbench.benchmark import Case
from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.tracks import nobody, pack_tracks, unpack_tracks
from exprbench.faces.video_tracks import collect, given_tracks, landmarker, main_faces, track_image, tracks_key
from exprbench.metrics import EXTRAS, METRICS
from exprbench.metrics.face_pair import FacePair, mean_seen
from exprbench.metrics.faces import Readings, face_errors
from exprbench.metrics.matching import Matching, match_source, match_tracks
from exprbench.scoring.plan import LANDMARKER, Plan, parent_of
from exprbench.scoring.readings import readings_of
from exprbench.scoring.single_pass import Need, Video

FACE_METRICS = ("lmd", "mae", "aed", "apd")


def is_of_faces(column: str) -> bool:
    """Does a column rest on faces being found?"""
    return parent_of(column) in FACE_METRICS


@dataclass
class _Watch:
    """A tracker that watches a video go by."""

    tracker: FaceTracker
    video_sha256: str

    def add(self, frame: np.ndarray) -> None:
        """Take the next (H, W, 3) uint8 RGB frame."""
        self.tracker.add(frame)

    def finish(self) -> FaceTracks:
        """Everybody seen."""
        return collect(self.tracker, self.video_sha256)


def want_tracks(plan: Plan, video: Video) -> None:
    """Put a video's face tracks among its needs, or among its results where they are given.

    Raises:
        ItemError: `weights_missing`, where they are neither given nor to be had; `tracks_invalid`, `tracks_mismatch`.
    """
    given = given_tracks(video.path)
    if given:
        video.results["tracks"] = given.first(video.max_frames) if video.max_frames else given
        return
    if LANDMARKER in plan.without:
        raise weights.WeightsError("weights_missing", plan.without[LANDMARKER])

    def start() -> _Watch:
        return _Watch(FaceTracker(landmarker(), fps=plan.bench.fps), video.sha256)

    key = tracks_key(video.sha256, plan.bench.fps, video.max_frames)
    video.needs["tracks"] = Need(kind="tracks", key=key, start=start, pack=pack_tracks, unpack=unpack_tracks)


@dataclass(frozen=True, kw_only=True)
class FaceScores:
    """What the faces of a case came to."""

    num_faces: int
    num_missing: int
    num_extra: int
    detect_rate: float | None
    values: dict[str, float]
    unscored: dict[str, str]

    def counts(self) -> dict[str, Any]:
        """The fields of a `CaseScore` that are about faces."""
        return {
            "num_faces": self.num_faces,
            "num_faces_missing": self.num_missing,
            "num_faces_extra": self.num_extra,
            "detect_rate": self.detect_rate,
        }


@dataclass(frozen=True, kw_only=True)
class _Face:
    """A reference face and the predicted one that stands for it (None: nobody does)."""

    driver: Video
    track: FaceTrack
    prediction: Video
    predicted: FaceTrack | None

    def pair(self) -> FacePair:
        """Both tracks over the frames both videos have."""
        theirs: FaceTracks = self.prediction.results["tracks"]
        num_frames = min(len(self.track.seen), theirs.num_frames)
        return FacePair(
            reference=self.track.first(num_frames),
            predicted=self.predicted.first(num_frames) if self.predicted else nobody(num_frames),
            reference_size=self.driver.results["tracks"].size,
            predicted_size=theirs.size,
        )


def score_faces(
    plan: Plan, case: Case, drivers: Sequence[Video], prediction: Video, columns: Sequence[str]
) -> FaceScores:
    """Errors between every reference face and the one that stands for it, averaged over frames, then over faces."""
    faces, left_over = _faces(plan, case, drivers, prediction)
    pairs = [face.pair() for face in faces]
    shown, expected = sum(int(p.seen.sum()) for p in pairs), sum(int(p.reference.seen.sum()) for p in pairs)
    errors = [_errors(plan, face, pair) for face, pair in zip(faces, pairs, strict=True)]
    values = {column: _mean_over_faces(column, errors) for column in columns}
    return FaceScores(
        num_faces=len(faces),
        num_missing=sum(face.predicted is None for face in faces),
        num_extra=left_over,
        detect_rate=shown / expected if expected else None,
        values={column: value for column, value in values.items() if np.isfinite(value)},
        unscored={column: _why(plan, column, shown) for column, value in values.items() if not np.isfinite(value)},
    )


def _faces(plan: Plan, case: Case, drivers: Sequence[Video], prediction: Video) -> tuple[list[_Face], int]:
    """The reference faces with those that stand for them, and how many main faces of the prediction stand for none."""
    by_path = dict(zip(dict.fromkeys(case.drivers), drivers, strict=True))
    theirs: FaceTracks = prediction.results["tracks"]
    driven = [(i, by_path[case.drivers[pair[0]]], pair[1]) for i, pair in enumerate(case.face_map) if pair]
    tracks = [main_faces(driver.results["tracks"])[face] for _, driver, face in driven]
    if case.track == "self":
        matching = match_tracks(replace(drivers[0].results["tracks"], tracks=tuple(tracks)), theirs)
        found = matching.predicted
    else:
        matching = match_source(len(case.face_map), theirs, _source(plan, case))
        found = tuple(matching.predicted[i] for i, _, _ in driven)
    faces = [
        _Face(driver=d, track=t, prediction=prediction, predicted=theirs.tracks[j] if j is not None else None)
        for (_, d, _), t, j in zip(driven, tracks, found, strict=True)
    ]
    return faces, _num_extra(theirs, matching)


def _num_extra(tracks: FaceTracks, matching: Matching) -> int:
    main = {id(track) for track in main_faces(tracks)}
    return sum(id(tracks.tracks[i]) in main for i in matching.left_over)


def _source(plan: Plan, case: Case) -> FaceTracks | None:
    """The faces of the source image; None where no detector sees them, or none is there."""
    path = plan.bench.path(case.source)
    if not plan.bench.assets[case.source].faces_found:
        return None
    return given_tracks(path) or (None if LANDMARKER in plan.without else track_image(path))


def _errors(plan: Plan, face: _Face, pair: FacePair) -> dict[str, np.ndarray]:
    """Column -> (T,) errors; faces not found get the worst value where they are penalised, and NaN otherwise."""
    readings: tuple[Readings, Readings] | None = None
    if plan.profile == "paper":
        sides = ((face.driver, face.track), (face.prediction, face.predicted))
        readings = tuple(readings_of(plan, *side, len(pair.seen)) for side in sides)  # type: ignore[assignment]
    errors = face_errors(pair, plan.profile, readings)
    if plan.missing == "penalty":
        absent = pair.reference.seen & ~pair.predicted.seen
        for column, values in errors.items():
            worst = {**METRICS, **EXTRAS}[column].worst.get(plan.profile)
            if worst is not None:
                values[absent] = worst
    return errors


def _mean_over_faces(column: str, errors: Sequence[dict[str, np.ndarray]]) -> float:
    means = np.array([mean_seen(e[column]) for e in errors if column in e])
    return float(np.nanmean(means)) if np.isfinite(means).any() else float("nan")


def _why(plan: Plan, column: str, shown: int) -> str:
    if plan.lacks(column):
        return plan.lacks(column)
    return "no frame in which it is defined" if shown else "no_face: the prediction shows none of the reference's faces"
