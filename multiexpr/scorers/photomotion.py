"""Photomotion scorer: an aesthetic score from 0 to 10 that needs no weights.

As in Yeh et al. (2013), which the paper cites, it combines photographic features of single frames with features of
motion and depends on their order in time. The published score is learned from rated videos and was not released; this
one has fixed formulas. Every feature is a utility in [0.05, 1]; `docs/curation.md` lists the formulas.
"""

from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from multiexpr.recipe import KeepDamage, ScoreAesthetics
from multiexpr.scorers.base import Frames, Row, evenly_spaced, rounded
from multiexpr.scorers.edges import sharpest_side
from multiexpr.scorers.frame_damage import (
    are_of_kernel,
    blockiness,
    clipped_share,
    combing,
    content_box,
    crop,
    enlargement,
    halos,
    isolated_edges,
    median_picture,
    noise_sd,
)
from multiexpr.scorers.sharpness import resize_short_side

VERSION = "photomotion-5"
FLOOR = 0.05
SHORT_SIDE, FLOW_SIDE, MAP_SIDE = 360, 120, 64
PHOTO = {
    **{"exposure": 1.0, "contrast": 1.0, "colour": 0.5, "focus": 2.0, "cleanness": 3.0},
    **{"simplicity": 0.5, "composition": 0.5},
}
MOTION = {"liveliness": 1.0, "steadiness": 1.0}
FULL_FOCUS = 250.0  # effective short side in pixels of a crisp frame at this size
HALF_CLEAN = KeepDamage()  # damage that halves the utility


class PhotomotionScorer:
    """Scorer of aesthetics on pairs of frames: the first frame of a pair gives photo features, both give motion."""

    name = "photomotion"
    costly = False
    columns = [("photomotion", pa.float64()), *((f"photo_{name}", pa.float64()) for name in (*PHOTO, *MOTION))]  # noqa: RUF012

    def __init__(self, params: ScoreAesthetics) -> None:
        self.params = params

    def fingerprint(self) -> Row:  # noqa: D102
        used = {key: value for key, value in asdict(self.params).items() if key in ("num_frames", "pair_s")}
        return {"version": VERSION, **used}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=self._times(facts), short_side=SHORT_SIDE)

    def _times(self, facts: Row) -> tuple[float, ...]:
        first = evenly_spaced(facts["length_s"], self.params.num_frames)
        return tuple(sorted({*first, *(round(t + self.params.pair_s, 3) for t in first)}))

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(evenly_spaced(facts["length_s"], self.params.num_frames), self.params.pair_s)


class _Measurement:
    """Measurement that buffers frames and computes features in `compute`: most clips are dropped before."""

    def __init__(self, first_times_s: tuple[float, ...], pair_s: float) -> None:
        self.first_times_s = set(first_times_s)
        self.pair_s = pair_s
        self.frames: list[tuple[np.ndarray, bool]] = []

    def update(self, frame: np.ndarray, time_s: float) -> None:
        self.frames.append((frame, time_s in self.first_times_s))

    def compute(self) -> Row:
        features, pairs = self._features()
        photos = {name: np.array([feature[name] for feature in features]) for name in PHOTO}
        motion = motion_features(pairs)
        means = {name: float(np.mean(values)) for name, values in {**photos, **motion}.items()}
        return {
            "photomotion": rounded(10 * integrate(photos, motion)),
            **{f"photo_{name}": rounded(value) for name, value in means.items()},
        }

    def _features(self) -> tuple[list[dict[str, float]], list[tuple[np.ndarray, np.ndarray]]]:
        """Return photo features of the first frame of each pair, and (camera, residual) motion of each pair."""
        photos, pairs = [], []
        previous: np.ndarray | None = None
        box = content_box([frame for frame, _ in self.frames])
        at_rest = median_picture([crop(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), box) for frame, _ in self.frames])
        for frame_with_bars, is_first in self.frames:
            full_size = crop(frame_with_bars, box)
            frame = resize_short_side(full_size, SHORT_SIDE)
            small = cv2.cvtColor(resize_short_side(frame, FLOW_SIDE), cv2.COLOR_RGB2GRAY)
            if is_first:
                photos.append({**photo_features(frame), "cleanness": cleanness(full_size, at_rest)})
                previous = small
            elif previous is not None:
                pairs.append(motion_between(previous, small, self.pair_s))
                previous = None
        return photos, pairs


def utility(value: float) -> float:
    """Clip a value to [0.05, 1], so that no single feature makes the score zero."""
    return float(np.clip(value, FLOOR, 1))


