"""Anti-aliased shapes with soft shading. Points are (n, 2) in pixels of the canvas, colours RGB in [0, 255]."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np

Colour = tuple[int, int, int]
SHIFT = 4  # bits of the fractions of a pixel in OpenCV's fixed-point coordinates
WHITE: Colour = (255, 252, 246)


@dataclass(frozen=True)
class Canvas:
    """(H, W, 3) uint8 RGB pixels and the coordinates of their upper left corner."""

    pixels: np.ndarray
    origin: tuple[int, int] = (0, 0)

    def window(self, points: np.ndarray) -> "Canvas":
        """Return the part of the canvas around the points; it can be empty."""
        height, width = self.pixels.shape[:2]
        left, top = self.origin
        (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
        x0, x1 = (min(max(int(x) - left, 0), width) for x in (x0 - 3, x1 + 4))
        y0, y1 = (min(max(int(y) - top, 0), height) for y in (y0 - 3, y1 + 4))
        return Canvas(self.pixels[y0:y1, x0:x1], (left + x0, top + y0))

    def fixed(self, points: np.ndarray) -> np.ndarray:
        """Return points in OpenCV's fixed-point coordinates, in which pixel centres are whole numbers."""
        return np.rint((points - self.origin - 0.5) * (1 << SHIFT)).astype(np.int32)


@cache
def _spline(count: int, per: int, closed: bool) -> np.ndarray:
    """Return Catmull-Rom weights for `per` points between each pair of `count` control points."""
    segments = count if closed else count - 1
    s = np.tile(np.arange(per) / per, segments)
    start = np.repeat(np.arange(segments), per)
    if not closed:
        s, start = np.append(s, 1.0), np.append(start, segments - 1)
    basis = np.stack([-s + 2 * s**2 - s**3, 2 - 5 * s**2 + 3 * s**3, s + 4 * s**2 - 3 * s**3, -(s**2) + s**3]) / 2
    weights = np.zeros((len(s), count))
    for step, weight in zip((-1, 0, 1, 2), basis, strict=True):
        column = (start + step) % count if closed else np.clip(start + step, 0, count - 1)
        np.add.at(weights, (np.arange(len(s)), column), weight)
    return weights


def curve(points: np.ndarray, *, closed: bool = False, per: int = 6) -> np.ndarray:
    """Return a smooth line through the points, with `per` points per segment."""
    points = np.asarray(points, np.float64)
    return _spline(len(points), per, closed) @ points


@cache
def path(text: str) -> np.ndarray:
    """Return read-only points (n, d) from text such as "x y, x y, ..." or "x y z, ..."."""
    points = np.array([point.split() for point in text.split(",")], np.float64)
    points.flags.writeable = False
    return points


def shifted(points: np.ndarray, right: float, down: float) -> np.ndarray:
    """Return points moved by `right` and `down` pixels."""
    return points + np.array((right, down))


def oval(centre: np.ndarray, across: np.ndarray | float, up: np.ndarray | float | None = None) -> np.ndarray:
    """Return the outline (48, 2) of an ellipse from its centre and two conjugate half axes (one number: a circle)."""
    if np.isscalar(across):
        across, up = (across, 0.0), (0.0, across if up is None else up)
    cos, sin = _circle()
    return centre + cos * np.asarray(across) + sin * np.asarray(up)


def ribbon(line: np.ndarray, widths: tuple[float, ...] | float) -> np.ndarray:
    """Return the outline of a stroke along a line, with widths interpolated along its length."""
    along = np.empty_like(line)
    along[1:-1], along[0], along[-1] = line[2:] - line[:-2], line[1] - line[0], line[-1] - line[-2]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    half = _half_widths(widths if isinstance(widths, tuple) else (widths,), len(line)) / length
    normal = along[:, ::-1] * half[:, None] * (-1, 1)
    return np.concatenate([line + normal, (line - normal)[::-1]])


