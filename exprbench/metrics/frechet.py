"""The Fréchet distance between two sets of features, each modelled as a Gaussian:

    d^2 = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)        (Dowson and Landau 1982)

The last term needs no matrix square root: with S = R R^T on both sides it is the sum of the singular values of
R_a^T R_b. With n <= d samples, R consists of the centred samples, so the matrix is small and the result exact.
Otherwise R_a is a Cholesky factor, and the term is the sum of the square roots of the eigenvalues of R_a^T S_b R_a,
which takes less time. All arithmetic is float64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from exprbench.metrics.errors import MetricError
from exprbench.metrics.moments import Moments, moments

TOLERANCE = 1e-10  # relative to tr S_a + tr S_b: a negative distance up to this size is rounded to zero
NOISE = 1e-12  # relative to the largest eigenvalue: a smaller one can be a rounding error
PIVOT = 1e-7  # smallest pivot of a Cholesky factor over its largest; below, the matrix is treated as singular
EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Root:
    """Square root of a covariance: `matrix` (d, r) with covariance = matrix matrix^T; `lower` if a Cholesky factor."""

    matrix: np.ndarray
    lower: bool = False


@dataclass(frozen=True)
class Gaussian:
    """One side of the distance: n samples of d dimensions, their mean (d,), and their covariance or a root of it.

    Built by `gaussian`. If the root is known, further distances to this side take less time.
    """

    n: int
    mean: np.ndarray
    covariance: np.ndarray | None = None
    given_root: Root | None = None

    def __post_init__(self) -> None:
        if self.n < 2:
            raise MetricError("too_few_samples", f"a covariance needs 2 samples or more, got {self.n}")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.trace)):
            raise MetricError("features_not_finite", "the features hold NaN or infinity, or overflow when squared")

    @property
    def dims(self) -> int:
        """Return the number of dimensions of the features."""
        return len(self.mean)

    @cached_property
    def trace(self) -> float:
        """Return the trace of the covariance."""
        if self.covariance is not None:
            return float(np.trace(self.covariance))
        return float(np.linalg.norm(self.given_root.matrix) ** 2)  # type: ignore[union-attr]

    @cached_property
    def root(self) -> Root:
        """Return a square root of the covariance."""
        return self.given_root or _root(self.covariance, min(self.n - 1, self.dims))

    @property
    def has_root(self) -> bool:
        """Return whether the root is known already."""
        return self.given_root is not None or "root" in vars(self)

    def scaled(self, factor: float) -> "Gaussian":
        """Return the Gaussian with its covariance multiplied by `factor`."""
        if self.covariance is not None:
            return Gaussian(self.n, self.mean, covariance=self.covariance * factor)
        root = Root(self.root.matrix * np.sqrt(factor), self.root.lower)
        return Gaussian(self.n, self.mean, given_root=root)

    @cached_property
    def rank(self) -> int:
        """Return the numerical rank of the covariance."""
        matrix = self.root.matrix
        if self.root.lower:
            return self.dims
        values = np.linalg.eigvalsh(matrix.T @ matrix)
        return int((values > max(0.0, values[-1]) * len(values) * EPSILON).sum())


def gaussian(source: np.ndarray | Moments) -> Gaussian:
    """Return the Gaussian of (n, d) features, or of their moments.

    For n <= d, features are better: no (d, d) matrix is computed, and the result is exact up to rounding.

    Raises:
        MetricError: `too_few_samples` for n < 2, `features_not_finite`.
    """
    if isinstance(source, Moments):
        return Gaussian(source.n, source.mean, covariance=source.scatter / max(1, source.n - 1))
    n, d = source.shape
    if n > d:
        return gaussian(moments(source))
    rows = source.astype(np.float64)
    mean = rows.sum(0) / max(1, n)
    rows -= mean
    rows /= np.sqrt(max(1, n - 1))
    return Gaussian(n, mean, given_root=Root(rows.T))


Side = Gaussian | Moments | np.ndarray


def frechet_distance(a: Side, b: Side) -> float:
    """Return the squared Fréchet distance between two sets of features.

    Args:
        a, b: (n, d) features, their `Moments`, or the result of `gaussian`.

    Raises:
        MetricError: as for `gaussian`.
        ValueError: the sides have different dimensions.
    """
    a, b = (side if isinstance(side, Gaussian) else gaussian(side) for side in (a, b))
    if a.dims != b.dims:
        raise ValueError(f"features of {a.dims} and {b.dims} dimensions; expected the same number")
    difference = a.mean - b.mean
    traces = a.trace + b.trace
    return _clip_rounding(float(difference @ difference) + traces - 2 * cross_term(a, b), traces)


def _clip_rounding(value: float, scale: float) -> float:
    """Return a distance, 0 for a negative value within rounding errors; raise `ArithmeticError` for others."""
    if value < -TOLERANCE * scale:
        raise ArithmeticError(f"a Fréchet distance of {value}, with tr S_a + tr S_b = {scale}")
    return max(0.0, value)


def cross_term(a: Gaussian, b: Gaussian) -> float:
    """Return tr (S_a S_b)^(1/2)."""
    a, b = (b, a) if b.has_root and not a.has_root else (a, b)
    if a.root.lower and (b.covariance is not None or b.root.lower):
        values = np.linalg.eigvalsh(_congruent(a.root.matrix, b))
        # the roots of eigenvalues that are rounding errors would add up; regular matrices have none
        if values[0] > NOISE * values[-1] or b.root.lower:
            return float(np.sqrt(np.maximum(values, 0)).sum())
    return float(np.linalg.svd(a.root.matrix.T @ b.root.matrix, compute_uv=False).sum())


def _congruent(lower: np.ndarray, other: Gaussian) -> np.ndarray:
    """Return L^T S L for a Cholesky factor L and the other side's covariance S, in the lower triangle."""
    from scipy.linalg.lapack import dsygst

    covariance = other.covariance if other.covariance is not None else other.root.matrix @ other.root.matrix.T
    product, _ = dsygst(covariance.T, np.asfortranarray(lower), itype=2, lower=1)
    return product


def _root(covariance: np.ndarray, max_rank: int) -> Root:
    """Return a Cholesky factor of a regular covariance, otherwise eigenvectors times the roots of the eigenvalues."""
    if max_rank == len(covariance):
        try:
            lower = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            pass
        else:
            pivots = np.diagonal(lower)
            if pivots.min() > PIVOT * pivots.max():
                return Root(np.asfortranarray(lower), lower=True)
    values, vectors = np.linalg.eigh(covariance)
    keep = values > values[-1] * len(values) * EPSILON
    keep[: len(values) - max_rank] = False
    return Root(vectors[:, keep] * np.sqrt(values[keep]))
