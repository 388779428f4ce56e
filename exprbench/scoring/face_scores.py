"""Score the faces of a case: match reference tracks to predicted ones and compute the errors between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exprbench.faces import FaceTrack, FaceTracks
from exprbench.faces.tracks import unseen
from exprbench.faces.video_tracks import main_faces
from exprbench.metrics import COLUMNS
from exprbench.metrics.face_errors import face_errors, required_readers
from exprbench.metrics.face_pair import FacePair, Readings, mean_seen
from exprbench.metrics.face_readers import READERS
from exprbench.metrics.matching import Matching, match_source, match_tracks
from exprbench.scoring.plan import Missing


@dataclass(frozen=True, kw_only=True)
class FaceInputs:
    """The faces of both videos of a case, and the driver of each face.

    Attributes:
        missing: treatment of a reference face that a predicted frame does not show.
        is_self: whether the prediction reenacts its own driver, so that faces match by position.
        driver_tracks: the tracks of each driving video.
        face_map: for each face of the source, (driver, face of the driver), None for a face that is not driven.
        source_tracks: the faces of the source image of a cross case, if known.
        read: returns the readings of a tracked face, from the names of the readers, the number of the driver (None for
            the prediction), and the track.
        read_source: returns a network's readings (1, n) of a face of the source image, from the name of the reader and
            the number of the face; nothing if the face is not found.
    """

    profile: str
    missing: Missing
    is_self: bool
    driver_tracks: tuple[FaceTracks, ...]
    prediction_tracks: FaceTracks
    face_map: tuple[tuple[int, int] | None, ...]
    source_tracks: FaceTracks | None
    read: Callable[[Sequence[str], int | None, FaceTrack], Readings]
    read_source: Callable[[str, int], Readings]


@dataclass(frozen=True, kw_only=True)
class FaceScores:
    """Numbers of faces, values of columns, and the columns without a value, with the reason."""

    num_faces: int
    num_missing: int
    num_extra: int
    detect_rate: float | None
    values: dict[str, float]
    unscored: dict[str, str]

    def counts(self) -> dict[str, Any]:
        """Return the fields of a `CaseScore` that count faces."""
        return {
            "num_faces": self.num_faces,
            "num_faces_missing": self.num_missing,
            "num_faces_extra": self.num_extra,
            "detect_rate": self.detect_rate,
        }


@dataclass(frozen=True, kw_only=True)
class _Face:
    """A reference face and the predicted one matched to it, None if none was."""

    source: int
    driver: int
    track: FaceTrack
    predicted: FaceTrack | None


def score_faces(inputs: FaceInputs, columns: Sequence[str]) -> FaceScores:
    """Return errors between every reference face and the predicted one, averaged over frames, then over faces."""
    faces, num_extra = _match(inputs)
    pairs = _pairs(inputs, faces, columns)
    num_shown, num_expected = sum(int(p.seen.sum()) for p in pairs), sum(int(p.reference.seen.sum()) for p in pairs)
    of_people = [column for column in columns if COLUMNS[column].over == "people"]
    errors = [_errors(inputs, pair, [c for c in columns if c not in of_people]) for pair in pairs]
    values = {c: _over_people(c, pairs) if c in of_people else _mean_over_faces(c, errors) for c in columns}
    reason = (
        "no frame in which it is defined"
        if num_shown
        else "no_face: the prediction shows none of the reference's faces"
    )
    return FaceScores(
        num_faces=len(faces),
        num_missing=sum(face.predicted is None for face in faces),
        num_extra=num_extra,
        detect_rate=num_shown / num_expected if num_expected else None,
        values={column: value for column, value in values.items() if np.isfinite(value)},
        unscored={
            column: "fewer than two driven people" if column in of_people and len(pairs) < 2 else reason
            for column, value in values.items()
            if not np.isfinite(value)
        },
    )


def frame_errors(inputs: FaceInputs, columns: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """Return, for every reference face, column -> (T,) errors of its frames, NaN where there is none.

    Columns that depend on more than a single frame are left out.
    """
    of_frames = [column for column in columns if COLUMNS[column].over == "frame"]
    return [_errors(inputs, pair, of_frames) for pair in face_pairs(inputs, of_frames)]


def face_pairs(inputs: FaceInputs, columns: Sequence[str]) -> list[FacePair]:
    """Return every driven face, left to right in the source, and the predicted one, with what the columns read."""
    return _pairs(inputs, _match(inputs)[0], columns)


def _pairs(inputs: FaceInputs, faces: Sequence[_Face], columns: Sequence[str]) -> list[FacePair]:
    return [_pair(inputs, face, *required_readers(columns, inputs.profile)) for face in faces]


def _match(inputs: FaceInputs) -> tuple[list[_Face], int]:
    """Return the reference faces with their matches, and the number of main faces in the prediction without one."""
    predicted = inputs.prediction_tracks
    driven = [(i, *pair) for i, pair in enumerate(inputs.face_map) if pair]
    tracks = [main_faces(inputs.driver_tracks[driver])[face] for _, driver, face in driven]
    if inputs.is_self:
        matching = match_tracks(replace(inputs.driver_tracks[0], tracks=tuple(tracks)), predicted)
        matches = matching.predicted
    else:
        matching = match_source(len(inputs.face_map), predicted, inputs.source_tracks)
        matches = tuple(matching.predicted[i] for i, _, _ in driven)
    faces = [
        _Face(source=i, driver=driver, track=track, predicted=None if j is None else predicted.tracks[j])
        for (i, driver, _), track, j in zip(driven, tracks, matches, strict=True)
    ]
    return faces, _num_extra(predicted, matching)


def _num_extra(tracks: FaceTracks, matching: Matching) -> int:
    main = {id(track) for track in main_faces(tracks)}
    return sum(id(tracks.tracks[i]) in main for i in matching.left_over)


def _pair(inputs: FaceInputs, face: _Face, of_driver: list[str], of_source: list[str]) -> FacePair:
    """Return both tracks over the frames both videos have, with the readings of the networks."""
    predicted = inputs.prediction_tracks
    num_frames = min(len(face.track.seen), predicted.num_frames)
    return FacePair(
        reference=face.track.first(num_frames),
        predicted=face.predicted.first(num_frames) if face.predicted else unseen(num_frames),
        reference_size=inputs.driver_tracks[face.driver].size,
        predicted_size=predicted.size,
        profile=inputs.profile,
        readings=(
            _readings(inputs, of_driver, face.driver, face.track, num_frames),
            _readings(inputs, of_driver + of_source, None, face.predicted, num_frames),
        ),
        source={name: v for reader in of_source for name, v in inputs.read_source(reader, face.source).items()},
    )


def _readings(
    inputs: FaceInputs, readers: Sequence[str], driver: int | None, track: FaceTrack | None, num_frames: int
) -> Readings:
    """Return the readings of a face over the first frames; NaN if there is no track."""
    if track is None:
        outputs = [output for reader in readers for output in READERS[reader].outputs.items()]
        return {name: np.full((num_frames, size), np.nan) for name, size in outputs}
    return {name: values[:num_frames] for name, values in inputs.read(readers, driver, track).items()}


def _errors(inputs: FaceInputs, pair: FacePair, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Return column -> (T,) errors; missing faces get the worst value if they are penalised, NaN otherwise."""
    errors = face_errors(pair, columns)
    if inputs.missing == "penalty":
        absent = pair.reference.seen & ~pair.predicted.seen
        for column, values in errors.items():
            worst = COLUMNS[column].worst.get(inputs.profile)
            if worst is not None:
                values[absent] = worst
    return errors


def _over_people(column: str, pairs: Sequence[FacePair]) -> float:
    return COLUMNS[column].function(COLUMNS[column].compute)(pairs)


def _mean_over_faces(column: str, errors: Sequence[dict[str, np.ndarray]]) -> float:
    means = np.array([mean_seen(by_column[column]) for by_column in errors])
    return float(np.nanmean(means)) if np.isfinite(means).any() else float("nan")
