"""Mean and scatter of feature vectors in float64, which can be merged from parts in any grouping."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from exprbench.metrics.errors import MetricError

MAX_ROWS = 2048  # converted to float64 at a time


@dataclass(frozen=True)
class Moments:
    """Moments of n vectors of d numbers: `mean` (d,) and `scatter` (d, d), the sum of (x - mean)(x - mean)^T."""

    n: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Return the covariance (d, d), over n - 1."""
        return self.scatter / (self.n - 1)


def moments(features: np.ndarray) -> Moments:
    """Return the moments of (n, d) features."""
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"features of shape {features.shape}, expected (n, d)")
    parts = (features[i : i + MAX_ROWS] for i in range(0, len(features), MAX_ROWS))
    return merge(_row_moments(part.astype(np.float64)) for part in parts)


def moments_from_parts(parts: Iterable[np.ndarray]) -> Moments:
    """Return the moments of features in parts (n_i, d); small parts are concatenated."""
    return merge(_row_moments(block) for block in _blocks(parts))


def _blocks(parts: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    pending: list[np.ndarray] = []
    for part in parts:
        pending.append(part)
        if sum(map(len, pending)) >= MAX_ROWS:
            yield np.concatenate(pending).astype(np.float64)
            pending = []
    if pending:
        yield np.concatenate(pending).astype(np.float64)


def _row_moments(rows: np.ndarray) -> Moments:
    if not len(rows):
        return Moments(0, np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2))
    mean = rows.mean(0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def merge(parts: Iterable[Moments]) -> Moments:
    """Return the moments of the union of parts (Chan, Golub and LeVeque 1979).

    Raises:
        MetricError: `too_few_samples`, if there are no parts.
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
    difference = b.mean - a.mean
    scatter = a.scatter + b.scatter
    scatter += np.outer(difference, difference * (a.n * b.n / n))
    return Moments(n, a.mean + difference * (b.n / n), scatter)
