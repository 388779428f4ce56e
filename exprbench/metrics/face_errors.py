"""Per-frame errors between two faces, for any face columns of the registry."""

from collections.abc import Iterable

import numpy as np

from exprbench.metrics.face_pair import FacePair
from exprbench.metrics.registry import COLUMNS


def face_columns(profile: str, readings: Iterable[str] = ("l2cs", "smirk")) -> list[str]:
    """Return the per-frame face columns of a profile that need only the landmarker and the networks `readings`."""
    available = {"face_landmarker", *readings}
    columns = (m for m in COLUMNS.values() if m.kind == "face" and m.over == "frame" and profile in m.ids)
    return [m.name for m in columns if available >= set(m.weights[profile])]


def face_errors(pair: FacePair, columns: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return column -> (T,) float64 errors, NaN in frames without the face on either side.

    A column that is one number for the whole track has it in every frame.

    Args:
        pair: the two tracks, with the profile and its readings.
        columns: face columns of one face; all per-frame ones of the profile by default.
    """
    columns = face_columns(pair.profile) if columns is None else columns
    errors = {name: COLUMNS[name].function(COLUMNS[name].compute)(pair) for name in columns}
    return {name: np.where(pair.seen, values, np.nan) for name, values in errors.items()}
