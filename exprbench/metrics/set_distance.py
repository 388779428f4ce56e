"""Fréchet distance between sets of videos, with a confidence interval and the distance between halves of the reference.

The interval is that of the bootstrap over videos to first order, the infinitesimal jackknife (Efron 1982): the
derivative of the distance with respect to each video's weight in closed form, which takes one eigendecomposition and
one product with the features. Frames and clips of a video stay together, and so do a prediction and its reference.
Resampling would need one distance per draw, and each draw, with about two thirds of the videos, would have the bias of
a smaller set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exprbench.core.arrays import pack_arrays, unpack_arrays
from exprbench.metrics.errors import MetricError
from exprbench.metrics.frechet import Gaussian, Root, frechet_distance, gaussian
from exprbench.metrics.moments import moments_from_parts

CONFIDENCE = 0.95
SMALL_ROOT = 1e-6  # singular values of the cross term below this share of the largest are ignored

Videos = Mapping[str, np.ndarray]  # case id -> (n, d) features of that video, float32


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Reference side of a distance, prepared once for all methods."""

    side: Gaussian
    num_videos: int
    bias_floor: float | None

    @property
    def num_samples(self) -> int:
        """Return the number of frames or clips."""
        return self.side.n


@dataclass(frozen=True, kw_only=True)
class SetDistance:
    """Distance between two sets of videos.

    Attributes:
        low, high: 95 % interval under resampling of videos; None for fewer than two videos.
        bias_floor: the distance between two halves of the reference; None for fewer than two videos.
        influence: case id -> derivative of the distance by that video's weight, centred; `distance_interval` of the
            differences between two methods' influences is the interval of the difference of their distances.
    """

    value: float
    low: float | None
    high: float | None
    num_videos: int
    num_samples: int
    num_reference_samples: int
    rank: int | None
    reference_rank: int | None
    dims: int
    bias_floor: float | None
    influence: dict[str, float]


def fit_gaussian(videos: Videos, *, biased: bool = False) -> Gaussian:
    """Return the Gaussian of videos, in the order of their ids; `biased` takes the covariance over n, not n - 1."""
    parts = [videos[key] for key in sorted(videos)]
    total = sum(map(len, parts))
    if not parts or total < 2:
        raise MetricError("too_few_samples", f"a covariance needs 2 samples or more, got {total}")
    side = gaussian(np.concatenate(parts) if total <= parts[0].shape[1] else moments_from_parts(parts))
    return side.scaled((total - 1) / total) if biased else side


def prepare(reference: Videos, *, biased: bool = False) -> Reference:
    """Return the reference side, with its root and its bias floor."""
    side = fit_gaussian(reference, biased=biased)
    ready = Gaussian(side.n, side.mean, given_root=side.root)
    return Reference(side=ready, num_videos=len(reference), bias_floor=bias_floor(reference, biased=biased))


def bias_floor(reference: Videos, *, biased: bool = False) -> float | None:
    """Return the distance between two halves of the reference: every other video, in the order of their ids.

    The bias is proportional to 1 / n, so this is an upper bound on the expected distance between the reference and an
    equally large set from the same distribution. None if a half has fewer than two samples.
    """
    keys = sorted(reference)
    halves = [[reference[key] for key in keys[start::2]] for start in (0, 1)]
    if any(sum(map(len, half)) < 2 for half in halves):
        return None
    even, odd = ({str(i): part for i, part in enumerate(half)} for half in halves)
    return frechet_distance(fit_gaussian(even, biased=biased), fit_gaussian(odd, biased=biased))


def set_distance(
    reference: Videos, predicted: Videos, prepared: Reference | None = None, *, biased: bool = False
) -> SetDistance:
    """Return the distance of predicted videos to the references, with its interval and ranks.

    Args:
        reference: features of every reference video, by case id.
        predicted: features of the predictions, by the same case ids; some can be missing.
        prepared: result of `prepare(reference)`, to save time.
        biased: covariances over n instead of n - 1.

    Raises:
        MetricError: `too_few_samples`, `features_not_finite`.
    """
    prepared = prepared or prepare(reference, biased=biased)
    side = fit_gaussian(predicted, biased=biased)
    value = frechet_distance(prepared.side, side)
    influence = video_influence(reference, prepared.side, predicted, side)
    low, high = distance_interval(value, list(influence.values()))
    return SetDistance(
        value=value,
        low=low,
        high=high,
        num_videos=len(predicted),
        num_samples=side.n,
        num_reference_samples=prepared.num_samples,
        rank=side.rank,
        reference_rank=prepared.side.rank,
        dims=side.dims,
        bias_floor=prepared.bias_floor,
        influence=influence,
    )


