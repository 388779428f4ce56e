"""Undo what a method did to the picture: panels, letterbox, crop; and paste the result into the source."""

from dataclasses import dataclass

import numpy as np

from baselines.geometry import Rect
from baselines.spec import OutputSpec
from exprbench.core.errors import ItemError

MIN_MATCHES = 12
MAX_SHAPE_CHANGE = 0.1  # of width over height; methods round sides up, to multiples of 16 at most
RATIO = 0.75  # of Lowe's test: distance of the best match over that of the second
FEATHER = 0.04  # width of the soft border over the shorter side


def panel_of(frame: np.ndarray, output: OutputSpec, panel: int | None = None) -> np.ndarray:
    """Return a panel of a frame without the gutter, by default the one that shows the result."""
    if output.panels == 1:
        return frame
    step = (frame.shape[1] - output.gutter) / output.panels
    left = round(output.gutter + (output.panel if panel is None else panel) * step)
    return frame[output.gutter : frame.shape[0] - output.gutter, left : left + round(step) - output.gutter]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a result belongs.

    Attributes:
        part: part of the result that shows the source.
        target: rectangle of the source picture that this part shows, in pixels, possibly beyond its border.
    """

    part: Rect
    target: Rect


def place(output: OutputSpec, result: tuple[int, int], box: Rect, crop: tuple[float, float, float] | None) -> Placement:
    """Return where results belong.

    Args:
        result: width and height of a result (a panel, if there are several).
        box: part of the source picture that the method got.
        crop: left, top and scale of the result in `box`, relative to its width, if the method cropped it.

    Raises:
        ItemError: `wrong_shape`, if the result should have the shape of `box` and does not.
    """
    width, height = result
    everything = Rect(x=0, y=0, width=width, height=height)
    if crop is not None:
        left, top, scale = (value * box.width for value in crop)
        target = Rect(
            x=round(box.x + left), y=round(box.y + top), width=round(scale), height=round(scale * height / width)
        )
        return Placement(part=everything, target=target)
    if output.fit == "same":
        _check_shape(result, box)
    if output.fit in ("same", "stretch"):
        return Placement(part=everything, target=box)
    scale = height / box.height if output.fit == "height" else min(height / box.height, width / box.width)
    shown_width, shown_height = min(width, round(scale * box.width)), min(height, round(scale * box.height))
    part = Rect(x=(width - shown_width) // 2, y=(height - shown_height) // 2, width=shown_width, height=shown_height)
    visible_width, visible_height = round(shown_width / scale), round(shown_height / scale)
    target = Rect(
        x=box.x + (box.width - visible_width) // 2,
        y=box.y + (box.height - visible_height) // 2,
        width=visible_width,
        height=visible_height,
    )
    return Placement(part=part, target=target)


def _check_shape(result: tuple[int, int], box: Rect) -> None:
    width, height = result
    change = (width * box.height) / (height * box.width)
    if not 1 / (1 + MAX_SHAPE_CHANGE) < change < 1 + MAX_SHAPE_CHANGE:
        raise ItemError(
            "wrong_shape",
            f"it is {width} x {height}, its source {box.width} x {box.height}; expected one shape, or output.fit in "
            "method.toml (--fit of import), which says how it was changed",
        )


def locate(reference: np.ndarray, picture: np.ndarray) -> tuple[float, float, float]:
    """Return where an image shows a picture: left, top and width of the image, over the picture's width.

    Matches SIFT features and fits a scale and a translation by RANSAC.

    Raises:
        ItemError: `crop_not_located`.
    """
    import cv2

    sift = cv2.SIFT_create()
    points, features = sift.detectAndCompute(reference, None)
    others, other_features = sift.detectAndCompute(picture, None)
    if features is None or other_features is None or len(points) < 2 or len(others) < 2:
        raise ItemError("crop_not_located", "the output shows too few details to locate it in the source")
    pairs = cv2.BFMatcher().knnMatch(features, other_features, k=2)
    good = [m for m, n in (p for p in pairs if len(p) == 2) if m.distance < RATIO * n.distance]
    here = np.array([points[m.queryIdx].pt for m in good]).reshape(-1, 2)
    there = np.array([others[m.trainIdx].pt for m in good]).reshape(-1, 2)
    scale, offset, inliers = _fit(here, there, picture.shape[1])
    if inliers < MIN_MATCHES:
        detail = f"only {inliers} details of the output are found in the source; expected {MIN_MATCHES} or more"
        raise ItemError("crop_not_located", detail)
    width = picture.shape[1]
    return offset[0] / width, offset[1] / width, scale * reference.shape[1] / width


def _fit(here: np.ndarray, there: np.ndarray, width: int) -> tuple[float, np.ndarray, int]:
    """Return scale, translation (2,) and number of inliers of `there = scale * here + translation`."""
    rng, best = np.random.default_rng(0), np.zeros(len(here), bool)
    tolerance = max(1.5, width / 256)
    for _ in range(500 if len(here) >= 2 else 0):
        i, j = rng.choice(len(here), 2, replace=False)
        base = np.linalg.norm(here[i] - here[j])
        if base < 8:
            continue
        scale = np.linalg.norm(there[i] - there[j]) / base
        errors = np.linalg.norm(scale * here + (there[i] - scale * here[i]) - there, axis=1)
        best = max(best, errors < tolerance, key=np.count_nonzero)
    if np.count_nonzero(best) < 2:
        return 1.0, np.zeros(2), 0
    here, there = here[best], there[best]
    centred, other = here - here.mean(0), there - there.mean(0)
    scale = float((centred * other).sum() / (centred**2).sum())
    return scale, there.mean(0) - scale * here.mean(0), len(here)


def paste(canvas: np.ndarray, result: np.ndarray, placement: Placement) -> None:
    """Paste a result into an (H, W, 3) picture, in place, with soft borders where they are inside the picture."""
    import cv2

    target, part = placement.target, placement.part.crop(result)
    shrinks = target.height < part.shape[0]
    size = (target.width, target.height)
    if part.shape[1::-1] != size:
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = _visible(target, width, height)
    part = part[y0 - target.y : y1 - target.y, x0 - target.x : x1 - target.x]
    if (x0, y0) == (0, 0) and width - x1 <= 1 and height - y1 <= 1:
        canvas[y0:y1, x0:x1] = part
        return
    mask = feather(Rect(x=x0, y=y0, width=x1 - x0, height=y1 - y0), width, height)[..., None]
    canvas[y0:y1, x0:x1] = np.rint(canvas[y0:y1, x0:x1] * (1 - mask) + part * mask)


def _visible(target: Rect, width: int, height: int) -> tuple[int, int, int, int]:
    return (
        max(0, target.x),
        max(0, target.y),
        min(width, target.x + target.width),
        min(height, target.y + target.height),
    )


def feather(rect: Rect, width: int, height: int) -> np.ndarray:
    """Return (h, w) float32 weights in [0, 1]: rising from the borders of `rect` that are inside the picture."""
    soft = max(1, round(FEATHER * min(rect.width, rect.height)))

    def ramp(length: int, soft_start: bool, soft_end: bool) -> np.ndarray:
        distance = np.arange(length, dtype=np.float32) + 0.5
        start = distance / soft if soft_start else np.ones(length, np.float32)
        end = distance[::-1] / soft if soft_end else np.ones(length, np.float32)
        return np.minimum(1, np.minimum(start, end))

    rows = ramp(rect.height, rect.y > 0, rect.y + rect.height < height - 1)
    columns = ramp(rect.width, rect.x > 0, rect.x + rect.width < width - 1)
    return np.minimum(rows[:, None], columns[None, :])


def covered_share(placement: Placement, width: int, height: int) -> float:
    """Return the share of the source picture that a result covers."""
    x0, y0, x1, y1 = _visible(placement.target, width, height)
    return (x1 - x0) * (y1 - y0) / (width * height)
