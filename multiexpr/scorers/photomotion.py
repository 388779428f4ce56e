"""`photomotion`: an aesthetic score from 0 to 10 that needs no weights.

In the line of Yeh et al. (2013), whom the paper cites: features of single frames, as photographers judge them, and
features of motion, brought together with regard to their order in time. Theirs are learned from rated videos and
were never published; these are fixed formulas, so that a score can be explained and repeated. Every feature is a
utility in [0.05, 1]; `docs/curation.md` gives the formulas beside their reasons.
"""

from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from multiexpr.recipe import ScoreAesthetics
from multiexpr.scorers.base import Frames, Row, evenly_spaced, rounded
from multiexpr.scorers.sharpness import laplacian_variance, to_short_side

VERSION = "photomotion-1"
FLOOR = 0.05
SHORT_SIDE, FLOW_SIDE, MAP_SIDE = 360, 120, 64
PHOTO = {"exposure": 1.0, "contrast": 1.0, "colour": 0.5, "focus": 2.0, "simplicity": 0.5, "composition": 0.5}
MOTION = {"liveliness": 1.0, "steadiness": 1.0}
FULL_FOCUS = 500.0  # variance of the Laplacian of a crisp frame at this size


class PhotomotionScorer:
    """Pairs of frames spread in time: the first of each is a photograph, both together are a motion."""

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
    """Frames are kept until `compute` is asked for: most clips are dropped before it comes to that."""

    def __init__(self, firsts: tuple[float, ...], pair_s: float) -> None:
        self.firsts = set(firsts)
        self.pair_s = pair_s
        self.seen: list[tuple[np.ndarray, bool]] = []

    def update(self, frame: np.ndarray, time_s: float) -> None:
        self.seen.append((frame, time_s in self.firsts))

    def compute(self) -> Row:
        measured, pairs = self._measured()
        photos = {name: np.array([photo[name] for photo in measured]) for name in PHOTO}
        motion = motion_features(pairs)
        means = {name: float(np.mean(values)) for name, values in {**photos, **motion}.items()}
        return {
            "photomotion": rounded(10 * integrate(photos, motion)),
            **{f"photo_{name}": rounded(value) for name, value in means.items()},
        }

    def _measured(self) -> tuple[list[dict[str, float]], list[tuple[np.ndarray, np.ndarray]]]:
        """Features of the first frame of each pair; motion of the camera and of the subjects within each pair."""
        photos, pairs = [], []
        before: np.ndarray | None = None
        for own, first in self.seen:
            frame = to_short_side(own, SHORT_SIDE)
            small = cv2.cvtColor(to_short_side(frame, FLOW_SIDE), cv2.COLOR_RGB2GRAY)
            if first:
                photos.append(photo_features(frame))
                before = small
            elif before is not None:
                pairs.append(motion_between(before, small, self.pair_s))
                before = None
        return photos, pairs


def utility(value: float) -> float:
    """Brought into [0.05, 1]: no single feature makes a score zero."""
    return float(np.clip(value, FLOOR, 1))


def photo_features(frame: np.ndarray) -> dict[str, float]:
    """Utilities of one (H, W, 3) uint8 RGB frame of a short side of 360 pixels."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    luma = gray.astype(np.float64) / 255
    low, high = np.percentile(luma, (5, 95))
    clipped = np.mean((luma < 0.02) | (luma > 0.98))
    salience = saliency(gray)
    return {
        "exposure": utility(np.exp(-(((luma.mean() - 0.45) / 0.28) ** 2)) * (1 - clipped)),
        "contrast": utility((high - low) / 0.7),
        "colour": utility(1 - np.exp(-colourfulness(frame) / 25)),
        "focus": utility(np.log1p(laplacian_variance(gray)) / np.log1p(FULL_FOCUS)),
        "simplicity": utility((np.sort(salience.ravel())[-salience.size // 5 :].sum() - 0.2) / 0.6),
        "composition": utility(np.exp(-((_distance_to_thirds(salience) / 0.25) ** 2))),
    }


def colourfulness(frame: np.ndarray) -> float:
    """Hasler and Suesstrunk (2003): spread and strength of red against green and yellow against blue."""
    r, g, b = (frame[..., i].astype(np.float64) for i in range(3))
    rg, yb = r - g, (r + g) / 2 - b
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def saliency(gray: np.ndarray) -> np.ndarray:
    """Spectral residual (Hou and Zhang, 2007): (64, 64), what a picture holds beyond the common; sums to 1."""
    small = cv2.resize(gray, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    spectrum = np.fft.fft2(small)
    log = np.log(np.abs(spectrum) + 1e-9)
    residual = log - cv2.blur(log, (3, 3))
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(found, (0, 0), 2.5)
    return smooth / max(smooth.sum(), 1e-12)


def _distance_to_thirds(salience: np.ndarray) -> float:
    """From the centre of salience to the nearest crossing of the lines of thirds, or the middle; sides are 1."""
    along = (np.arange(MAP_SIDE) + 0.5) / MAP_SIDE
    centre = np.array([salience.sum(0) @ along, salience.sum(1) @ along])
    points = [(x, y) for x in (1 / 3, 2 / 3) for y in (1 / 3, 2 / 3)] + [(0.5, 0.5)]
    return float(min(np.linalg.norm(centre - np.array(p)) for p in points))


def motion_between(before: np.ndarray, after: np.ndarray, gap_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Velocity (2,) of the camera, as the median of the optical flow, and what is left of the flow (H, W, 2).

    Both in frame diagonals a second.
    """
    flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    flow = flow / (np.hypot(*before.shape) * gap_s)
    camera = np.median(flow.reshape(-1, 2), axis=0)
    return camera, flow - camera


def motion_features(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Utilities of motion: one a pair for the subjects (some, not a storm), one for how even the camera moves."""
    if not pairs:
        return {"liveliness": np.array([FLOOR]), "steadiness": np.array([1.0])}
    speeds = [float(np.sqrt((rest**2).sum(-1).mean())) for _, rest in pairs]
    lively = [utility(s / (s + 0.01) * np.exp(-((s / 0.4) ** 2))) for s in speeds]
    shake = float(np.linalg.norm(np.std([camera for camera, _ in pairs], axis=0)))
    return {"liveliness": np.array(lively), "steadiness": np.array([utility(np.exp(-((shake / 0.15) ** 2)))])}


def integrate(photos: dict[str, np.ndarray], motion: dict[str, np.ndarray]) -> float:
    """From the features of n moments to one score in [0, 1].

    The quality of a moment is the weighted geometric mean of its utilities. Over time their harmonic mean is taken,
    in which bad moments count more, with weights that grow from 1 to 2: what is seen last is remembered best.
    """
    num_moments = len(next(iter(photos.values())))
    lively = np.resize(motion["liveliness"], num_moments)
    weights = {**PHOTO, **MOTION}
    features = {**photos, "liveliness": lively, "steadiness": np.resize(motion["steadiness"], num_moments)}
    logs = sum(weight * np.log(features[name]) for name, weight in weights.items())
    quality = np.exp(logs / sum(weights.values()))
    recency = np.linspace(1, 2, num_moments)
    return float(recency.sum() / (recency / quality).sum())
