"""Draw neck, shoulders and clothes."""

from collections.abc import Callable

import numpy as np

from exprbench.toy_benchmark.paint import (
    Canvas,
    Spot,
    clipped,
    curve,
    darker,
    fill,
    fill_soft,
    lighter,
    mix,
    oval,
    path,
    shifted,
    stroke,
)
from exprbench.toy_benchmark.view import View

# Right halves, from the top; centimetres from the middle of the neck, y up.
SHOULDERS = "4.6 -8.6, 8.5 -10.2, 12.6 -12, 15.2 -15.5, 16.4 -22, 17 -38"
ARM = "11.3 -17.5, 11.9 -21, 11.6 -38"
NECK = "3.8 -6, 4 -7.6"
ROUND = "4.6 -8.8, 3.9 -10.6, 2.2 -11.7, 0 -12"
POINTED = "4.6 -8.4, 3.2 -11.4, 1.4 -14.2, 0 -16.2"
PEARL = (252, 244, 232)


def draw_body(canvas: Canvas, view: View, face: np.ndarray) -> None:
    """Draw shoulders, neck and clothes; the chin casts a shadow on the neck."""
    _shoulders(canvas, view)
    _neck(canvas, view, face)
    STYLES[view.character.clothes][0](canvas, view)


def _on_body(view: View, points: str, side: int = 1) -> np.ndarray:
    """Return pixels (n, 2) of points of the body on the viewer's right or (-1) left, scaled by the person's width."""
    return view.stand(path(points) * (side * view.character.proportions.width / 14.2, 1))


def _both(view: View, right: str, *, smooth: bool = True) -> np.ndarray:
    """Return pixels (n, 2) along a line on the right side and back along its mirror image on the left."""
    sides = [_on_body(view, right, side) for side in (1, -1)]
    return np.concatenate([curve(sides[0]), curve(sides[1])[::-1]] if smooth else [sides[0], sides[1][::-1]])


def _shoulders(canvas: Canvas, view: View) -> None:
    u, top = view.unit, view.character.top
    outline = _both(view, SHOULDERS)
    low, high = outline.min(0), outline.max(0)
    spots = [
        Spot(np.array([high[0], (low[1] + high[1]) / 2]), (9 * u, 30 * u), darker(top, 0.45), 0.8),
        Spot(shifted(low, 7 * u, 4 * u), (5 * u, 4 * u), lighter(top, 0.4), 0.5),
        Spot(np.array([(low[0] + high[0]) / 2 + u, low[1] + u]), (6 * u, 4.5 * u), darker(top, 0.45), 0.6),
    ]
    fill_soft(canvas, outline, top, spots)
    for side in (-1, 1):
        arm = curve(_on_body(view, ARM, side))
        stroke(canvas, arm, (0.02 * u, 0.3 * u, 0.3 * u), darker(top, 0.5), 0.6)


def _neck(canvas: Canvas, view: View, face: np.ndarray) -> None:
    skin, u = view.character.skin, view.unit
    top = view.place(path("-4 -3 -8, 4 -3 -8"))
    outline = np.concatenate([top[1:], _both(view, f"{NECK}, {STYLES[view.character.clothes][1]}"), top[:1]])
    low, high = outline.min(0), outline.max(0)
    shade = Spot(np.array([high[0] - u, (low[1] + high[1]) / 2]), (3 * u, 9 * u), darker(skin, 0.4), 0.6)
    fill_soft(canvas, outline, darker(skin, 0.12), [shade])
    with clipped(canvas, outline) as inside:
        fill(inside, shifted(face, 0.7 * u, 1.5 * u), darker(skin, 0.48), 0.75)


def _bow(view: View, width: float, height: float, depth: float) -> np.ndarray:
    """Return pixels (16, 2) of a round neckline, from the right to the left."""
    angle = np.linspace(0, np.pi, 16)
    wide = width * view.character.proportions.width / 14.2
    return view.stand(np.column_stack([wide * np.cos(angle), height - depth * np.sin(angle)]))


def _sweater(canvas: Canvas, view: View) -> None:
    u, c = view.unit, view.character
    bow = _bow(view, 5.0, -8.6, 3.5)
    stroke(canvas, bow, 1.7 * u, darker(c.top, 0.22))
    stroke(canvas, shifted(bow, 0, -0.12 * u), 1.2 * u, mix(c.top, c.accent, 0.35))
    for point in bow[3:14]:
        half = (point - view.stand(np.array([0, -8]))) * 0.045
        stroke(canvas, np.array([point - half, point + half]), 0.12 * u, darker(c.top, 0.4), 0.6)


