"""AED: difference of expression coefficients, frame by frame: MediaPipe's 52 blendshapes, or SMIRK's expression."""

import numpy as np

# MediaPipe's blendshapes, in its order: _neutral, 5 brow*, 3 cheek*, 14 eye*, 4 jaw*, 23 mouth*, 2 nose*
PARTS = {"brows": slice(1, 6), "eyes": slice(9, 23), "mouth": slice(23, 50)}
NUM_EXPRESSION = 50  # of SMIRK's 55 coefficients; 2 of the eyelids and 3 of the jaw come after them


def aed(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(T,) mean absolute difference of coefficients (T, K); NaN where one is."""
    return np.abs(_apart(reference, predicted)).mean(-1)


def aed_rmse(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(T,) root of the mean squared difference; times sqrt(K) it is the Euclidean distance."""
    return np.sqrt((_apart(reference, predicted) ** 2).mean(-1))


def _apart(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.asarray(predicted, np.float64) - np.asarray(reference, np.float64)
