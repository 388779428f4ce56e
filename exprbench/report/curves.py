"""Values of every frame of a case: errors of the matched faces, and their landmarks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exprbench.core.arrays import pack_arrays, unpack_arrays
from exprbench.core.cache import cached
from exprbench.faces import FaceTrack
from exprbench.faces.landmark_groups import BROWS, EYES, LIPS
from exprbench.metrics.face_errors import face_errors
from exprbench.scoring.cases import ResolvedCase, compared_faces

VERSION = "curves-2"  # increase it when a change of the code changes the values
COLUMNS_OF_CURVES = ("lmd", "mae", "aed", "apd")
IRISES = (468, 473)
SHOWN = (*LIPS, *EYES, *BROWS, *IRISES)
LOWEST, SPAN = -0.5, 2.0  # of coordinates that can be stored, in frames; faces can be cut off by the frame's border


@dataclass(frozen=True, kw_only=True)
class FaceCurves:
    """Values of one driven face over T frames.

    Attributes:
        errors: column -> (T,) errors; NaN where the face is missing on a side.
        reference, predicted: (T, K, 2) uint16 landmarks; see `quantised`.
    """

    errors: dict[str, np.ndarray]
    reference: np.ndarray
    predicted: np.ndarray


def case_curves(resolved: ResolvedCase) -> list[FaceCurves]:
    """Return the values of every driven face, left to right, cached under all that the case's score depends on.

    Returns nothing if no face column can be computed.

    Raises:
        ItemError: a video cannot be read.
    """
    key = {"version": VERSION, "case": resolved.key()}
    return cached("curves", key, lambda: _compute(resolved), _pack, _unpack)


def _compute(resolved: ResolvedCase) -> list[FaceCurves]:
    columns = [metric.name for metric in resolved.columns if metric.name not in resolved.unscored]
    return [
        FaceCurves(
            errors=face_errors(pair, columns),
            reference=quantised(pair.reference),
            predicted=quantised(pair.predicted),
        )
        for pair in compared_faces(resolved)
    ]


def quantised(track: FaceTrack) -> np.ndarray:
    """Return (T, K, 2) uint16 positions of the lips, eyes, brows and irises: 1 to 65535 for -0.5 to 1.5 of the frame.

    0 stands for a face that is not seen.
    """
    points = (track.landmarks[:, list(SHOWN), :2].astype(np.float64) - LOWEST) / SPAN
    whole = 1 + np.round(np.clip(np.where(np.isfinite(points), points, 0), 0, 1) * 65534)
    return np.where(track.seen[:, None, None], whole, 0).astype(np.uint16)


def _pack(faces: Sequence[FaceCurves]) -> bytes:
    arrays = {"columns": np.array(list(faces[0].errors) if faces else [], str)}
    for i, face in enumerate(faces):
        arrays[f"errors.{i}"] = np.array(list(face.errors.values()))
        arrays[f"landmarks.{i}"] = np.stack([face.reference, face.predicted])
    return pack_arrays(arrays)


def _unpack(data: bytes) -> list[FaceCurves]:
    arrays = unpack_arrays(data)
    columns, faces = arrays["columns"].tolist(), []
    while (landmarks := arrays.get(f"landmarks.{len(faces)}")) is not None:
        errors = dict(zip(columns, arrays[f"errors.{len(faces)}"], strict=True))
        faces.append(FaceCurves(errors=errors, reference=landmarks[0], predicted=landmarks[1]))
    return faces


def mean_over_faces(faces: Sequence[FaceCurves], column: str) -> np.ndarray:
    """Return (T,) means over the faces that have a value, NaN in frames without any."""
    values = np.array([face.errors[column] for face in faces])
    known = np.isfinite(values)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, values, 0).sum(0) / np.maximum(count, 1), np.nan)
