"""Ellipsoids that hair is drawn on, and lines on them; fixed to the head and visible from any side."""

from dataclasses import dataclass

import numpy as np

from exprbench.toy_benchmark.paint import Canvas, Colour, curve, fill, lighter, path, stroke
from exprbench.toy_benchmark.view import View

NUM_OUTLINE = 72


@dataclass(frozen=True)
class Dome:
    """Ellipsoid fixed to the head: centre and radii in the head's frame, in centimetres.

    Points on it are given as azimuth to the viewer's right and elevation, in degrees.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def outline(self, view: View) -> np.ndarray:
        """Return pixels (72, 2) of the silhouette, anticlockwise from the right."""
        angle = np.linspace(0, 2 * np.pi, NUM_OUTLINE, endpoint=False)[:, None]
        away = self._nearest(view)
        across = np.cross((0.0, 1.0, 0.0), away)
        across /= np.linalg.norm(across)
        return self._pixels(view, np.cos(angle) * across + np.sin(angle) * np.cross(away, across))

    def over(self, view: View, angles: np.ndarray) -> np.ndarray:
        """Return pixels (n, 2) of points at angles (n, 2); hidden points are moved to the silhouette."""
        units, nearest = _units(angles), self._nearest(view)
        hidden = units @ nearest < 0
        units[hidden] -= np.outer(units[hidden] @ nearest, nearest)
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        return self._pixels(view, units)

    def shown(self, view: View, angles: np.ndarray) -> np.ndarray:
        """Return the angles (m, 2) of the points on the near side."""
        return angles[_units(angles) @ self._nearest(view) >= 0]

    def _nearest(self, view: View) -> np.ndarray:
        """Return the point (3,) nearest to the viewer, on the unit sphere that is scaled to the ellipsoid."""
        nearest = view.rotation[2] / self.radii
        return nearest / np.linalg.norm(nearest)

    def _pixels(self, view: View, units: np.ndarray) -> np.ndarray:
        return view.place(self.centre + units * self.radii)


def _units(angles: np.ndarray) -> np.ndarray:
    azimuth, elevation = np.radians(angles).T
    return np.column_stack(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )


def skull(view: View, volume: float) -> Dome:
    """Return the ellipsoid of a person's skull with hair of `volume` centimetres."""
    p = view.character.proportions
    return Dome((0, 1.8, -6.4), (p.width / 2 + volume, p.forehead + 0.4 + volume, 7.6 + volume))


def cap(view: View, on: Dome, hairline: str) -> np.ndarray:
    """Return the outline of the hair between a hairline (from the viewer's left to right) and the silhouette above."""
    line = on.over(view, on.shown(view, curve(path(hairline), per=8)))
    outline = on.outline(view)
    right, left = (int(np.linalg.norm(outline - end, axis=1).argmin()) for end in (line[-1], line[0]))
    right = right - NUM_OUTLINE if right > 3 * NUM_OUTLINE // 4 else right
    left = left + NUM_OUTLINE if left < NUM_OUTLINE // 4 else left
    return np.concatenate([line, outline[np.arange(right, left + 1) % NUM_OUTLINE]])


def falling(view: View, outline: str, length_cm: float, sides: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    """Return the smooth closed shape of hair that hangs down on both sides of the head, or on one.

    Args:
        outline: points of the viewer's right half in the head's frame, x from the edge of the face.
        length_cm: distance below the eyes at which hair moves with the body; above, it moves partly with the head.
    """
    half = from_face_edge(view, outline, 1)
    points = np.concatenate([half[:: s * sides[0]] * (s, 1, 1) for s in sides])
    return hanging(view, points, length_cm)


def from_face_edge(view: View, points: str, side: int) -> np.ndarray:
    """Return points (n, 3) in the head's frame from x relative to the edge of the face, on the right or (-1) left."""
    edge = np.array((view.character.proportions.width / 2, 0, 0))
    return (path(points) + edge) * (side, 1, 1)


def hanging(view: View, points: np.ndarray, length_cm: float, *, closed: bool = True) -> np.ndarray:
    """Return a smooth line in pixels through points (n, 3) in the head's frame; low points move more with the body."""
    return curve(view.hang(points, np.clip(-points[:, 1] / length_cm, 0, 1)), closed=closed)


def strand(canvas: Canvas, view: View, on: Dome, angles: str | np.ndarray, colour: Colour) -> None:
    """Draw a tapered line through angles on a dome."""
    u = view.unit
    line = on.over(view, curve(path(angles) if isinstance(angles, str) else angles, per=8))
    stroke(canvas, line, (0.02 * u, 0.2 * u, 0.16 * u, 0.02 * u), colour, 0.55)


def shine(canvas: Canvas, view: View, on: Dome, upper: str, lower: str) -> None:
    """Draw a highlight between two lines on a dome."""
    a, b = (on.over(view, curve(path(line), per=8)) for line in (upper, lower))
    fill(canvas, np.concatenate([a, b[::-1]]), lighter(view.character.hair, 0.4), 0.4)
