"""Per-frame errors between two faces, for any face columns of the registry."""

from collections.abc import Iterable

import numpy as np

from exprbench.metrics.face_pair import FacePair
from exprbench.metrics.face_readers import READERS
from exprbench.metrics.metric import LANDMARKER
from exprbench.metrics.registry import COLUMNS


def face_columns(profile: str, readings: Iterable[str] = ("l2cs", "smirk")) -> list[str]:
    """Return the per-frame face columns of a profile that need only the landmarker and the networks `readings`."""
    available = {LANDMARKER, *readings}
    columns = (m for m in COLUMNS.values() if m.kind == "face" and m.over == "frame" and profile in m.ids)
    return [m.name for m in columns if available >= set(m.weights[profile])]


def required_readers(columns: Iterable[str], profile: str) -> tuple[list[str], list[str]]:
    """Return the networks whose readings face columns compare with the driver, and those with the source image."""
    required = sorted({name for c in columns for name in COLUMNS[c].weights[profile] if name in READERS})
    return [r for r in required if not READERS[r].of_source], [r for r in required if READERS[r].of_source]


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