@lru_cache(maxsize=1024)
def _half_widths(widths: tuple[float, ...], count: int) -> np.ndarray:
    return np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(widths)), widths) / 2


@cache
def _circle() -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)[:, None]
    return np.cos(angle), np.sin(angle)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return a linear mix of two colours; share 0 is `a`, 1 is `b`."""
    return tuple(round(float(x + (y - x) * share)) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def darker(colour: Colour, share: float = 0.25) -> Colour:
    """Return the colour mixed with a warm shadow."""
    return mix(colour, tuple(c * k for c, k in zip(colour, (0.52, 0.36, 0.40), strict=True)), share)  # type: ignore[arg-type]


def lighter(colour: Colour, share: float = 0.25) -> Colour:
    """Return the colour mixed with warm light."""
    return mix(colour, (255, 240, 214), share)


def fill(canvas: Canvas, outline: np.ndarray, colour: Colour, alpha: float = 1) -> None:
    """Fill a closed outline."""
    if alpha < 1:
        window = canvas.window(outline)
        if window.pixels.size and alpha > 0:
            painted = Canvas(window.pixels.copy(), window.origin)
            fill(painted, outline, colour)
            cv2.addWeighted(window.pixels, 1 - alpha, painted.pixels, alpha, 0, window.pixels)
    elif canvas.pixels.size:
        cv2.fillPoly(canvas.pixels, [canvas.fixed(outline)], colour, cv2.LINE_AA, SHIFT)


def stroke(
    canvas: Canvas, line: np.ndarray, widths: tuple[float, ...] | float, colour: Colour, alpha: float = 1
) -> None:
    """Draw along a line; several widths taper it."""
    fill(canvas, ribbon(line, widths), colour, alpha)


@contextmanager
def clipped(canvas: Canvas, outline: np.ndarray) -> Iterator[Canvas]:
    """Yield a canvas on which drawings are visible only inside the outline."""
    window = canvas.window(outline)
    before = window.pixels.copy()
    yield window
    if before.size:
        _restore_outside(before, window, outline)


def fill_soft(canvas: Canvas, outline: np.ndarray, base: Colour, spots: Sequence["Spot"]) -> None:
    """Fill an outline with a colour and soft spots of other colours on it, in their order."""
    window = canvas.window(outline)
    if not window.pixels.size:
        return
    before = window.pixels.copy()
    height, width = before.shape[:2]
    rows, columns = max(2, height // 6), max(2, width // 6)
    x = window.origin[0] + (np.arange(columns) + 0.5) * width / columns
    y = window.origin[1] + (np.arange(rows) + 0.5) * height / rows
    soft = np.full((rows, columns, 3), base, np.float32)
    for spot in spots:
        soft += spot.weight(x, y)[..., None] * (np.float32(spot.colour) - soft)
    cv2.resize(np.rint(soft).astype(np.uint8), (width, height), dst=window.pixels, interpolation=cv2.INTER_CUBIC)
    _restore_outside(before, window, outline)


@dataclass(frozen=True)
class Spot:
    """Soft spot of colour: strongest at its centre, invisible beyond about twice its radii."""

    centre: np.ndarray
    radii: tuple[float, float]
    colour: Colour
    strength: float

    def weight(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the share (len(y), len(x)) of the spot's colour."""
        across = np.exp(-(((x - self.centre[0]) / self.radii[0]) ** 2))
        down = np.exp(-(((y - self.centre[1]) / self.radii[1]) ** 2))
        return np.float32(self.strength) * np.multiply.outer(down, across).astype(np.float32)


def _restore_outside(before: np.ndarray, window: Canvas, outline: np.ndarray) -> None:
    """Restore the pixels outside of the outline."""
    mask = np.zeros(before.shape[:2], np.uint8)
    cv2.fillPoly(mask, [window.fixed(outline)], 255, cv2.LINE_AA, SHIFT)
    weight = mask.astype(np.float32) / 255
    window.pixels[...] = cv2.blendLinear(window.pixels, before, weight, 1 - weight)
