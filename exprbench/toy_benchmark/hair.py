"""Draw six hair styles: the part behind the face, and the part in front of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from exprbench.toy_benchmark.dome import cap, falling, from_face_edge, hanging, shine, skull, strand
from exprbench.toy_benchmark.paint import Canvas, clipped, curve, darker, fill, lighter, oval, shifted, stroke
from exprbench.toy_benchmark.view import View

Draw = Callable[[Canvas, View], None]


def _bob_back(canvas: Canvas, view: View) -> None:
    hair = view.character.hair
    sides = "-3 5 -7, 0.6 2 -6.5, 1.4 -3 -6.5, 1.7 -7.5 -6, 0.8 -10.4 -5, -5 -10 -7"
    fill(canvas, falling(view, sides, 24), darker(hair, 0.45))
    fill(canvas, skull(view, 1.1).outline(view), darker(hair, 0.3))


def _bob_front(canvas: Canvas, view: View) -> None:
    hair, on, u = view.character.hair, skull(view, 1.0), view.unit
    lock = "-3.2 6 -1.8, 0.2 4.4 -5, 1.05 1.5 -5.6, 1.4 -4 -4.6, 1.5 -8 -4.4, 0.2 -10.4 -3.8, -1.5 -9.4 -3"
    lock += ", -0.7 -5.5 -3.2, -0.8 0 -2.6, -2 4 -1.4"
    for side in (-1, 1):
        shape = falling(view, lock, 26, (side,))
        fill(canvas, shape, hair if side < 0 else darker(hair, 0.12))
        with clipped(canvas, shape) as inside:
            for line in ("0.5 2 -4.6, 0.9 -4 -4.6, 0.6 -9 -4", "-0.3 2 -4.6, 0.1 -4 -4.6, -0.2 -9 -4"):
                bend = hanging(view, from_face_edge(view, line, side), 26, closed=False)
                stroke(inside, bend, (0.02 * u, 0.22 * u, 0.02 * u), darker(hair, 0.5), 0.5)
    fringe = "-98 -12, -80 -2, -64 7, -48 12, -26 11, -4 12, 20 10, 44 13, 64 7, 80 -2, 98 -12"
    shape = cap(view, on, fringe)
    fill(canvas, shape, hair)
    with clipped(canvas, shape) as inside:
        shine(inside, view, on, "-62 42, -20 54, 30 52, 64 38", "-62 34, -20 41, 30 40, 64 33")
        for azimuth in (-66, -52, -36, -20, -6, 12, 28, 44, 58, 70):
            line = np.array([(azimuth, 8), (azimuth * 0.93, 32), (azimuth * 0.7, 58)])
            strand(inside, view, on, line, darker(hair, 0.5))


def _curls_back(canvas: Canvas, view: View) -> None:
    hair, outline = view.character.hair, skull(view, 1.7).outline(view)
    for i, point in enumerate(outline[::4]):
        if point[1] < view.centre[1] - 0.5 * view.unit:
            fill(canvas, oval(point, (1.75 + 0.3 * (i % 2)) * view.unit), darker(hair, 0.2))
    fill(canvas, outline, darker(hair, 0.3))


def _curls_front(canvas: Canvas, view: View) -> None:
    hair = view.character.hair
    line = "-96 -2, -78 12, -60 27, -30 34, 0 35, 30 34, 60 27, 78 12, 96 -2"
    fill(canvas, cap(view, skull(view, 0.9), line), hair)
    for row in ((34, 52, 1.25, 8), (22, 74, 0.95, 2), (46, 58, 1.6, 7), (64, 70, 1.8, 5)):
        for point, size in _curls(view, *row):
            fill(canvas, oval(point, size), hair)
    for row in ((42, 56, 0.95, 7), (58, 60, 1.1, 5), (76, 60, 1.1, 3)):
        for i, (point, size) in enumerate(_curls(view, *row)):
            arc = oval(shifted(point, 0, 0.1 * size), size)[26 + i % 3 : 42 + i % 2]
            stroke(canvas, arc, (0.02 * size, 0.22 * size, 0.02 * size), lighter(hair, 0.22), 0.8)


def _curls(view: View, elevation: float, reach: float, size_cm: float, count: int) -> list[tuple[np.ndarray, float]]:
    """Return centres and radii, in pixels, of a row of curls."""
    angles = np.column_stack([np.linspace(-reach, reach, count), np.full(count, elevation)])
    return [(point, size_cm * view.unit) for point in skull(view, 1.2).over(view, angles)]


def _bun_back(canvas: Canvas, view: View) -> None:
    hair, u = view.character.hair, view.unit
    knot = view.place(np.array([(0, view.character.proportions.forehead + 3.6, -7.5)]))[0]
    fill(canvas, oval(knot, 3.3 * u, 2.9 * u), darker(hair, 0.25))
    fill(canvas, oval(shifted(knot, -0.3 * u, -0.2 * u), 2.8 * u, 2.4 * u), hair)
    for turn in (0.35, 0.62, 0.9):
        arc = oval(shifted(knot, 0.5 * u, 0.4 * u), 2.8 * turn * u, 2.4 * turn * u)[24:40]
        stroke(canvas, arc, (0.02 * u, 0.25 * u, 0.02 * u), lighter(hair, 0.3), 0.6)
    fill(canvas, skull(view, 0.8).outline(view), darker(hair, 0.3))


def _bun_front(canvas: Canvas, view: View) -> None:
    hair, on = view.character.hair, skull(view, 0.8)
    line = "-100 -8, -84 2, -66 22, -40 36, -14 42, 4 46, 22 41, 46 34, 68 20, 84 2, 100 -8"
    shape = cap(view, on, line)
    fill(canvas, shape, hair)
    with clipped(canvas, shape) as inside:
        shine(inside, view, on, "-70 40, -40 58, -10 66", "-70 32, -38 47, -10 54")
        for azimuth in (-80, -62, -44, -26, -8, 10, 28, 46, 64, 80):
            low = 26 if abs(azimuth) < 60 else 8
            line = np.array([(azimuth, low), (azimuth * 0.8, 52), (azimuth * 0.4, 80)])
            strand(inside, view, on, line, lighter(hair, 0.2))


def _swept_back(canvas: Canvas, view: View) -> None:
    fill(canvas, skull(view, 0.6).outline(view), darker(view.character.hair, 0.2))


def _swept_front(canvas: Canvas, view: View) -> None:
    hair, u = view.character.hair, view.unit
    line = "-104 -12, -86 -20, -80 0, -70 22, -48 32, -16 36, 16 36, 48 32, 70 22, 80 0, 86 -20, 104 -12"
    fill(canvas, cap(view, skull(view, 0.6), line), darker(hair, 0.22))
    right = "-9.7 3.7 -2.5, -5.5 4.4 -2, -1.6 3.4 -2, 0.3 1 -2.6, -0.5 -1.2 -1.6, -4.1 -0.5 0.6, -7.7 -0.5 1"
    left = "-3.4 -1.3 0.6, -1.3 -2.6 -0.9, -0.2 -0.6 -3, -1.3 2.2 -3"
    top = np.array((0, view.character.proportions.forehead, 0))
    quiff = np.concatenate([from_face_edge(view, right, 1), from_face_edge(view, left, -1)]) + top
    shape = curve(view.place(quiff), closed=True)
    fill(canvas, shape, hair)
    lock = from_face_edge(view, "-1.1 -1.4 0.6, -1.9 1 0.4, -3.8 2.5 -0.4, -6.2 3 -1.4", -1) + top
    with clipped(canvas, shape) as inside:
        for x in (0.0, 2.0, 4.0, 6.0, 8.0):
            line = curve(view.place(lock + np.array((x, 0, 0))))
            stroke(inside, line, (0.02 * u, 0.28 * u, 0.02 * u), lighter(hair, 0.22), 0.6)


def _waves_back(canvas: Canvas, view: View) -> None:
    hair = view.character.hair
    sides = "-3 5 -7, 0.4 3 -6, 1.3 -1 -6, 1.4 -4.5 -6, 2.4 -8 -6, 1.8 -11.5 -6, 2.2 -14 -6, 0.4 -15.5 -6, -2.5 -14 -6"
    fill(canvas, falling(view, sides, 20), darker(hair, 0.3))
    fill(canvas, skull(view, 0.9).outline(view), darker(hair, 0.3))


def _waves_front(canvas: Canvas, view: View) -> None:
    hair, on = view.character.hair, skull(view, 0.9)
    for side in (-1, 1):
        _wavy_lock(canvas, view, side)
    line = "-98 -14, -84 -6, -68 10, -48 26, -24 40, -4 34, 22 26, 48 16, 68 4, 84 -8, 98 -14"
    shape = cap(view, on, line)
    fill(canvas, shape, hair)
    with clipped(canvas, shape) as inside:
        shine(inside, view, on, "0 62, 30 56, 66 38", "0 51, 30 45, 66 28")
        for end, low in ((-86, 0), (-70, 14), (-52, 29), (4, 37), (28, 30), (50, 22), (70, 10), (86, 0)):
            parting = np.array([(-22, 74), (end * 0.75 - 4, (low + 74) / 2), (end, low)])
            strand(inside, view, on, parting, darker(hair, 0.4))


def _wavy_lock(canvas: Canvas, view: View, side: int) -> None:
    hair, u = view.character.hair, view.unit
    lock = "-3.6 6.2 -2.4, 0.2 4 -4.5, 1 0.6 -4.8, 0.9 -3.5 -4.5, 1.9 -7.5 -4.5, 1.2 -11 -4.5, 1.6 -14 -4.5"
    lock += ", -0.6 -15.2 -4, -1.2 -11.5 -3.8, 0.1 -8 -3.8, -0.9 -4 -3.4, -0.6 0 -3"
    shape = falling(view, lock, 20, (side,))
    fill(canvas, shape, hair if side < 0 else darker(hair, 0.1))
    wave = from_face_edge(view, "-0.5 2 -4, -0.5 -3 -4, 0.4 -7.5 -4, -0.4 -11.5 -4, 0.1 -15 -4", side)
    with clipped(canvas, shape) as inside:
        for x, shade in ((0.0, darker(hair, 0.4)), (0.7, lighter(hair, 0.5))):
            bend = hanging(view, wave + np.array((side * x, 0, 0)), 20, closed=False)
            stroke(inside, bend, (0.02 * u, 0.28 * u, 0.02 * u), shade, 0.6)


def _scarf_back(canvas: Canvas, view: View) -> None:
    fill(canvas, skull(view, 1.0).outline(view), darker(view.character.hair, 0.2))


def _scarf_middle(canvas: Canvas, view: View) -> None:
    """Draw the part of the scarf around the neck and on the shoulders, under the chin."""
    cloth, u = view.character.hair, view.unit
    sides = "-3 5 -6, 0.6 2.5 -5.5, 1.2 -2 -5, 0.9 -7 -4.5, 1.2 -10.5 -4, 3.2 -14.5 -3, -1 -18 -2, -5.5 -19.5 -1"
    shape = falling(view, sides, 13)
    fill(canvas, shape, darker(cloth, 0.12))
    left, right = from_face_edge(view, "1 -4 -4, -4 -10.6 -1", -1), from_face_edge(view, "-6 -12.4 -1, 0.6 -8.5 -4", 1)
    with clipped(canvas, shape) as inside:
        for drop in (0.0, 1.7, 3.4, 5.2):
            fold = np.concatenate([left, right]) - (0, drop, 0)
            line = hanging(view, fold, 13, closed=False)
            stroke(inside, line, (0.05 * u, 0.42 * u, 0.05 * u), darker(cloth, 0.42), 0.6)
            light = shifted(line, 0, 0.4 * u)
            stroke(inside, light, (0.02 * u, 0.3 * u, 0.02 * u), lighter(cloth, 0.3), 0.45)


def _scarf_front(canvas: Canvas, view: View) -> None:
    cloth, on = view.character.hair, skull(view, 1.0)
    edge = "-3 5.5 -1.6, 0.5 3 -5, 1.2 -1 -5, 0.9 -6 -4.6, -1.2 -9.5 -4, -1.9 -8.2 -2.8, -0.8 -4.2 -3.2"
    edge += ", -1 0.5 -2.8, -2.2 4 -1.4"
    for side in (-1, 1):
        fill(canvas, falling(view, edge, 26, (side,)), cloth if side < 0 else darker(cloth, 0.12))
    band = "-98 -12, -86 -4, -70 14, -46 27, -16 32, 16 32, 46 27, 70 14, 86 -4, 98 -12"
    shape = cap(view, on, band)
    fill(canvas, shape, cloth)
    with clipped(canvas, shape) as inside:
        shine(inside, view, on, "-62 52, -20 64, 30 58", "-60 42, -20 52, 30 47")
        for fold in (
            "-92 3, -50 35, 0 42, 50 38, 90 16",
            "-86 9, -50 43, 0 54, 50 48, 90 28",
            "-80 16, -50 53, 0 68, 50 59, 90 42",
        ):
            strand(inside, view, on, fold, darker(cloth, 0.45))


@dataclass(frozen=True)
class Style:
    """Hair style: functions that draw it behind the person, over the face and over the clothes; whether ears show."""

    back: Draw
    front: Draw
    middle: Draw | None = None
    ears: bool = False


STYLES: dict[str, Style] = {
    "bob": Style(_bob_back, _bob_front),
    "curls": Style(_curls_back, _curls_front, ears=True),
    "bun": Style(_bun_back, _bun_front, ears=True),
    "swept": Style(_swept_back, _swept_front, ears=True),
    "waves": Style(_waves_back, _waves_front),
    "scarf": Style(_scarf_back, _scarf_front, _scarf_middle),
}
