"""Whether every face follows its own driver more than the driver of a neighbour, with two or more driven people."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from exprbench.faces import FaceTrack
from exprbench.metrics.face_pair import FacePair, Readings, Size, mean_seen
from exprbench.metrics.neutral import aed_rel, apd_rel


def swap(pairs: Sequence[FacePair]) -> float:
    """Return the share of frames, over all faces, in which a face is nearer to another driver than to its own.

    0 if all follow their own, 1 if they are swapped, and about 0.5 for two people who follow neither. NaN for fewer
    than two people, and for drivers that move alike.
    """
    own, other = _distances(pairs)
    return float(np.mean(other < own)) if len(own) else float("nan")


def swap_margin(pairs: Sequence[FacePair]) -> float:
    """Return the mean of (other - own) / (other + own) distance, in [-1, 1]; 1 if all follow exactly their own."""
    own, other = _distances(pairs)
    total = own + other
    margins = np.divide(other - own, total, out=np.zeros_like(total), where=total > 0)
    return float(np.mean(margins)) if len(own) else float("nan")


def _distances(pairs: Sequence[FacePair]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances (n,) of each seen frame of each face to its own driver and to the nearest other driver.

    Expression and head count equally: each distance is divided by its mean between the drivers themselves.
    """
    between = [_crossed(a, b.reference, b.reference_size, b.readings[0]) for a, b in permutations(pairs, 2)]
    scales = [_mean_of_means(error, between) for error in (aed_rel, apd_rel)]
    if not all(scale > 0 for scale in scales):
        return np.zeros(0), np.zeros(0)
    own, other = [], []
    for face in pairs:
        crossed = [_crossed(driver, face.predicted, face.predicted_size, face.readings[1]) for driver in pairs]
        num_frames = min(len(pair.seen) for pair in crossed)
        distances = np.stack([_per_frame(pair, scales)[:num_frames] for pair in crossed])
        is_own = np.array([driver is face for driver in pairs])
        known = np.isfinite(distances).all(0)
        own.append(distances[is_own][0, known])
        other.append(distances[~is_own][:, known].min(0))
    return np.concatenate(own), np.concatenate(other)


def _crossed(driver: FacePair, predicted: FaceTrack, size: Size, readings: Readings) -> FacePair:
    """Return the reference of `driver` with another predicted face, over the frames both have."""
    num_frames = min(len(driver.seen), len(predicted.seen))
    sides = [{name: v[:num_frames] for name, v in side.items()} for side in (driver.readings[0], readings)]
    return replace(
        driver,
        reference=driver.reference.first(num_frames),
        predicted=predicted.first(num_frames),
        predicted_size=size,
        readings=(sides[0], sides[1]),
    )


def _mean_of_means(error: Callable[[FacePair], np.ndarray], pairs: Sequence[FacePair]) -> float:
    means = np.array([mean_seen(np.where(pair.seen, error(pair), np.nan)) for pair in pairs])
    return mean_seen(means)


def _per_frame(pair: FacePair, scales: Sequence[float]) -> np.ndarray:
    return np.where(pair.seen, aed_rel(pair) / scales[0] + apd_rel(pair) / scales[1], np.nan)
