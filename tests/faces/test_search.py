from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exprbench.faces.boxes import non_maximum_suppression, overlap
from exprbench.faces.search import MIN_TILE, tiles

sizes = st.integers(16, 4000)


@given(sizes, sizes)
def test_tiles_lie_in_the_frame_and_cover_it(width, height):
    for x0, y0, x1, y1 in tiles(width, height):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
    sides = {x1 - x0 for x0, y0, x1, y1 in tiles(width, height) if x1 - x0 == y1 - y0}
    for side in sides:
        level = [t for t in tiles(width, height) if t[2] - t[0] == t[3] - t[1] == side]
        assert min(t[0] for t in level) == 0
        assert max(t[2] for t in level) == width
        columns = sorted({t[0] for t in level})
        assert all(b - a <= 0.65 * side + 1 for a, b in pairwise(columns))


def test_small_frames_are_looked_at_whole():
    assert tiles(320, 240) == [(0, 0, 320, 240), (0, 0, 240, 240), (80, 0, 320, 240)]
    assert min(t[2] - t[0] for t in tiles(1280, 720)) >= MIN_TILE


def test_overlap_is_over_the_smaller():
    assert overlap((0, 0, 10, 10), (0, 0, 5, 5)) == 1
    assert overlap((0, 0, 10, 10), (20, 0, 30, 10)) == 0
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == 0.5
    assert overlap((0, 0, 0, 0), (0, 0, 5, 5)) == 0


def test_of_overlapping_boxes_the_strongest_stays():
    found = [(0.8, (0, 0, 10, 10)), (0.9, (1, 1, 11, 11)), (0.7, (50, 0, 60, 10))]
    assert [score for score, _ in non_maximum_suppression(found)] == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize(
    ("width", "height", "sides"),
    [
        (1280, 800, {800, 400, 200}),
        (1280, 720, {720, 360}),
        (4000, 4000, {4000, 2000, 1000}),
        (384, 500, {384, 192}),
        (383, 500, {383}),
        (160, 120, {120}),
    ],
)
def test_squares_are_of_the_short_side_its_half_and_its_quarter(width, height, sides):
    found = tiles(width, height)
    assert found[0] == (0, 0, width, height)
    assert {x1 - x0 for x0, y0, x1, y1 in found if x1 - x0 == y1 - y0 and (x1 - x0) <= min(width, height)} == sides


def test_boxes_that_overlap_by_exactly_the_limit_both_stay():
    found = [(0.9, (0, 0, 10, 10)), (0.8, (7, 0, 17, 10)), (0.7, (6, 0, 16, 10))]
    assert [score for score, _ in non_maximum_suppression(found)] == [0.9, 0.8]
    assert [score for score, _ in non_maximum_suppression(found, threshold=0.2)] == [0.9]
    assert non_maximum_suppression([(0.5, (3, 0, 9, 9)), (0.5, (1, 0, 9, 9))])[0][1] == (1, 0, 9, 9)
