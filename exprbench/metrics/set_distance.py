"""How far a Frechet distance is to be trusted: what it would be for other videos, and what it is for no difference.

The interval is that of the bootstrap over videos in its first-order form, the infinitesimal jackknife (Efron 1982): the
derivative of the distance with respect to each video's weight, in closed form, for the price of one eigendecomposition
and one product with the features. Frames and clips of a video stay together, and a prediction stays with its
reference. Resampling itself would cost a distance a draw, and each draw, holding two thirds of the videos, would carry
the bias of a smaller set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exprbench.core.arrays import pack_arrays, unpack_arrays
from exprbench.metrics.errors import MetricError
from exprbench.metrics.frechet import Gaussian, Root, frechet_distance, gaussian
from exprbench.metrics.moments import moments_of_parts

CONFIDENCE = 0.95
SMALL_ROOT = 1e-6  # singular values of the cross term below this share of the largest carry no weight

Videos = Mapping[str, np.ndarray]  # case id -> (n, d) features of that video, float32


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference side of a distance, prepared once for all methods."""

    side: Gaussian
    num_videos: int
    bias_floor: float | None

    @property
    def num_samples(self) -> int:
        """Frames or clips."""
        return self.side.n


@dataclass(frozen=True, kw_only=True)
class SetDistance:
    """A distance between two sets of videos.

    Attributes:
        low, high: 95 % interval under resampling of videos; None for fewer than two videos.
        bias_floor: the distance between two halves of the reference; None for fewer than two videos.
        influence: case id -> what the distance gains with that video's weight, centred; the difference of two methods'
            influences gives the interval of the difference of their distances (`interval_of`).
    """

    value: float
    low: float | None
    high: float | None
    num_videos: int
    num_samples: int
    num_reference_samples: int
    rank: int
    reference_rank: int
    dims: int
    bias_floor: float | None
    influence: dict[str, float]


def side_of(videos: Videos, *, biased: bool = False) -> Gaussian:
    """One side of the distance, from its videos in the order of their ids; `biased` takes the covariance over n."""
    parts = [videos[key] for key in sorted(videos)]
    total = sum(map(len, parts))
    if not parts or total < 2:
        raise MetricError("too_few_samples", f"a covariance needs 2 samples or more, got {total}")
    side = gaussian(np.concatenate(parts) if total <= parts[0].shape[1] else moments_of_parts(parts))
    return side.scaled((total - 1) / total) if biased else side


def prepare(reference: Videos, *, biased: bool = False) -> Reference:
    """The reference side, with its root and its bias floor."""
    side = side_of(reference, biased=biased)
    ready = Gaussian(side.n, side.mean, given_root=side.root)
    return Reference(side=ready, num_videos=len(reference), bias_floor=bias_floor(reference, biased=biased))


def bias_floor(reference: Videos, *, biased: bool = False) -> float | None:
    """Distance between every other video of the reference, in the order of their ids, and the rest.

    A set of half the size is further from its like than the whole is (bias goes as 1 / n), so this is an upper bound
    on what the whole would score against an equally large set of the same kind.
    """
    keys = sorted(reference)
    halves = [[reference[key] for key in keys[start::2]] for start in (0, 1)]
    if any(sum(map(len, half)) < 2 for half in halves):
        return None
    even, odd = ({str(i): part for i, part in enumerate(half)} for half in halves)
    return frechet_distance(side_of(even, biased=biased), side_of(odd, biased=biased))


def set_distance(
    reference: Videos, predicted: Videos, prepared: Reference | None = None, *, biased: bool = False
) -> SetDistance:
    """The distance of predicted videos to the references, with all that goes with it.

    Args:
        reference: features of every reference video; `prepared`, if given, is `prepare` of it.
        predicted: features of the predictions, under the same case ids; some may be missing.
        biased: covariances over n, as the grid of clips may ask.

    Raises:
        MetricError: `too_few_samples`, `features_not_finite`.
    """
    prepared = prepared or prepare(reference, biased=biased)
    side = side_of(predicted, biased=biased)
    value = frechet_distance(prepared.side, side)
    influence = video_influence(reference, prepared.side, predicted, side)
    low, high = interval_of(value, list(influence.values()))
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


def interval_of(value: float, influence: Sequence[float]) -> tuple[float | None, float | None]:
    """95 % interval around a distance from its videos' influences, cut at zero; Student's t."""
    half = half_width(influence)
    return (None, None) if half is None else (max(0.0, value - half), value + half)


def half_width(influence: Sequence[float]) -> float | None:
    """Half the width of the 95 % interval; None for fewer than two videos."""
    from scipy.stats import t

    num = len(influence)
    if num < 2:
        return None
    deviations = np.asarray(influence) - np.mean(influence)
    error = np.sqrt(num / (num - 1) * float(deviations @ deviations))
    return float(t.ppf((1 + CONFIDENCE) / 2, num - 1)) * float(error)


def video_influence(reference: Videos, a: Gaussian, predicted: Videos, b: Gaussian) -> dict[str, float]:
    """Derivative of the distance by each video's weight, prediction and reference together, centred."""
    to_a, to_b, cross = _transport(a, b)
    apart = a.mean - b.mean
    gains = dict.fromkeys(sorted({*reference, *predicted}), 0.0)
    for videos, side, sign, factor in ((reference, a, 1.0, to_b), (predicted, b, -1.0, to_a)):
        for key in sorted(videos):
            gains[key] += _gain(videos[key].astype(np.float64) - side.mean, side, sign * apart, factor, cross)
    mean = sum(gains.values()) / len(gains)
    return {key: gain - mean for key, gain in gains.items()}


def _gain(rows: np.ndarray, side: Gaussian, apart: np.ndarray, factor: np.ndarray, cross: float) -> float:
    """Derivative by the weight of one video, whose features less the mean are `rows`, on one side.

    By the mean it is 2 (m - m') . dm; by the covariance tr (1 - T) dS, with T the optimal transport to the other side.
    """
    by_mean = 2 * float(apart @ rows.sum(0)) / side.n
    kept = np.linalg.norm(rows) ** 2 - np.linalg.norm(rows @ factor) ** 2
    return by_mean + float(kept - len(rows) * (side.trace - cross)) / (side.n - 1)


def _transport(a: Gaussian, b: Gaussian) -> tuple[np.ndarray, np.ndarray, float]:
    """Matrices F, G and tr (S_a S_b)^(1/2), such that F F^T transports b to a and G G^T transports a to b.

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
    """A prepared reference as the bytes of a `.npz`."""
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
    """What `pack_reference` was given."""
    arrays = unpack_arrays(data)
    side = Gaussian(int(arrays["n"]), arrays["mean"], given_root=Root(arrays["root"], bool(arrays["lower"])))
    floor = float(arrays["bias_floor"])
    return Reference(side=side, num_videos=int(arrays["num_videos"]), bias_floor=None if np.isnan(floor) else floor)
