"""Draw ears, earrings, glasses, and the book that hides a face."""

import numpy as np

from exprbench.toy_benchmark.paint import Canvas, Colour, curve, darker, fill, lighter, oval, path, shifted, stroke
from exprbench.toy_benchmark.view import View

GOLD: Colour = (226, 168, 58)
FRAME: Colour = (70, 44, 48)
RED: Colour = (190, 84, 74)
PAPER: Colour = (248, 238, 220)

# Centimetres outwards and up from the base of the ear.
EAR = "0 0.6, 0.7 1.5, 1.7 1.5, 2.1 0.2, 1.6 -1.8, 0.9 -3.4, 0.2 -3.6, 0 -2.4"
INNER_EAR = "0.5 0.5, 1.2 0.8, 1.4 -0.1, 1 -1.6, 0.6 -1.9"
LOBE = "0.5 -3.4"
# The viewer's right half of the book, centimetres from the middle of its spine, y down.
COVER = "0 -5.9, 5.6 -6.6, 8.4 -6.4, 8.4 8.6, 5.6 8.4, 0 9.1"
PLATE = "-6.6 -3.6, -1.8 -3.2, -1.8 0.6, -6.6 0.2"


def draw_ear(canvas: Canvas, view: View, side: int) -> None:
    """Draw the person's right (0) or left (1) ear, with a gold hoop if the person wears earrings."""
    u, skin = view.unit, view.character.skin
    fill(canvas, curve(_on_ear(view, EAR, side), closed=True), darker(skin, 0.08 if side == 0 else 0.22))
    fill(canvas, curve(_on_ear(view, INNER_EAR, side), closed=True), darker(skin, 0.42), 0.7)
    if "earrings" in view.character.wears:
        ring = oval(shifted(_on_ear(view, LOBE, side)[0], 0, 0.75 * u), 0.65 * u, 0.85 * u)
        stroke(canvas, np.vstack([ring, ring[:1]]), 0.28 * u, GOLD)


def _on_ear(view: View, points: str, side: int) -> np.ndarray:
    out, up = path(points).T
    x = view.character.proportions.width / 2 - 0.75 + 0.8 * out
    return view.place(np.column_stack([x if side else -x, up - 0.8, -5.2 - 0.55 * out]))


def draw_glasses(canvas: Canvas, view: View) -> None:
    """Draw round glasses in front of the eyes."""
    u, p = view.unit, view.character.proportions
    x, z = (p.eye_gap + p.eye_width) / 2, 0.9
    for s in (-1, 1):
        ring = oval(np.array([s * x, -0.15]), 2.55, 2.4)
        rim = view.place(np.column_stack([ring, z - 0.12 * np.abs(ring[:, 0])]))
        fill(canvas, rim, (255, 255, 255), 0.1)
        glint = view.place(np.array([(s * x - 1.5, 1.1, z), (s * x - 0.5, 1.7, z)]))
        stroke(canvas, glint, (0.05 * u, 0.3 * u, 0.05 * u), (255, 255, 255), 0.6)
        stroke(canvas, np.vstack([rim, rim[:1]]), 0.3 * u, FRAME)
        arm = np.array([(s * (x + 2.5), 0.3, z - 0.5), (s * (p.width / 2 + 0.1), 0.2, -4)])
        stroke(canvas, view.place(arm), 0.3 * u, FRAME)
    bridge = np.array([(-x + 2.5, 0.1, z), (0, 0.55, z + 0.1), (x - 2.5, 0.1, z)])
    stroke(canvas, curve(view.place(bridge)), 0.3 * u, FRAME)


def draw_book(canvas: Canvas, view: View) -> None:
    """Draw an open book, seen from its covers, and the hands that hold it; it covers the face."""
    u, accent = view.unit, view.character.accent
    cover = RED if sum(accent) > 600 else darker(accent, 0.15)
    middle = shifted(view.centre, 0, -1.4 * u)
    for s in (-1, 1):
        half = u * path(COVER) * (s, 1)
        fill(canvas, middle + half * (0.97, 1.02) - (0, 0.2 * u), PAPER)
        fill(canvas, middle + half, cover if s < 0 else darker(cover, 0.16))
    stroke(canvas, middle + u * path("0 -5.9, 0 9.1"), 0.9 * u, darker(cover, 0.35))
    fill(canvas, curve(middle + u * path(PLATE), closed=True), lighter(cover, 0.6))
    for s in (-1, 1):
        skin = darker(view.character.skin, 0.2 if s > 0 else 0.08)
        for k, length in enumerate((1.65, 1.9, 1.65, 1.4)):
            knuckle = middle + u * np.array([s * 8.3, 3.0 + 1.25 * k])
            finger = np.array([shifted(knuckle, 0.4 * s * u, 0.1 * u), shifted(knuckle, -s * length * u, 0)])
            stroke(canvas, finger, 1.15 * u, skin)
            fill(canvas, oval(finger[1], 0.57 * u), skin)
