import numpy as np
import pytest

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
    ribbon,
)

SQUARE = path("10 10, 50 10, 50 50, 10 50")
RED = (200, 30, 30)


@pytest.fixture
def canvas():
    return Canvas(np.full((64, 64, 3), 255, np.uint8))


def area(canvas):
    """Pixels covered, by how far from white towards red their green is. OpenCV's soft edges reach a pixel outwards."""
    return (255 - canvas.pixels[..., 1].astype(float)).sum() / 225


def test_fill_covers_the_outline(canvas):
    fill(canvas, SQUARE, RED)
    assert 40**2 <= area(canvas) < 41.5**2
    assert canvas.pixels[30, 30].tolist() == list(RED)
    assert canvas.pixels[5, 5].tolist() == [255] * 3


def test_half_transparent_is_half_way(canvas):
    fill(canvas, SQUARE, RED, 0.5)
    np.testing.assert_allclose(canvas.pixels[30, 30], (np.array(RED) + 255) / 2, atol=1)


def test_a_fraction_of_a_pixel_counts(canvas):
    fill(canvas, SQUARE, RED)
    moved = Canvas(np.full((64, 64, 3), 255, np.uint8))
    fill(moved, SQUARE + 0.5, RED)
    assert moved.pixels[30, 9, 1] > canvas.pixels[30, 9, 1]
    assert moved.pixels[30, 50, 1] < canvas.pixels[30, 50, 1]
    assert area(moved) == pytest.approx(area(canvas), rel=0.02)


def test_what_lies_outside_of_the_canvas_does_no_harm(canvas):
    for shape in (SQUARE - 100, SQUARE + 1000, SQUARE * 50 - 500):
        fill(canvas, shape, RED, 0.5)
        fill_soft(canvas, shape, RED, [])
        with clipped(canvas, shape) as inside:
            fill(inside, SQUARE, RED)
    assert canvas.pixels.shape == (64, 64, 3)


def test_clipped_keeps_the_outside(canvas):
    with clipped(canvas, oval(np.array([30, 30]), 15)) as inside:
        fill(inside, SQUARE * 3 - 40, RED)
    assert np.pi * 15**2 <= area(canvas) < np.pi * 15.75**2


def test_soft_spots_fade(canvas):
    fill_soft(canvas, SQUARE, RED, [Spot(np.array([30, 30]), (6, 6), (30, 30, 200), 1)])
    assert canvas.pixels[30, 30, 2] > 150
    assert canvas.pixels[30, 48, 2] < 40
    assert canvas.pixels[5, 5].tolist() == [255] * 3


def test_a_curve_goes_through_its_points():
    points = np.random.default_rng(0).normal(size=(7, 2))
    np.testing.assert_allclose(curve(points, per=5)[::5], points, atol=1e-12)
    np.testing.assert_allclose(curve(points, closed=True, per=5)[::5], points, atol=1e-12)
    line = np.column_stack([np.arange(5.0), 2 * np.arange(5.0)])
    np.testing.assert_allclose(curve(line)[:, 1], 2 * curve(line)[:, 0], atol=1e-12)


def test_a_ribbon_is_as_wide_as_asked():
    line = np.column_stack([np.arange(11.0), np.zeros(11)])
    outline = ribbon(line, (2.0, 4.0))
    np.testing.assert_allclose(np.abs(outline[:11, 1]), np.linspace(1, 2, 11))
    np.testing.assert_allclose(outline[:11, 1], -outline[::-1][:11, 1])


def test_colours_mix():
    assert mix((0, 0, 0), (100, 200, 50), 0.5) == (50, 100, 25)
    assert sum(darker(RED)) < sum(RED) < sum(lighter(RED))
