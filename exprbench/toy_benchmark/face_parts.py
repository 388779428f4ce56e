"""Draw skin, brows, eyes, nose and mouth from the landmarks of a face."""

import cv2
import numpy as np

from exprbench.toy_benchmark.head import forehead
from exprbench.toy_benchmark.mesh import (
    IRISES,
    LIPS,
    LOWER_BROW,
    LOWER_LID,
    NUM_MESH,
    OVAL,
    UPPER_BROW,
    UPPER_LID,
    WING,
)
from exprbench.toy_benchmark.paint import (
    WHITE,
    Canvas,
    Colour,
    Spot,
    clipped,
    curve,
    darker,
    fill,
    fill_soft,
    lighter,
    mix,
    oval,
    shifted,
    stroke,
)
from exprbench.toy_benchmark.view import View

INK: Colour = (58, 34, 38)
CHEEKS = (50, 280)
BLUSH: Colour = (226, 94, 84)
MOUTH: Colour = (98, 28, 36)


def face_outline(view: View) -> np.ndarray:
    """Return the smooth outline (n, 2) of the face's skin: the smoothed convex hull of its points."""
    skin = np.vstack([view.points[:NUM_MESH], view.place(forehead(view.character.proportions))])
    hull = cv2.convexHull(skin.astype(np.float32))[:, 0].astype(np.float64)
    ring = np.vstack([hull, hull[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
    even = np.linspace(0, length[-1], 48, endpoint=False)
    points = np.column_stack([np.interp(even, length, ring[:, i]) for i in (0, 1)])
    for _ in range(2):
        points = 0.5 * points + 0.25 * (np.roll(points, 1, 0) + np.roll(points, -1, 0))
    return curve(points, closed=True, per=3)


def draw_skin(canvas: Canvas, view: View, outline: np.ndarray) -> None:
    """Draw the skin with soft light from the upper left, and its shadows."""
    u, skin = view.unit, view.character.skin
    low, high = outline.min(0), outline.max(0)
    shadow, deep, light = darker(skin, 0.3), darker(skin, 0.5), lighter(skin, 0.5)
    eyes = [view.points[[*UPPER_LID[i], *LOWER_LID[i]]].mean(0) for i in (0, 1)]
    right_side = np.array([high[0] + 0.6 * u, (low[1] + high[1]) / 2])
    blush = mix(skin, BLUSH, 0.55)
    spots = [
        Spot(right_side, (4.0 * u, 12 * u), shadow, 0.9),
        Spot(np.array([low[0] - 1.2 * u, right_side[1]]), (2.4 * u, 12 * u), shadow, 0.5),
        Spot(np.array([right_side[0] - 6 * u, high[1] + 0.8 * u]), (7 * u, 2.2 * u), shadow, 0.8),
        Spot(np.array([right_side[0] - 6 * u, low[1]]), (8 * u, 2.6 * u), deep, 0.55),
        *(Spot(shifted(eye, 0, -0.2 * u), (2.4 * u, 1.3 * u), shadow, 0.35) for eye in eyes),
        Spot(view.points[2] + (0, 0.7 * u), (1.7 * u, 0.7 * u), shadow, 0.6),
        Spot(view.points[17] + (0.2 * u, 0.75 * u), (1.8 * u, 0.55 * u), shadow, 0.6),
        Spot(view.points[151] + (-1.2 * u, 0.4 * u), (3.4 * u, 1.8 * u), light, 0.35),
        Spot(view.points[152] + (-0.3 * u, -1.4 * u), (1.6 * u, 0.9 * u), light, 0.25),
    ]
    for cheek, away in zip(CHEEKS, (-1, 1), strict=True):
        centre = view.points[cheek] + (0.3 * away * u, 0.5 * u)
        strength = (0.62 if "blush" in view.character.wears else 0.34) * (0.3 + 0.7 * max(skin) / 255)
        spots.append(Spot(centre, (1.75 * u, 1.25 * u), blush, strength + 0.2 * view.value("mouthSmile")))
    fill_soft(canvas, outline, skin, spots)
    if "freckles" in view.character.wears:
        _freckles(canvas, view)


JAW = OVAL[9:28]
BEARD = {"beard": 0.94, "stubble": 0.3}


def draw_beard(canvas: Canvas, view: View, outline: np.ndarray) -> None:
    """Draw a beard or stubble along the jaw and around the mouth, which is drawn over it."""
    p, u = view.points, view.unit
    outer = p[list(JAW)] + 0.22 * u * _unit(p[list(JAW)] - p[4])
    left, right = (
        np.array(
            [
                0.88 * p[ear] + 0.12 * p[cheek],
                0.66 * p[jaw] + 0.34 * p[cheek],
                0.36 * p[jaw] + 0.26 * p[cheek] + 0.38 * p[corner],
                0.66 * p[corner] + 0.34 * p[wing] + u * np.array([away * 0.5, 0.1]),
                0.42 * p[corner] + 0.58 * p[wing] + u * np.array([0, 0.45]),
            ]
        )
        for ear, jaw, cheek, corner, wing, away in ((93, 58, 205, 61, 98, -1), (323, 288, 425, 291, 327, 1))
    )
    middle = 0.6 * p[2] + 0.4 * p[0]
    inner = np.vstack([left, middle, right[::-1]])
    inner = np.vstack([inner[:1], (inner[1:] + inner[:-1]) / 2, inner[-1:]])
    shape = np.vstack([curve(outer), curve(inner)])
    colour = view.character.hair
    strength = next(BEARD[name] for name in BEARD if name in view.character.wears)
    if strength < 0.5:
        with clipped(canvas, outline) as inside:
            fill(inside, shape, colour, strength)
    else:
        fill(canvas, shape, colour, strength)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


FRECKLES = (50, 101, 118, 117, 36, 205, 280, 330, 347, 346, 266, 425, 197, 195, 100, 329, 123, 352)


def _freckles(canvas: Canvas, view: View) -> None:
    for i, point in enumerate(view.at(*FRECKLES)):
        fill(canvas, oval(point, view.unit * (0.1 + 0.03 * (i % 3))), darker(view.character.skin, 0.45), 0.55)


def draw_brow(canvas: Canvas, view: View, side: int) -> None:
    """Draw one brow, thicker at its inner end."""
    ring = np.concatenate([view.at(*UPPER_BROW[side]), view.at(*LOWER_BROW[side][::-1])])
    fill(canvas, curve(ring, closed=True), view.character.brows)


def draw_eye(canvas: Canvas, view: View, side: int) -> None:
    """Draw one eye: eyeball and iris as far as the lids are open, lids and lashes."""
    upper, lower = _lids(view, side)
    top, bottom = curve(upper), curve(lower)
    u, skin, width = view.unit, view.character.skin, np.linalg.norm(upper[0] - upper[-1])
    openness = np.linalg.norm(upper - lower, axis=1).max() / max(width, 1e-6)
    down = _down(view)
    crease = top - down * u * (0.26 + 0.55 * openness)
    crease[0], crease[-1] = top[0], top[-1] - down * 0.1 * u
    lid = darker(skin, 0.22) if "lashes" not in view.character.wears else mix(darker(skin, 0.22), BLUSH, 0.16)
    fill(canvas, np.concatenate([top, crease[::-1]]), lid, 0.55)
    stroke(canvas, crease[5:-3], (0.03 * u, 0.13 * u, 0.03 * u), darker(skin, 0.6), 0.7)
    if openness > 0.03:
        outline = np.concatenate([top, bottom[::-1]])
        with clipped(canvas, outline) as inside:
            _eyeball(inside, view, side, outline, top)
    _lashes(canvas, view, top, bottom, openness)


def _down(view: View) -> np.ndarray:
    """Return the unit vector (2,) down the face, in the image."""
    axis = -view.rotation[:2, 1] * (1, -1)
    return axis / np.linalg.norm(axis)


def _lids(view: View, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return both lids (9, 2), limited so that they do not cross."""
    upper, lower, down = view.at(*UPPER_LID[side]), view.at(*LOWER_LID[side]), _down(view)
    crossed = np.minimum((lower - upper) @ down, 0)[:, None] * down
    return upper + crossed, lower


def _eyeball(inside: Canvas, view: View, side: int, outline: np.ndarray, top: np.ndarray) -> None:
    u, colour = view.unit, view.character.eyes
    centre, right, up, left, down = view.at(*IRISES[side])
    across, high = (right - left) / 2, (up - down) / 2
    fill(inside, oval(outline.mean(0), 6 * u), WHITE)
    fill(inside, oval(centre, across, high), darker(colour, 0.75))
    fill(inside, oval(centre, 0.86 * across, 0.86 * high), colour)
    fill(inside, oval(centre - 0.3 * high, 0.6 * across, 0.5 * high), lighter(colour, 0.45), 0.75)
    fill(inside, oval(centre, 0.46 * across, 0.46 * high), (26, 18, 22))
    stroke(inside, top + _down(view) * 0.16 * u, 0.42 * u, (70, 44, 58), 0.32)
    size = np.linalg.norm(high)
    fill(inside, oval(centre + size * np.array([-0.34, -0.38]), 0.27 * size), (255, 255, 255))
    fill(inside, oval(centre + size * np.array([0.36, 0.4]), 0.13 * size), (255, 255, 255), 0.8)


def _lashes(canvas: Canvas, view: View, top: np.ndarray, bottom: np.ndarray, openness: float) -> None:
    u, skin = view.unit, view.character.skin
    long = "lashes" in view.character.wears
    away = (top[0] - top[-1]) / max(np.linalg.norm(top[0] - top[-1]), 1e-6)
    flick = top[0] + u * (0.42 * away + (0.2 - 0.5 * min(1, 2.5 * openness)) * _down(view)) if long else top[0]
    line = np.vstack([flick, top[1:]]) if long else top
    stroke(canvas, bottom[3:-2], (0.1 * u, 0.06 * u, 0.02 * u), darker(skin, 0.75), 0.6)
    widths = (0.04, 0.36, 0.34, 0.27, 0.2, 0.08) if long else (0.1, 0.22, 0.24, 0.2, 0.15, 0.06)
    stroke(canvas, line, tuple(w * u for w in widths), INK)


def draw_nose(canvas: Canvas, view: View) -> None:
    """Draw the nose: a shadow on its right, its underside, its nostrils, and a highlight on its tip."""
    u, skin = view.unit, view.character.skin
    bridge = 0.5 * (view.points[197] + view.points[195])
    side = curve(np.vstack([bridge, view.at(195, 5, 4, 1, 2, 327, 294, 278, 344, 420)]), closed=True)
    fill(canvas, side, darker(skin, 0.34), 0.22)
    under = curve(view.at(64, 98, 97, 2, 326, 327, 294))
    tip = curve(np.vstack([view.at(64, 98), view.at(97, 2, 326) * 0.7 + view.at(1) * 0.3, view.at(327, 294)]))
    fill(canvas, np.concatenate([under, tip[::-1]]), darker(skin, 0.42), 0.6)
    for nostril in ((98, 97), (327, 326)):
        a, b = view.at(*nostril)
        middle = 0.8 * (a + b) / 2 + 0.2 * view.points[1]
        fill(canvas, oval(middle, (b - a) * 0.42, _down(view) * 0.14 * u), darker(skin, 0.95), 0.8)
    for wing in (0, 1):
        line = curve(view.at(*WING[wing][2:6]))
        stroke(canvas, line, (0.02 * u, 0.15 * u, 0.1 * u, 0.03 * u), darker(skin, 0.6), 0.7)
    light = view.points[4] + u * np.array([-0.22, -0.12])
    fill(canvas, oval(light, 0.36 * u, 0.26 * u), lighter(skin, 0.5), 0.5)


def draw_mouth(canvas: Canvas, view: View) -> None:
    """Draw the lips, and teeth and tongue if the mouth is open."""
    rows = [view.at(*row) for row in LIPS]
    down, u = _down(view), view.unit
    rows[2] = rows[2] - np.minimum((rows[2] - rows[1]) @ down, 0)[:, None] * down
    top, inner_top, inner_bottom, bottom = (curve(row) for row in rows)
    lips, skin = view.character.lips, view.character.skin
    _smile_lines(canvas, view)
    fill(canvas, np.concatenate([inner_bottom, bottom[::-1]]), lighter(lips, 0.12))
    gap = float(((inner_bottom - inner_top) @ down).max()) / u
    if gap > 0.12:
        with clipped(canvas, np.concatenate([inner_top, inner_bottom[::-1]])) as inside:
            _inside_mouth(inside, view, inner_top, inner_bottom, gap)
    fill(canvas, np.concatenate([top, inner_top[::-1]]), darker(lips, 0.2))
    if gap <= 0.12:
        seam = (inner_top + inner_bottom) / 2
        stroke(canvas, seam, (0.05 * u, 0.15 * u, 0.15 * u, 0.05 * u), darker(lips, 0.95), 0.85)
    shine = curve((0.55 * rows[2] + 0.45 * rows[3])[3:8]) - (0.25 * u, 0)
    stroke(canvas, shine, (0.02 * u, 0.22 * u, 0.02 * u), lighter(lips, 0.7), 0.5)
    for corner, away in ((rows[0][0], -1), (rows[0][-1], 1)):
        fill(canvas, oval(shifted(corner, 0.1 * away * u, 0), 0.22 * u, 0.18 * u), darker(skin, 0.5), 0.3)


def _inside_mouth(inside: Canvas, view: View, top: np.ndarray, bottom: np.ndarray, gap: float) -> None:
    """Draw the mouth cavity, the tongue and the upper teeth, whose edge bends with the corners of the mouth."""
    u, down, middle = view.unit, _down(view), len(top) // 2
    fill(inside, np.concatenate([top, bottom[::-1]]), MOUTH)
    tongue = bottom[middle] - down * u * (0.42 * gap - 0.25)
    fill(inside, oval(tongue, (top[-1] - top[0]) * 0.3, down * u * 0.45 * gap), (214, 96, 98))
    smile = float((top[middle] - (top[0] + top[-1]) / 2) @ down) / u
    shown = max(0.0, 1 - view.value("mouthPucker") - view.value("mouthFunnel"))
    across = np.linspace(-1, 1, 15)[:, None]
    edge = top[middle] + across * (top[-1] - top[0]) / 2
    edge = edge + down * u * (shown * min(0.66, 0.6 * gap + 0.04) - max(0.0, smile) * 0.75 * across**2)
    if shown * gap > 0.12:
        fill(inside, np.concatenate([edge - down * 2 * u, edge[::-1]]), WHITE)
    stroke(inside, top + down * 0.05 * u, 0.2 * u, MOUTH, 0.3)


def _smile_lines(canvas: Canvas, view: View) -> None:
    """Draw the folds from the nose to the corners of the mouth: in a smile, and always in an older face."""
    u = view.unit
    if "beard" in view.character.wears:
        return
    for side, (wing, corner, away) in enumerate(((48, 61, -1), (278, 291, 1))):
        smile = view.blendshapes[45 - side]
        strength = min(1, 0.7 * float(smile) + (0.5 if "lines" in view.character.wears else 0))
        start, end = view.points[wing] + (0.5 * away * u, 0.1 * u), view.points[corner] + (0.9 * away * u, -0.5 * u)
        line = curve(np.array([start, 0.55 * start + 0.45 * end + (0.45 * away * u, -0.2 * u), end]), per=8)
        stroke(canvas, line[:13], (0.02 * u, 0.2 * u, 0.02 * u), darker(view.character.skin, 0.42), 0.5 * strength)


def draw_features(canvas: Canvas, view: View) -> None:
    """Draw nose, mouth, eyes and brows."""
    draw_nose(canvas, view)
    draw_mouth(canvas, view)
    for side in (0, 1):
        draw_eye(canvas, view, side)
    for side in (0, 1):
        draw_brow(canvas, view, side)
