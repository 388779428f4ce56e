"""Overlay scorer: burned-in text, watermarks and pictures in the picture.

What is drawn over a video does not move with it. A gradient that stays the same over time, in a place where the picture
changes, belongs to an overlay. Where the picture does not change, an overlay cannot be distinguished from the scene.
"""

from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from exprbench.core.files import sha256_path
from multiexpr.models.text_detector import require_text_model, text_probability
from multiexpr.recipe import ScoreOverlays
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, evenly_spaced, rounded
from multiexpr.scorers.frame_damage import without_bars
from multiexpr.scorers.sharpness import resize_short_side

VERSION = "overlays-1"
CHANGE_LEVELS = 8.0  # standard deviation over time, 0 to 255, of a place that changes
EDGE_LEVELS = 6.0  # smallest gradient, in levels per pixel, of an overlay
STEADINESS = 0.5  # smallest gradient over time of a steady edge, as a share of its median
TEXT_PROBABILITY = 0.3
MAX_LINE_HEIGHT = 0.15  # of a line of text, as a share of the height of the picture
MIN_SIDE, MAX_AREA = 0.1, 0.5  # of a picture in the picture, as a share of the short side and of the picture
SIDE_COVERAGE = 0.6  # share of a side of an inset that shows an edge


class OverlayScorer:
    """Scorer of overlays.

    `text` is the median share of the picture in lines of text. `watermark` is the share of
    the changing part of the picture that has steady edges. `inset` is the area, as a share of the picture, of the
    largest rectangle with steady sides in which the picture changes independently of its surroundings; 0 if none.
    """

    name = "overlays"
    costly = False
    columns = [("text", pa.float64()), ("watermark", pa.float64()), ("inset", pa.float64())]  # noqa: RUF012

    def __init__(self, params: ScoreOverlays) -> None:
        self.params = params

    def fingerprint(self) -> Row:  # noqa: D102
        model = sha256_path(require_text_model()) if self.params.text else ""
        return {"version": VERSION, **asdict(self.params), "model": model}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        times = evenly_spaced(facts["length_s"], self.params.num_frames)
        return Frames(times_s=times, short_side=self.params.short_side)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.params)


class _Measurement(BufferedMeasurement):
    def __init__(self, params: ScoreOverlays) -> None:
        super().__init__()
        self.params = params

    def compute(self) -> Row:
        frames = [resize_short_side(frame, self.params.short_side) for frame in without_bars(self.frames)]
        grays = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]).astype(np.float32)
        return {
            "text": rounded(text_share(frames[::3])) if self.params.text else None,
            "watermark": rounded(watermark_share(grays)),
            "inset": rounded(largest_inset(grays)),
        }


def text_share(frames: list[np.ndarray]) -> float:
    """Return the median share of (H, W, 3) uint8 RGB frames in lines of text, in [0, 1]."""
    return float(np.median([_share_in_lines(text_probability(frame) > TEXT_PROBABILITY) for frame in frames]))


