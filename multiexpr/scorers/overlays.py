"""Overlay scorer: burned-in text, watermarks and pictures in the picture.

What is drawn over a video does not move with it. An edge that stays in place while the picture changes on both sides of
it belongs to an overlay. Where the picture does not change, an overlay cannot be distinguished from the scene.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations

import cv2
import numpy as np
import pyarrow as pa

from exprbench.core.files import sha256_path
from multiexpr.models.text_detector import require_text_model, text_probability
from multiexpr.recipe import ScoreOverlays
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, evenly_spaced, rounded
from multiexpr.scorers.frame_damage import without_bars
from multiexpr.scorers.sharpness import resize_short_side

VERSION = "overlays-2"
CHANGE_LEVELS = 8.0  # standard deviation over time, 0 to 255, of a place that changes
EDGE_LEVELS = 6.0  # smallest gradient, in levels per pixel, of an overlay
STEADINESS = 0.5  # smallest gradient over time of a steady edge, as a share of its median
TEXT_PROBABILITY = 0.3
MAX_LINE_HEIGHT = 0.15  # of a line of text, as a share of the height of the picture
MIN_SIDE, MAX_AREA = 0.1, 0.5  # of a picture in the picture, as a share of the short side and of the picture
TREMBLING = 2.0  # by which an edge that trembles changes more than the picture at its sides
WINDOWS = 6  # windows of watermarks along the short side
RIDGE_LEVELS = 3.0  # smallest gradient of a side of an inset
RIDGE_RATIO, RIDGE_REACH = 1.5, 4  # of the gradient to that at this distance in pixels
MAX_LINES = 16  # columns, and rows, that may be sides of an inset
COVERAGE = 0.6  # share of each side of an inset with an edge
# Distances in pixels from a side at which changes are compared; the second is beyond a drawn border.
SIDE_DISTANCES = (3, 6)
STILL_LEVELS = 4.0  # changes below this are none
MAX_CORRELATION = 0.2  # of the changes inside and outside


class OverlayScorer:
    """Scorer of overlays.

    `text` is the median share of the picture in lines of text. `watermark` is the largest local share of the changing
    picture with steady edges. `inset` is the area, as a share of the picture, of the largest rectangle with steady
    sides in which the picture changes independently of its surroundings; 0 if there is none.
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
    """Return the largest local share of (T, H, W) grey pictures in steady edges, in [0, 1].

    Shares are those of the changing part in windows of a sixth of the short side; windows that change in less than
    half of their area do not count. An edge of the scene that trembles changes the pixels on it more than those at its
    sides, and is not steady.
    """
    spread = grays.std(0)
    moving = cv2.erode(spread, np.ones((5, 5), np.uint8)) > CHANGE_LEVELS  # on both sides of an edge
    trembling = spread > TREMBLING * cv2.erode(spread, np.ones((9, 9), np.uint8))
    steady = (steady_edges(grays, 0) | steady_edges(grays, 1)) & moving & ~trembling
    side = max(1, round(min(grays.shape[1:]) / WINDOWS))
    edges, changing = (cv2.blur(part.astype(np.float32), (side, side)) for part in (steady, moving))
    return float(np.where(changing > 0.5, edges / np.maximum(changing, 0.5), 0).max())


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
    """Return the area in [0, 1] of the largest picture in (T, H, W) pictures; 0 if there is none.

    It is a rectangle whose sides stay in place, and at whose sides the picture changes independently inside and
    outside. In one scene, what moves crosses the edges.
    """
    height, width = grays.shape[1:]
    changes = np.diff(grays, axis=0)
    boxes = sorted(_boxes(_lines(_ridges(grays)), _lines(_ridges(grays.transpose(0, 2, 1)))), key=_area, reverse=True)
    found = (box for box in boxes if _area(box) <= MAX_AREA * height * width and _is_independent(changes, grays, box))
    return _area(next(found, (0, 0, 0, 0))) / (height * width)


@dataclass(frozen=True)
class _Line:
    """Column or row of a picture that may be a side of an inset.

    Attributes:
        position: index of the column or row.
        num_edges: (L + 1,) number of pixels with an edge before each position along the line.
        is_border: whether it is a border of the whole picture.
    """

    position: int
    num_edges: np.ndarray
    is_border: bool = False

    def covers(self, start: int, end: int) -> bool:
        """Return whether `COVERAGE` of the line between two positions shows an edge."""
        return bool(self.num_edges[end] - self.num_edges[start] >= COVERAGE * (end - start))