def _turtleneck(canvas: Canvas, view: View) -> None:
    u, c = view.unit, view.character
    right, left = (
        _on_body(view, "4.5 -6.6, 4.9 -8.6, 5.6 -10.6, 0 -12.6"),
        _on_body(view, "4.5 -6.6, 4.9 -8.6, 5.6 -10.6", -1),
    )
    shape = curve(np.concatenate([right, left[::-1], _on_body(view, "0 -8.2")]), closed=True)
    fill(canvas, shape, darker(c.top, 0.18))
    fold = curve(_on_body(view, "-5.4 -7.6, 0 -9.4, 5.4 -7.6"), per=8)
    with clipped(canvas, shape) as inside:
        for down in (0.0, 0.9, 1.8):
            stroke(inside, shifted(fold, 0, down * u), (0.05 * u, 0.3 * u, 0.05 * u), darker(c.top, 0.5), 0.55)


def _shirt(canvas: Canvas, view: View) -> None:
    u, c = view.unit, view.character
    fill(canvas, _on_body(view, "-2.3 -13.4, 0 -14.2, 2.3 -13.4, 1.2 -17, -1.2 -17"), c.accent)
    _flaps(canvas, view, "4.2 -7.3, 6.3 -9.2, 5.6 -13.6, 0.8 -15.6, 2.9 -11.2")
    stroke(canvas, _on_body(view, "0 -16, 0 -38"), 0.16 * u, darker(c.top, 0.45))
    for button in _on_body(view, "0.8 -17.4, 0.8 -21, 0.8 -25"):
        fill(canvas, oval(button, 0.4 * u), c.accent)


def _jacket(canvas: Canvas, view: View) -> None:
    u, c = view.unit, view.character
    collar = _both(view, ROUND)
    fill(canvas, np.concatenate([collar, _on_body(view, "-5.4 -8.6, -7 -18, 0 -40, 7 -18, 5.4 -8.6")]), c.accent)
    stroke(canvas, shifted(collar, 0, 0.4 * u), 0.8 * u, darker(c.accent, 0.16))
    _flaps(canvas, view, "4.3 -7.2, 6.6 -8.8, 9.2 -13.8, 7.3 -15.4, 8 -17.2, 2 -32, 3.9 -15, 5.2 -10.4")


def _flaps(canvas: Canvas, view: View, right: str) -> None:
    """Draw the two turned-down sides of a collar or a jacket, and their shadows."""
    u, top = view.unit, view.character.top
    for side in (-1, 1):
        flap = _on_body(view, right, side)
        fill(canvas, shifted(flap, 0.25 * u, 0.45 * u), darker(top, 0.55), 0.5)
        fill(canvas, flap, lighter(top, 0.15) if side < 0 else darker(top, 0.05))


def _cardigan(canvas: Canvas, view: View) -> None:
    u, c = view.unit, view.character
    collar = _both(view, ROUND)
    fill(canvas, np.concatenate([collar, _on_body(view, "-5.8 -8.6, -3.4 -24, 0 -34, 3.4 -24, 5.8 -8.6")]), c.accent)
    stroke(canvas, collar, 0.4 * u, darker(c.accent, 0.2))
    for side in (-1, 1):
        edge = curve(_on_body(view, "5.8 -8.8, 4.6 -15, 2.4 -24, 0.4 -34", side))
        stroke(canvas, edge, 1.2 * u, darker(c.top, 0.2))
    for point in curve(_bow(view, 4.4, -8.8, 5.2))[21:70:8]:
        fill(canvas, oval(point, 0.4 * u), PEARL)
        fill(canvas, oval(shifted(point, 0.08 * u, 0.1 * u), 0.3 * u), darker(PEARL, 0.12), 0.7)


# The function that draws each style over the shoulders, and the right half of its neckline.
STYLES: dict[str, tuple[Callable[[Canvas, View], None], str]] = {
    "sweater": (_sweater, ROUND),
    "turtleneck": (_turtleneck, ROUND),
    "shirt": (_shirt, POINTED),
    "jacket": (_jacket, ROUND),
    "cardigan": (_cardigan, ROUND),
}
