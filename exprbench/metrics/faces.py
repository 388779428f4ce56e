"""Every per-frame error between two faces, by the name of its column."""

from dataclasses import dataclass

import numpy as np

from exprbench.faces import axis_angle, eye_closed, gaze, rotation
from exprbench.metrics import aed, apd, lmd, mae
from exprbench.metrics.face_pair import FacePair


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What the networks of the profile `paper` read in a face over T frames; NaN where it is not seen.

    `gaze` (T, 3) unit vectors in the camera's frame, `expression` (T, 55), `pose` (T, 3) axis-angle in radians; None
    for a network that is not there.
    """

    gaze: np.ndarray | None = None
    expression: np.ndarray | None = None
    pose: np.ndarray | None = None


def landmark_errors(pair: FacePair) -> dict[str, np.ndarray]:
    """(T,) LMD and its extra columns, the same in both profiles; NaN where either side does not see the face."""
    return {
        "lmd": lmd.lmd(pair),
        "lmd_px": lmd.lmd_px(pair),
        "lmd_iod": lmd.lmd_iod(pair),
        "lmd_rigid": lmd.lmd_rigid(pair),
        "lmd_mesh": lmd.lmd(pair, lmd.MESH),
        "lmd_lips": lmd.lmd(pair, lmd.LIPS),
        "lmd_eyes": lmd.lmd(pair, lmd.EYES),
        "lmd_brows": lmd.lmd(pair, lmd.BROWS),
    }


def mediapipe_errors(pair: FacePair) -> dict[str, np.ndarray]:
    """(T,) MAE, AED, APD and their extra columns in the profile `mediapipe`; NaN as above."""
    sides = (pair.reference, pair.reference_size), (pair.predicted, pair.predicted_size)
    gazes = [gaze(side.landmarks, side.pose, size) for side, size in sides]
    in_heads = [mae.in_head(g, rotation(side.pose)) for g, (side, _) in zip(gazes, sides, strict=True)]
    expressions = [side.blendshapes for side, _ in sides]
    heads = [axis_angle(side.pose) for side, _ in sides]
    parts = {f"aed_{name}": aed.aed(*(e[:, part] for e in expressions)) for name, part in aed.PARTS.items()}
    errors = {
        "mae": mae.mae(*gazes),
        "mae_open": mae.mae_open(*gazes, eye_closed(pair.reference.blendshapes)),
        "mae_in_head": mae.mae(*in_heads),
        "aed": aed.aed(*expressions),
        "aed_rmse": aed.aed_rmse(*expressions),
        **parts,
        **_head_errors(*heads),
    }
    return _where_seen(pair, errors)


def _head_errors(reference: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "apd": apd.apd(reference, predicted),
        "apd_deg": apd.apd_deg(reference, predicted),
        "apd_rmse": apd.apd_rmse(reference, predicted),
    }


def _where_seen(pair: FacePair, errors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.where(pair.seen, values, np.nan) for name, values in errors.items()}


def paper_errors(pair: FacePair, reference: Readings, predicted: Readings) -> dict[str, np.ndarray]:
    """(T,) MAE, AED, APD and their extra columns in the profile `paper`, as far as both sides have readings."""
    errors: dict[str, np.ndarray] = {}
    if reference.gaze is not None and predicted.gaze is not None:
        gazes = reference.gaze[:, None], predicted.gaze[:, None]
        both_closed = eye_closed(pair.reference.blendshapes).all(-1, keepdims=True)
        errors |= {"mae": mae.mae(*gazes), "mae_open": mae.mae_open(*gazes, both_closed)}
    if reference.expression is not None and predicted.expression is not None:
        full = reference.expression, predicted.expression
        expressions = [side[:, : aed.NUM_EXPRESSION] for side in full]
        errors |= {"aed": aed.aed(*expressions), "aed_rmse": aed.aed_rmse(*expressions), "aed_full": aed.aed(*full)}
    if reference.pose is not None and predicted.pose is not None:
        errors |= _head_errors(reference.pose, predicted.pose)
    return _where_seen(pair, errors)


def face_errors(
    pair: FacePair, profile: str = "mediapipe", readings: tuple[Readings, Readings] | None = None
) -> dict[str, np.ndarray]:
    """Column -> (T,) float64 error of every frame, NaN where either side does not see the face.

    Args:
        pair: the tracks.
        profile: `mediapipe` or `paper`.
        readings: of the reference and of the prediction, for the profile `paper`.
    """
    if profile == "mediapipe":
        return landmark_errors(pair) | mediapipe_errors(pair)
    reference, predicted = readings or (Readings(), Readings())
    return landmark_errors(pair) | paper_errors(pair, reference, predicted)
