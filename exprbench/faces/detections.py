"""Decode the output of MediaPipe's face detector (BlazeFace, short range): anchors, boxes and suppression."""

from functools import lru_cache

import numpy as np

SIDE = 128  # of the network's input in pixels
STRIDES = ((8, 2), (16, 6))  # stride in pixels of a grid of anchors, and anchors in each of its cells


@lru_cache(maxsize=1)
def anchors() -> np.ndarray:
    """Return the centres (896, 2) of the anchors, x and y in [0, 1] of the network's input."""
    grids = []
    for stride, count in STRIDES:
        cells = (np.arange(SIDE // stride) + 0.5) * stride / SIDE
        y, x = np.meshgrid(cells, cells, indexing="ij")
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), count, axis=0))
    return np.concatenate(grids)


def decode(regressors: np.ndarray, logits: np.ndarray, min_score: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (N,), descending, and detections (N, 16) whose score is at least `min_score`.

    Args:
        regressors: (896, 16) output of the network: centre, size and six points relative to the anchors, in pixels.
        logits: (896,) output of the network.
        min_score: lowest score.

    Returns:
        Scores, and detections x0, y0, x1, y1 with six points x, y, in [0, 1] of the network's input.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    found = np.flatnonzero(scores >= min_score)
    found = found[np.argsort(-scores[found], kind="stable")]
    values = regressors[found].astype(np.float64) / SIDE
    centres, sizes = values[:, :2] + anchors()[found], values[:, 2:4]
    points = values[:, 4:].reshape(-1, 6, 2) + anchors()[found][:, None]
    detections = np.concatenate([centres - sizes / 2, centres + sizes / 2, points.reshape(-1, 12)], axis=1)
    valid = (sizes >= 0).all(1)
    return scores[found][valid], detections[valid]


def weighted_suppression(
    scores: np.ndarray, detections: np.ndarray, threshold: float
) -> list[tuple[float, np.ndarray]]:
    """Return (score, detection) of every face: the mean, weighted by score, of the boxes that overlap with the best.

    Args:
        scores: (N,) in descending order.
        detections: (N, 16); see `decode`.
        threshold: intersection over union above which two boxes show the same face.
    """
    faces = []
    while len(scores):
        same = _iou(detections[0, :4], detections[:, :4]) > threshold
        if not same.any():  # a box without area overlaps with nothing, itself included; MediaPipe stops there
            faces.append((float(scores[0]), detections[0]))
            break
        faces.append((float(scores[0]), np.average(detections[same], axis=0, weights=scores[same])))
        scores, detections = scores[~same], detections[~same]
    return faces


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - shared
    return np.divide(shared, union, out=np.zeros(len(boxes)), where=union > 0)
