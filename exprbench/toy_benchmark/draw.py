"""Draw a frame: the background, then every person from the back to the front."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from exprbench.toy_benchmark.accessories import draw_book, draw_ear, draw_glasses
from exprbench.toy_benchmark.cast import Backdrop
from exprbench.toy_benchmark.clothes import draw_body
from exprbench.toy_benchmark.face_parts import BEARD, draw_beard, draw_features, draw_skin, face_outline
from exprbench.toy_benchmark.hair import STYLES
from exprbench.toy_benchmark.paint import Canvas, fill, lighter, oval
from exprbench.toy_benchmark.view import View

OVERSAMPLING = 2


def draw(views: Sequence[View], size: tuple[int, int], backdrop: Backdrop) -> np.ndarray:
    """Return an (H, W, 3) uint8 RGB frame of `size` (width, height); views are in pixels times `OVERSAMPLING`."""
    canvas = Canvas(_background(size, backdrop).copy())
    for view in views:
        draw_person(canvas, view)
    return cv2.resize(canvas.pixels, size, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=16)
def _background(size: tuple[int, int], backdrop: Backdrop) -> np.ndarray:
    """Return a wall with a vertical gradient and a large pale disc."""
    width, height = size[0] * OVERSAMPLING, size[1] * OVERSAMPLING
    share = np.linspace(0, 1, height)[:, None, None]
    top, bottom = (np.array(c, np.float64) for c in backdrop)
    wall = Canvas(np.rint(np.broadcast_to(top + (bottom - top) * share, (height, width, 3))).astype(np.uint8))
    for radius, alpha in ((0.52, 0.35), (0.43, 0.4)):
        centre = np.array([width / 2, 0.5 * height])
        fill(
            wall,
            oval(centre, radius * height + (width - height) / 2 * (width > height), radius * height),
            lighter(backdrop[0], 0.6),
            alpha,
        )
    return wall.pixels


def draw_person(canvas: Canvas, view: View) -> None:
    """Draw one person, from the back to the front."""
    style, wears = STYLES[view.character.hair_style], view.character.wears
    face = face_outline(view)
    near = 0 if view.rotation[0, 2] > 0 else 1  # the ear on the side the head turns away from
    style.back(canvas, view)
    if style.ears:
        draw_ear(canvas, view, 1 - near)
    draw_body(canvas, view, face)
    if style.middle:
        style.middle(canvas, view)
    if style.ears:
        draw_ear(canvas, view, near)
    draw_skin(canvas, view, face)
    if wears & BEARD.keys():
        draw_beard(canvas, view, face)
    draw_features(canvas, view)
    if "glasses" in wears:
        draw_glasses(canvas, view)
    style.front(canvas, view)
    if view.hidden:
        draw_book(canvas, view)
