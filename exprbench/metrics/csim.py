"""CSIM: cosine similarity between the identity of a predicted face and that of the face in the source image."""

import numpy as np

from exprbench.metrics.face_pair import FacePair


def csim(pair: FacePair) -> np.ndarray:
    """Return (T,) similarities, at most 1, of the embeddings of dlib's identity network."""
    return _to_source(pair, "dlib_identity")


def csim_arcface(pair: FacePair) -> np.ndarray:
    """Return (T,) similarities, at most 1, of ArcFace's embeddings."""
    return _to_source(pair, "arcface")


def _to_source(pair: FacePair, name: str) -> np.ndarray:
    """Return the similarities (T,) to the source; NaN if the source's face is not found."""
    if name not in pair.source:
        return np.full(len(pair.seen), np.nan)
    return cosine(pair.readings[1][name], pair.source[name])


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosines (T,) of the angles between embeddings (T, n) and (T or 1, n)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
