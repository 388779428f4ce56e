"""AED: difference of expression coefficients per frame, MediaPipe's 52 blendshapes or SMIRK's expression."""

import numpy as np

from exprbench.metrics.face_pair import FacePair

# MediaPipe's blendshapes, in its order: _neutral, 5 brow*, 3 cheek*, 14 eye*, 4 jaw*, 23 mouth*, 2 nose*
PARTS = {"brows": slice(1, 6), "eyes": slice(9, 23), "mouth": slice(23, 50)}
SMIRK_GROUPS = (slice(0, 50), slice(50, 52), slice(52, 55))  # expression, eyelids, jaw


def aed(pair: FacePair) -> np.ndarray:
    """Return (T,) mean absolute differences of the profile's expression coefficients."""
    return l1_mean(*pair.expressions)


def aed_rmse(pair: FacePair) -> np.ndarray:
    """Return (T,) root mean square differences of the profile's expression coefficients."""
    return rmse(*pair.expressions)


def aed_full(pair: FacePair) -> np.ndarray:
    """Return (T,) mean absolute differences of SMIRK's expression, eyelids and jaw."""
    return l1_mean(*pair.full_expressions)


def aed_groups(pair: FacePair) -> np.ndarray:
    """Return (T,) means of the mean absolute differences of SMIRK's expression, of its eyelids and of its jaw."""
    return np.mean([l1_mean(*(side[:, part] for side in pair.full_expressions)) for part in SMIRK_GROUPS], axis=0)


def aed_brows(pair: FacePair) -> np.ndarray:
    """Return `aed` of the brow blendshapes."""
    return _part(pair, "brows")


def aed_eyes(pair: FacePair) -> np.ndarray:
    """Return `aed` of the eye blendshapes."""
    return _part(pair, "eyes")


def aed_mouth(pair: FacePair) -> np.ndarray:
    """Return `aed` of the mouth blendshapes."""
    return _part(pair, "mouth")


def _part(pair: FacePair, part: str) -> np.ndarray:
    return l1_mean(*(side[:, PARTS[part]] for side in pair.expressions))


def l1_mean(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (T,) mean absolute differences of coefficients (T, K), NaN if one of them is NaN."""
    return np.abs(_difference(reference, predicted)).mean(-1)


def rmse(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (T,) root mean square differences; times sqrt(K) they are Euclidean distances."""
    return np.sqrt((_difference(reference, predicted) ** 2).mean(-1))


def _difference(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.asarray(predicted, np.float64) - np.asarray(reference, np.float64)