def distance_interval(value: float, influence: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a distance from its videos' influences, by Student's t, with bounds of at least 0."""
    half = half_width(influence)
    return (None, None) if half is None else (max(0.0, value - half), value + half)


def half_width(influence: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval, None for fewer than two videos."""
    from scipy.special import stdtrit

    num = len(influence)
    if num < 2:
        return None
    deviations = np.asarray(influence) - np.mean(influence)
    error = np.sqrt(num / (num - 1) * float(deviations @ deviations))
    return float(stdtrit(num - 1, (1 + CONFIDENCE) / 2)) * float(error)


def video_influence(reference: Videos, a: Gaussian, predicted: Videos, b: Gaussian) -> dict[str, float]:
    """Return the derivative of the distance by each video's weight, of prediction and reference together, centred."""
    to_a, to_b, cross = _transport(a, b)
    difference = a.mean - b.mean
    derivatives = dict.fromkeys(sorted({*reference, *predicted}), 0.0)
    for videos, side, sign, factor in ((reference, a, 1.0, to_b), (predicted, b, -1.0, to_a)):
        for key in sorted(videos):
            rows = videos[key].astype(np.float64) - side.mean
            derivatives[key] += _derivative(rows, side, sign * difference, factor, cross)
    mean = sum(derivatives.values()) / len(derivatives)
    return {key: value - mean for key, value in derivatives.items()}


def _derivative(rows: np.ndarray, side: Gaussian, difference: np.ndarray, factor: np.ndarray, cross: float) -> float:
    """Return the derivative by the weight of one video on one side, whose centred features are `rows`.

    By the mean it is 2 (m - m') . dm; by the covariance tr (1 - T) dS, with T the optimal transport to the other side.
    """
    by_mean = 2 * float(difference @ rows.sum(0)) / side.n
    kept = np.linalg.norm(rows) ** 2 - np.linalg.norm(rows @ factor) ** 2
    return by_mean + float(kept - len(rows) * (side.trace - cross)) / (side.n - 1)


def _transport(a: Gaussian, b: Gaussian) -> tuple[np.ndarray, np.ndarray, float]:
    """Return F, G and tr (S_a S_b)^(1/2), such that F F^T transports b to a and G G^T transports a to b.

    With R_a^T R_b = U W V^T they are R_a U W^(-1/2) and R_b V W^(-1/2).
    """
    root = a.root.matrix
    values, u = np.linalg.eigh(root.T @ _covariance_times(b, root))
    widths = np.sqrt(np.maximum(values, 0))
    keep = widths > SMALL_ROOT * widths[-1]
    widths, to_a = widths[keep], root @ u[:, keep]
    return to_a / np.sqrt(widths), _covariance_times(b, to_a) / widths**1.5, float(widths.sum())


def _covariance_times(side: Gaussian, matrix: np.ndarray) -> np.ndarray:
    if side.covariance is not None:
        return side.covariance @ matrix
    return side.root.matrix @ (side.root.matrix.T @ matrix)


def pack_reference(reference: Reference) -> bytes:
    """Return a prepared reference as the bytes of a `.npz`."""
    root, floor = reference.side.root, reference.bias_floor
    arrays = {
        "n": reference.side.n,
        "mean": reference.side.mean,
        "root": root.matrix,
        "lower": root.lower,
        "num_videos": reference.num_videos,
        "bias_floor": np.nan if floor is None else floor,
    }
    return pack_arrays(arrays)


def unpack_reference(data: bytes) -> Reference:
    """Return the reference in the bytes of `pack_reference`."""
    arrays = unpack_arrays(data)
    side = Gaussian(int(arrays["n"]), arrays["mean"], given_root=Root(arrays["root"], bool(arrays["lower"])))
    floor = float(arrays["bias_floor"])
    return Reference(side=side, num_videos=int(arrays["num_videos"]), bias_floor=None if np.isnan(floor) else floor)
