"""KID (Binkowski et al. 2018): squared maximum mean discrepancy between Inception features, with a cubic kernel.

k(x, y) = (x . y / d + 1)^3. The estimate is unbiased, so it is about 0 for two samples of one distribution at any
number of frames, and it can be negative. All pairs of frames count; nothing is drawn at random.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from exprbench.metrics.errors import MetricError
from exprbench.metrics.set_distance import Reference, SetDistance, Videos, half_width

DEGREE, OFFSET = 3, 1.0
BLOCK = 2048  # rows of a kernel matrix that are in memory at once


@dataclass(frozen=True)
class _Side:
    """Features (n, d) of all videos, and the number of the video of each row."""

    rows: np.ndarray
    video: np.ndarray


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the kernel (n, m) of features (n, d) and (m, d)."""
    return (a @ b.T / a.shape[1] + OFFSET) ** DEGREE


def kid(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Return the unbiased KID of features (n, d) and (m, d).

    Raises:
        MetricError: `too_few_samples` for fewer than two on a side, `features_not_finite`.
    """
    return kid_distance({"": reference}, {"": predicted}).value


def kid_distance(
    reference: Videos, predicted: Videos, prepared: Reference | None = None, *, biased: bool = False
) -> SetDistance:
    """Return the KID of predicted videos to the references, with its 95 % interval under resampling of videos.

    Args:
        reference, predicted: case id -> (n, d) features.
        prepared, biased: not used; every set column is called alike.

    Raises:
        MetricError: as for `kid`.
    """
    del prepared, biased
    keys = sorted({*reference, *predicted})
    x, y = (_side(videos, keys) for videos in (reference, predicted))
    n, m = len(x.rows), len(y.rows)
    to_own = [(_row_sums(side, side) - _diagonal(side)) / (len(side.rows) - 1) for side in (x, y)]
    to_other = _row_sums(x, y) / m, _row_sums(y, x) / n
    value = to_own[0].mean() + to_own[1].mean() - 2 * to_other[0].mean()
    witnesses = [own - other for own, other in zip(to_own, to_other, strict=True)]
    influence = sum(_influence(side, values, len(keys)) for side, values in zip((x, y), witnesses, strict=True))
    influence -= influence.mean()
    half = half_width(list(influence))
    return SetDistance(
        value=float(value),
        low=None if half is None else float(value) - half,
        high=None if half is None else float(value) + half,
        num_videos=len(predicted),
        num_samples=m,
        num_reference_samples=n,
        rank=None,
        reference_rank=None,
        dims=x.rows.shape[1],
        bias_floor=None,
        influence=dict(zip(keys, influence.tolist(), strict=True)),
    )


def _side(videos: Videos, keys: list[str]) -> _Side:
    parts = [(i, videos[key]) for i, key in enumerate(keys) if key in videos]
    total = sum(len(part) for _, part in parts)
    if total < 2:
        raise MetricError("too_few_samples", f"an unbiased estimate needs 2 samples or more, got {total}")
    rows = np.concatenate([part for _, part in parts]).astype(np.float64)
    if not np.isfinite(rows).all():
        raise MetricError("features_not_finite", "the features hold NaN or infinity")
    return _Side(rows, np.concatenate([np.full(len(part), i) for i, part in parts]))


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield from (rows[first : first + BLOCK] for first in range(0, len(rows), BLOCK))


def _row_sums(a: _Side, b: _Side) -> np.ndarray:
    """Return the sums (n,) of the kernel of each row of `a` with all rows of `b`."""
    return np.concatenate([kernel(block, b.rows).sum(1) for block in _blocks(a.rows)])


def _diagonal(side: _Side) -> np.ndarray:
    return ((side.rows**2).mean(1) + OFFSET) ** DEGREE


def _influence(side: _Side, witness: np.ndarray, num_videos: int) -> np.ndarray:
    """Return the derivative of the distance by the weight of each video, from its witness function on its rows."""
    centred = witness - witness.mean()
    return 2 * np.bincount(side.video, weights=centred, minlength=num_videos) / len(side.rows)