def _share_in_lines(is_text: np.ndarray) -> float:
    """Return the share of an (H, W) bool map in regions that are as low as a line of text."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(is_text.astype(np.uint8))
    lines = stats[1:, cv2.CC_STAT_HEIGHT] <= MAX_LINE_HEIGHT * len(is_text)
    return float(stats[1:, cv2.CC_STAT_AREA][lines].sum() / is_text.size)


def watermark_share(grays: np.ndarray) -> float:
    """Return the share of the changing part of (T, H, W) grey pictures that has steady edges; 0 if nothing changes."""
    moving = cv2.erode(grays.std(0), np.ones((5, 5), np.uint8)) > CHANGE_LEVELS  # on both sides of an edge
    steady = steady_edges(grays, 0) | steady_edges(grays, 1)
    return float((steady & moving).sum() / moving.sum()) if moving.mean() > 0.01 else 0.0


def steady_edges(grays: np.ndarray, axis: int) -> np.ndarray:
    """Return where (T, H, W) pictures have a gradient along an axis (0: down, 1: across) in all frames, (H, W) bool.

    The gradient may change, because the scene adds its own, but keeps at least half of its median. An edge of the
    scene that rests for some time and then moves is not steady.
    """
    gradients = np.stack([cv2.Sobel(g, cv2.CV_32F, axis, 1 - axis, ksize=3) / 8 for g in grays])
    middle = np.median(gradients, axis=0)
    least = (gradients * np.sign(middle)).min(axis=0)
    return (np.abs(middle) > EDGE_LEVELS) & (least > STEADINESS * np.abs(middle))


def largest_inset(grays: np.ndarray) -> float:
    """Return the area in [0, 1] of the largest picture in (T, H, W) pictures; 0 if there is none."""
    height, width = grays.shape[1:]
    columns = _lines(steady_edges(grays, 1))
    rows = _lines(steady_edges(grays, 0).T)
    best = 0.0
    for left, right in _pairs(columns, width, min(height, width)):
        for top, bottom in _pairs(rows, height, min(height, width)):
            area = (right[0] - left[0]) * (bottom[0] - top[0]) / (height * width)
            on_border = sum(line[2] for line in (left, right, top, bottom))
            if not best < area <= MAX_AREA or on_border > 2:
                continue
            sides = _covers(left, top[0], bottom[0]) and _covers(right, top[0], bottom[0])
            if sides and _covers(top, left[0], right[0]) and _covers(bottom, left[0], right[0]):
                box = slice(top[0], bottom[0]), slice(left[0], right[0])
                best = max(best, area if _is_independent(grays, box) else 0.0)
    return best


Line = tuple[int, np.ndarray, bool]  # position, where it shows an edge, and whether it is a border of the picture


def _lines(edges: np.ndarray) -> list[Line]:
    """Return the columns of (H, W) edges with an edge along at least `MIN_SIDE` of them, and both borders."""
    near = cv2.dilate(edges.astype(np.uint8), np.ones((1, 3), np.uint8)).astype(bool)  # a pixel to both sides
    strength = near.sum(0).astype(np.float64)
    least = MIN_SIDE * min(edges.shape)
    peaks = [x for x in range(2, len(strength) - 2) if strength[x] >= max(least, strength[x - 2 : x + 3].max())]
    strongest = sorted(peaks, key=lambda x: -strength[x])[:24]
    border = np.ones(edges.shape[0], bool)
    return [(0, border, True), *((x, near[:, x], False) for x in sorted(strongest)), (edges.shape[1], border, True)]


def _pairs(lines: list[Line], length: int, short_side: int) -> list[tuple[Line, Line]]:
    least = MIN_SIDE * short_side
    return [(a, b) for i, a in enumerate(lines) for b in lines[i + 1 :] if least <= b[0] - a[0] < length]


def _covers(line: Line, start: int, end: int) -> bool:
    return bool(line[1][start:end].mean() >= SIDE_COVERAGE)


def _is_independent(grays: np.ndarray, box: tuple[slice, slice]) -> bool:
    """Return whether the picture changes inside a box, and differently from the surroundings of the box."""
    margin = max(4, (box[0].stop - box[0].start) // 8)
    outer = (
        slice(max(0, box[0].start - margin), box[0].stop + margin),
        slice(max(0, box[1].start - margin), box[1].stop + margin),
    )
    inside = grays[:, box[0], box[1]]
    if inside.std(0).mean() < CHANGE_LEVELS / 2:
        return False
    around = grays[:, outer[0], outer[1]].sum((1, 2)) - inside.sum((1, 2))
    a, b = np.diff(inside.mean((1, 2))), np.diff(around)
    spread = a.std() * b.std()
    return bool(spread < 1e-6 or abs(float(np.mean((a - a.mean()) * (b - b.mean())) / spread)) < 0.8)
