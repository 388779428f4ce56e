"""How well a face follows its driver over time: correlation of the motions, and the constant shift that fits best."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from exprbench.metrics.aed import aed
from exprbench.metrics.apd import apd
from exprbench.metrics.face_pair import FacePair, Sides, mean_seen
from exprbench.metrics.lmd import lmd
from exprbench.metrics.mae import mae
from exprbench.metrics.neutral import aed_rel, apd_rel, relative_heads

MAX_LAG = 12  # frames in either direction: half a second at 25 frames per second
MIN_FRAMES = 3  # of an overlap; with two, every correlation is 1 or -1


def follow_expression(pair: FacePair) -> float:
    """Return the correlation over time, in [-1, 1], of all expression coefficients; see `correlation`."""
    return correlation(*(side[pair.seen] for side in pair.expressions))


def follow_pose(pair: FacePair) -> float:
    """Return the correlation over time, in [-1, 1], of the head rotations from each side's neutral."""
    return correlation(*(side[pair.seen] for side in relative_heads(pair)))


def correlation(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Return the correlation of two motions (T, K): that of all K centred coefficients as one long vector.

    A coefficient counts as much as it moves. A prediction that does not move scores 0. If the reference does not move,
    or there are fewer than three frames, there is nothing to follow: NaN.
    """
    if len(reference) < MIN_FRAMES:
        return float("nan")
    a, b = (np.asarray(side, np.float64) - np.mean(side, axis=0, dtype=np.float64) for side in (reference, predicted))
    size_a, size_b = np.linalg.norm(a), np.linalg.norm(b)
    if size_a == 0:
        return float("nan")
    return float(np.clip((a * b).sum() / (size_a * size_b), -1, 1)) if size_b else 0.0


@lru_cache(maxsize=1)  # all columns at the lag of a face need it
def best_lag(pair: FacePair) -> int | None:
    """Return the shift in frames at which the prediction follows best, positive if it is late.

    The best shift has the largest sum of the correlations of expression and head; of equal ones the smallest counts.
    None if nothing moves, or the prediction follows at no shift.
    """
    motions = pair.expressions, relative_heads(pair)
    longest = min(MAX_LAG, len(pair.seen) - MIN_FRAMES)
    shifts = sorted(range(-longest, longest + 1), key=lambda shift: (abs(shift), shift))
    scores = {shift: _agreement(pair, motions, shift) for shift in shifts}
    known = {shift: score for shift, score in scores.items() if score > 0}
    return max(known, key=known.__getitem__) if known else None


def _agreement(pair: FacePair, motions: Sequence[Sides], shift: int) -> float:
    """Return the sum of the correlations of the motions at a shift; a motion without a correlation adds nothing."""
    in_reference, in_prediction = _overlap(len(pair.seen), shift)
    seen = pair.reference.seen[in_reference] & pair.predicted.seen[in_prediction]
    scores = [correlation(a[in_reference][seen], b[in_prediction][seen]) for a, b in motions]
    return float(np.nansum(scores))


def _overlap(num_frames: int, shift: int) -> tuple[slice, slice]:
    """Return the frames t of the reference and t + `shift` of the prediction that both videos have."""
    length = num_frames - abs(shift)
    first, second = max(0, -shift), max(0, shift)
    return slice(first, first + length), slice(second, second + length)


def lag(pair: FacePair) -> float:
    """Return the size of `best_lag` in frames, NaN if there is none."""
    shift = best_lag(pair)
    return float("nan") if shift is None else float(abs(shift))


def shifted(pair: FacePair, shift: int) -> FacePair:
    """Return the pair of frame t of the reference and t + `shift` of the prediction, over the frames both have."""
    frames = _overlap(len(pair.seen), shift)
    readings = tuple(
        {name: values[part] for name, values in side.items()} for side, part in zip(pair.readings, frames, strict=True)
    )
    reference, predicted = pair.reference.cut(frames[0]), pair.predicted.cut(frames[1])
    return replace(pair, reference=reference, predicted=predicted, readings=readings)


def at_lag(pair: FacePair, error: Callable[[FacePair], np.ndarray]) -> float:
    """Return the mean over frames of a face metric at the shift of `best_lag`, NaN if there is none."""
    shift = best_lag(pair)
    if shift is None:
        return float("nan")
    moved = shifted(pair, shift)
    return mean_seen(np.where(moved.seen, error(moved), np.nan))


lmd_at_lag = partial(at_lag, error=lmd)
mae_at_lag = partial(at_lag, error=mae)
aed_at_lag = partial(at_lag, error=aed)
apd_at_lag = partial(at_lag, error=apd)
aed_rel_at_lag = partial(at_lag, error=aed_rel)
apd_rel_at_lag = partial(at_lag, error=apd_rel)
