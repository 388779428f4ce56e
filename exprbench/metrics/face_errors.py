"""Per-frame errors between two faces, for any face columns of the registry."""

from collections.abc import Iterable

import numpy as np

from exprbench.metrics.face_pair import FacePair
from exprbench.metrics.registry import COLUMNS


def face_columns(profile: str, readings: Iterable[str] = ("l2cs", "smirk")) -> list[str]:
    """Return the face columns of a profile that need only the landmarker and the networks `readings`."""
    available = {"face_landmarker", *readings}
    columns = (m for m in COLUMNS.values() if m.kind == "face" and profile in m.ids)
    return [m.name for m in columns if available >= set(m.weights[profile])]


def face_errors(pair: FacePair, columns: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return column -> (T,) float64 errors, NaN in frames without the face on either side.

    Args:
        pair: the two tracks, with the profile and its readings.
        columns: face columns; all of the profile's by default.
    """
    columns = face_columns(pair.profile) if columns is None else columns
    errors = {name: COLUMNS[name].function(COLUMNS[name].compute)(pair) for name in columns}
    return {name: np.where(pair.seen, values, np.nan) for name, values in errors.items()}