Box = tuple[int, int, int, int]  # left, top, right, bottom


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _ridges(grays: np.ndarray) -> np.ndarray:
    """Return where (T, H, W) pictures have a gradient across that is strong on average over time, (H, W) bool.

    The mean over time of the gradients of moving edges is smooth; an edge that stays in place is a narrow ridge of it,
    even if its contrast changes.
    """
    mean = np.mean([np.abs(cv2.Sobel(g, cv2.CV_32F, 1, 0, ksize=3)) / 8 for g in np.ascontiguousarray(grays)], axis=0)
    around = (np.roll(mean, RIDGE_REACH, axis=1) + np.roll(mean, -RIDGE_REACH, axis=1)) / 2
    peak = cv2.dilate(mean, np.ones((1, 5), np.uint8))
    return (mean >= peak) & (mean > RIDGE_LEVELS) & (mean > RIDGE_RATIO * around)


def _lines(ridges: np.ndarray) -> list[_Line]:
    """Return the columns of (H, W) ridges in which these have at least the length `MIN_SIDE`, and both borders."""
    near = cv2.dilate(ridges.astype(np.uint8), np.ones((1, 3), np.uint8))  # a pixel to both sides
    strength = near.sum(0, dtype=np.int64)
    least = max(1.0, MIN_SIDE * min(ridges.shape))
    peaks = [x for x in range(2, len(strength) - 2) if strength[x] >= max(least, strength[x - 2 : x + 3].max())]
    strongest = sorted(sorted(peaks, key=lambda x: -strength[x])[:MAX_LINES])
    counts = np.pad(near.cumsum(0, dtype=np.int64), ((1, 0), (0, 0)))
    full = np.arange(len(counts))
    inner = [_Line(x, counts[:, x]) for x in strongest]
    return [_Line(0, full, True), *inner, _Line(ridges.shape[1], full, True)]


def _boxes(columns: list[_Line], rows: list[_Line]) -> Iterator[Box]:
    """Yield the rectangles with edges along their sides, of which at most one is a border of the picture."""
    least = MIN_SIDE * min(columns[-1].position, rows[-1].position)
    for left, right in combinations(columns, 2):
        for top, bottom in combinations(rows, 2):
            if sum(line.is_border for line in (left, right, top, bottom)) > 1:
                continue
            across, down = (left.position, right.position), (top.position, bottom.position)
            if min(across[1] - across[0], down[1] - down[0]) < least:
                continue
            if top.covers(*across) and bottom.covers(*across) and left.covers(*down) and right.covers(*down):
                yield left.position, top.position, right.position, bottom.position


def _is_independent(changes: np.ndarray, grays: np.ndarray, box: Box) -> bool:
    """Return whether (T - 1, H, W) changes at the sides of a box are not correlated inside and outside."""
    left, top, right, bottom = box
    if grays[:, top:bottom, left:right].std(0).mean() < STILL_LEVELS:
        return False
    return all(_is_uncorrelated(*_changes_at_sides(changes, box, distance)) for distance in SIDE_DISTANCES)


def _changes_at_sides(changes: np.ndarray, box: Box, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes (n,) inside the sides of a box and (n,) outside, at a distance in pixels from each side."""
    left, top, right, bottom = box
    pairs = []
    for picture, first, last, along in (
        (changes, left, right, slice(top, bottom)),
        (changes.transpose(0, 2, 1), top, bottom, slice(left, right)),
    ):
        places = [(first, distance), (last, -distance)]
        inner = [(x, inwards) for x, inwards in places if distance <= x < picture.shape[2] - distance]
        pairs += [
            (picture[:, along, x + inwards].ravel(), picture[:, along, x - inwards].ravel()) for x, inwards in inner
        ]
    inside, outside = zip(*pairs, strict=True)
    return np.concatenate(inside), np.concatenate(outside)


def _is_uncorrelated(inside: np.ndarray, outside: np.ndarray) -> bool:
    """Return whether changes (n,) and (n,) are strong enough to be compared, and are hardly correlated."""
    energy = float((inside**2 + outside**2).mean()) / 2
    return energy > STILL_LEVELS**2 and float((inside * outside).mean()) < MAX_CORRELATION * energy
