"""The rounded volumes hair is made of, and lines on them: fixed to the head, seen from any side."""

from dataclasses import dataclass

import numpy as np

from exprbench.demo.paint import Canvas, Colour, curve, fill, lighter, path, stroke
from exprbench.demo.view import View

NUM_OUTLINE = 72


@dataclass(frozen=True)
class Dome:
    """An ellipsoid fixed to the head: its centre and radii in the head's frame, centimetres.

    Places on it are azimuths to the viewer's right and elevations, in degrees.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def outline(self, view: View) -> np.ndarray:
        """(72, 2) pixels of its silhouette, anticlockwise as seen, from the right."""
        angle = np.linspace(0, 2 * np.pi, NUM_OUTLINE, endpoint=False)[:, None]
        away = self._nearest(view)
        across = np.cross((0.0, 1.0, 0.0), away)
        across /= np.linalg.norm(across)
        return self._pixels(view, np.cos(angle) * across + np.sin(angle) * np.cross(away, across))

    def over(self, view: View, places: np.ndarray) -> np.ndarray:
        """(n, 2) pixels of places (n, 2); hidden ones come to lie on the silhouette."""
        units, nearest = _units(places), self._nearest(view)
        hidden = units @ nearest < 0
        units[hidden] -= np.outer(units[hidden] @ nearest, nearest)
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        return self._pixels(view, units)

    def shown(self, view: View, places: np.ndarray) -> np.ndarray:
        """(m, 2) those of the places that are on the near side."""
        return places[_units(places) @ self._nearest(view) >= 0]

    def _nearest(self, view: View) -> np.ndarray:
        """(3,) what is nearest to the viewer, on the unit sphere the ellipsoid is made from."""
        nearest = view.rotation[2] / self.radii
        return nearest / np.linalg.norm(nearest)

    def _pixels(self, view: View, units: np.ndarray) -> np.ndarray:
        return view.place(self.centre + units * self.radii)


def _units(places: np.ndarray) -> np.ndarray:
    azimuth, elevation = np.radians(places).T
    return np.column_stack(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )


def skull(view: View, volume: float) -> Dome:
    """Somebody's skull with hair of some volume in centimetres on it."""
    p = view.character.proportions
    return Dome((0, 1.8, -6.4), (p.width / 2 + volume, p.forehead + 0.4 + volume, 7.6 + volume))


def cap(view: View, on: Dome, hairline: str) -> np.ndarray:
    """Outline of the hair between a hairline, from the viewer's left to the right, and the silhouette above it."""
    line = on.over(view, on.shown(view, curve(path(hairline), per=8)))
    outline = on.outline(view)
    right, left = (int(np.linalg.norm(outline - end, axis=1).argmin()) for end in (line[-1], line[0]))
    right = right - NUM_OUTLINE if right > 3 * NUM_OUTLINE // 4 else right
    left = left + NUM_OUTLINE if left < NUM_OUTLINE // 4 else left
    return np.concatenate([line, outline[np.arange(right, left + 1) % NUM_OUTLINE]])


def falling(view: View, outline: str, length_cm: float, sides: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    """Smooth closed shape of hair that hangs down both sides of the head, or of a lock that hangs on one.

    Args:
        outline: points of the viewer's right half in the head's frame, x from the edge of the face.
        length_cm: what is so far below the eyes hangs on the body, what is higher goes with the head in part.
    """
    half = beside(view, outline, 1)
    points = np.concatenate([half[:: s * sides[0]] * (s, 1, 1) for s in sides])
    return hanging(view, points, length_cm)


def beside(view: View, points: str, side: int) -> np.ndarray:
    """(n, 3) points in the head's frame whose x is given from the edge of the face, on the right or (-1) the left."""
    edge = np.array((view.character.proportions.width / 2, 0, 0))
    return (path(points) + edge) * (side, 1, 1)


def hanging(view: View, points: np.ndarray, length_cm: float, *, closed: bool = True) -> np.ndarray:
    """Smooth line in pixels through points (n, 3) in the head's frame, the more of the body the lower they are."""
    return curve(view.hang(points, np.clip(-points[:, 1] / length_cm, 0, 1)), closed=closed)


def strand(canvas: Canvas, view: View, on: Dome, places: str | np.ndarray, colour: Colour) -> None:
    """A tapered line through places on a dome."""
    u = view.unit
    line = on.over(view, curve(path(places) if isinstance(places, str) else places, per=8))
    stroke(canvas, line, (0.02 * u, 0.2 * u, 0.16 * u, 0.02 * u), colour, 0.55)


def shine(canvas: Canvas, view: View, on: Dome, upper: str, lower: str) -> None:
    """A band of light between two lines on a dome."""
    a, b = (on.over(view, curve(path(line), per=8)) for line in (upper, lower))
    fill(canvas, np.concatenate([a, b[::-1]]), lighter(view.character.hair, 0.4), 0.4)
