"""Mean and scatter of feature vectors, in float64, that merge: parts in any grouping give those of the whole."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from exprbench.metrics.errors import MetricError

ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class Moments:
    """Of n vectors of d numbers: `mean` (d,) and `scatter` (d, d), the sum of (x - mean)(x - mean)^T."""

    n: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """(d, d), over n - 1."""
        return self.scatter / (self.n - 1)


def moments(features: np.ndarray) -> Moments:
    """Of (n, d) features."""
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"features of shape {features.shape}, expected (n, d)")
    parts = (features[i : i + ROWS_AT_ONCE] for i in range(0, len(features), ROWS_AT_ONCE))
    return merge(_of_rows(part.astype(np.float64)) for part in parts)


def moments_of_parts(parts: Iterable[np.ndarray]) -> Moments:
    """Of features that come in pieces (n_i, d), small pieces taken together."""
    return merge(_of_rows(block) for block in _blocks(parts))


def _blocks(parts: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    waiting: list[np.ndarray] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= ROWS_AT_ONCE:
            yield np.concatenate(waiting).astype(np.float64)
            waiting = []
    if waiting:
        yield np.concatenate(waiting).astype(np.float64)


def _of_rows(rows: np.ndarray) -> Moments:
    if not len(rows):
        return Moments(0, np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2))
    mean = rows.mean(0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def merge(parts: Iterable[Moments]) -> Moments:
    """Moments of the union (Chan, Golub and LeVeque 1979).

    Raises:
        MetricError: `too_few_samples`, where there is nothing to merge.
    """
    merged: Moments | None = None
    for part in parts:
        merged = part if merged is None else _pair(merged, part)
    if merged is None:
        raise MetricError("too_few_samples", "no features at all")
    return merged


def _pair(a: Moments, b: Moments) -> Moments:
    n = a.n + b.n
    if not (a.n and b.n):
        return a if a.n else b
    apart = b.mean - a.mean
    scatter = a.scatter + b.scatter
    scatter += np.outer(apart, apart * (a.n * b.n / n))
    return Moments(n, a.mean + apart * (b.n / n), scatter)