def photo_features(frame: np.ndarray) -> dict[str, float]:
    """Return the utilities, without cleanness, of one (H, W, 3) uint8 RGB frame with a short side of 360 pixels."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    luma = gray.astype(np.float64) / 255
    low, high = np.percentile(luma, (5, 95))
    clipped = max(np.mean((luma < 0.02) | (luma > 0.98)), clipped_share(frame))
    salience = saliency(gray)
    return {
        "exposure": utility(np.exp(-(((luma.mean() - 0.45) / 0.28) ** 2)) * (1 - clipped)),
        "contrast": utility((high - low) / 0.7),
        "colour": utility(1 - np.exp(-colourfulness(frame) / 25)),
        "focus": utility(sharpest_side(gray) / FULL_FOCUS),
        "simplicity": utility((np.sort(salience.ravel())[-salience.size // 5 :].sum() - 0.2) / 0.6),
        "composition": utility(np.exp(-((_distance_to_thirds(salience) / 0.25) ** 2))),
    }


def cleanness(frame: np.ndarray, at_rest: np.ndarray) -> float:
    """Return the utility of a frame at the size of the clip: 1 without damage, a half at a threshold of its rule.

    Args:
        frame: (H, W, 3) uint8 RGB frame.
        at_rest: (H, W) grey median of frames of other moments.
    """
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    edges = isolated_edges(gray)
    factor = enlargement(edges)
    source_px = min(gray.shape) / factor
    is_of_kernel = are_of_kernel(factor, source_px, HALF_CLEAN.min_source_px)
    ratios = (
        noise_sd(gray) / HALF_CLEAN.max_noise,
        blockiness(gray) / HALF_CLEAN.max_blockiness,
        combing(gray, at_rest) / HALF_CLEAN.max_combing,
        0.0 if is_of_kernel else halos(edges) / HALF_CLEAN.max_halos,
        HALF_CLEAN.min_source_px / source_px if factor > 1 else 0.0,
    )
    return utility(float(np.prod([1 / (1 + max(0.0, ratio) ** 4) for ratio in ratios])))


def colourfulness(frame: np.ndarray) -> float:
    """Return the colourfulness of an RGB frame by Hasler and Suesstrunk (2003), from its opponent colours."""
    r, g, b = (frame[..., i].astype(np.float64) for i in range(3))
    rg, yb = r - g, (r + g) / 2 - b
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def saliency(gray: np.ndarray) -> np.ndarray:
    """Return a saliency map (64, 64) by the spectral residual (Hou and Zhang, 2007); it sums to 1."""
    small = cv2.resize(gray, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    spectrum = np.fft.fft2(small)
    log = np.log(np.abs(spectrum) + 1e-9)
    residual = log - cv2.blur(log, (3, 3))
    energy = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(energy, (0, 0), 2.5)
    return smooth / max(smooth.sum(), 1e-12)


def _distance_to_thirds(salience: np.ndarray) -> float:
    """Return the distance of the saliency centroid to the nearest rule-of-thirds point or the centre; sides are 1."""
    positions = (np.arange(MAP_SIDE) + 0.5) / MAP_SIDE
    centre = np.array([salience.sum(0) @ positions, salience.sum(1) @ positions])
    points = [(x, y) for x in (1 / 3, 2 / 3) for y in (1 / 3, 2 / 3)] + [(0.5, 0.5)]
    return float(min(np.linalg.norm(centre - np.array(p)) for p in points))


def motion_between(before: np.ndarray, after: np.ndarray, gap_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the camera velocity (2,), the median of the optical flow, and the residual flow (H, W, 2).

    Both are in frame diagonals per second.

    Args:
        before: (H, W) uint8 grey frame.
        after: (H, W) uint8 grey frame, `gap_s` seconds later.
        gap_s: time between the frames.
    """
    flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    flow = flow / (np.hypot(*before.shape) * gap_s)
    camera = np.median(flow.reshape(-1, 2), axis=0)
    return camera, flow - camera


def motion_features(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the utilities of motion: liveliness (n,) of the subjects per pair, steadiness (1,) of the camera."""
    if not pairs:
        return {"liveliness": np.array([FLOOR]), "steadiness": np.array([1.0])}
    speeds = [float(np.sqrt((residual**2).sum(-1).mean())) for _, residual in pairs]
    liveliness = [utility(s / (s + 0.01) * np.exp(-((s / 0.4) ** 2))) for s in speeds]
    shake = float(np.linalg.norm(np.std([camera for camera, _ in pairs], axis=0)))
    return {"liveliness": np.array(liveliness), "steadiness": np.array([utility(np.exp(-((shake / 0.15) ** 2)))])}


def integrate(photos: dict[str, np.ndarray], motion: dict[str, np.ndarray]) -> float:
    """Return one score in [0, 1] from the features of n moments.

    The quality of a moment is the weighted geometric mean of its utilities. The score is the weighted harmonic mean
    over moments, which emphasizes bad moments. Its weights grow from 1 to 2, because viewers remember the end best.
    """
    num_moments = len(next(iter(photos.values())))
    liveliness = np.resize(motion["liveliness"], num_moments)
    weights = {**PHOTO, **MOTION}
    features = {**photos, "liveliness": liveliness, "steadiness": np.resize(motion["steadiness"], num_moments)}
    logs = sum(weight * np.log(features[name]) for name, weight in weights.items())
    quality = np.exp(logs / sum(weights.values()))
    recency = np.linspace(1, 2, num_moments)
    return float(recency.sum() / (recency / quality).sum())
