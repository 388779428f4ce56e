"""The Frechet distance between two sets of features, seen as Gaussians:

    d^2 = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)        (Dowson and Landau 1982)

The last term needs no matrix root. With S = R R^T on both sides it is the sum of the singular values of R_a^T R_b. With
no more samples than dimensions R is the centred samples themselves, the matrix is small and the result exact;
otherwise R_a is a Cholesky factor, and the sum is that of the roots of the eigenvalues of R_a^T S_b R_a, which are
cheaper to get. Everything is float64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from exprbench.metrics.errors import MetricError
from exprbench.metrics.moments import Moments, moments

TOLERANCE = 1e-10  # of tr S_a + tr S_b: a distance this little below zero is zero
NOISE = 1e-12  # an eigenvalue this small beside the largest may be rounding error
PIVOT = 1e-7  # smallest pivot of a Cholesky factor over its largest; below, the matrix counts as singular
EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Root:
    """A matrix (d, r) with covariance = matrix matrix^T; `lower` where it is a Cholesky factor."""

    matrix: np.ndarray
    lower: bool = False


@dataclass(frozen=True)
class Gaussian:
    """One side of the distance: n samples of d dimensions, their mean (d,), and their covariance or a root of it.

    Built by `gaussian`. One that has its root can be compared with many others at little cost.
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
        """Dimensions of the features."""
        return len(self.mean)

    @cached_property
    def trace(self) -> float:
        """Of the covariance."""
        if self.covariance is not None:
            return float(np.trace(self.covariance))
        return float(np.linalg.norm(self.given_root.matrix) ** 2)  # type: ignore[union-attr]

    @cached_property
    def root(self) -> Root:
        """A root of the covariance."""
        return self.given_root or _root(self.covariance, min(self.n - 1, self.dims))

    @property
    def has_root(self) -> bool:
        """Is a root there already?"""
        return self.given_root is not None or "root" in vars(self)

    def scaled(self, factor: float) -> "Gaussian":
        """The same with its covariance times `factor`."""
        if self.covariance is not None:
            return Gaussian(self.n, self.mean, covariance=self.covariance * factor)
        root = Root(self.root.matrix * np.sqrt(factor), self.root.lower)
        return Gaussian(self.n, self.mean, given_root=root)

    @cached_property
    def rank(self) -> int:
        """Numerical rank of the covariance."""
        matrix = self.root.matrix
        if self.root.lower:
            return self.dims
        values = np.linalg.eigvalsh(matrix.T @ matrix)
        return int((values > max(0.0, values[-1]) * len(values) * EPSILON).sum())


def gaussian(source: np.ndarray | Moments) -> Gaussian:
    """From (n, d) features, or from their moments.

    Features are better where n <= d: no d x d matrix is made, and nothing is lost to rounding.

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
    """Squared Frechet distance; each side may be (n, d) features, their moments, or what `gaussian` makes of them.

    Raises:
        MetricError: as `gaussian`.
    """
    a, b = (side if isinstance(side, Gaussian) else gaussian(side) for side in (a, b))
    if a.dims != b.dims:
        raise ValueError(f"features of {a.dims} and of {b.dims} dimensions")
    apart = a.mean - b.mean
    traces = a.trace + b.trace
    return _not_negative(float(apart @ apart) + traces - 2 * cross_term(a, b), traces)


def _not_negative(value: float, scale: float) -> float:
    """Rounding may leave a zero distance just below zero; anything further below is a mistake."""
    if value < -TOLERANCE * scale:
        raise ArithmeticError(f"a Frechet distance of {value}, where tr S_a + tr S_b is {scale}")
    return max(0.0, value)


def cross_term(a: Gaussian, b: Gaussian) -> float:
    """tr (S_a S_b)^(1/2)."""
    a, b = (b, a) if b.has_root and not a.has_root else (a, b)
    if a.root.lower and (b.covariance is not None or b.root.lower):
        values = np.linalg.eigvalsh(_congruent(a.root.matrix, b))
        # roots of what should be zero and is rounding error would add up; regular matrices have no such values
        if values[0] > NOISE * values[-1] or b.root.lower:
            return float(np.sqrt(np.maximum(values, 0)).sum())
    return float(np.linalg.svd(a.root.matrix.T @ b.root.matrix, compute_uv=False).sum())


def _congruent(lower: np.ndarray, other: Gaussian) -> np.ndarray:
    """L^T S L for a Cholesky factor L and the other side's covariance S; only the lower triangle is filled."""
    from scipy.linalg.lapack import dsygst

    covariance = other.covariance if other.covariance is not None else other.root.matrix @ other.root.matrix.T
    product, _ = dsygst(covariance.T, np.asfortranarray(lower), itype=2, lower=1)
    return product


def _root(covariance: np.ndarray, max_rank: int) -> Root:
    """A Cholesky factor where the covariance is regular, else its eigenvectors times the roots of the eigenvalues."""
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
