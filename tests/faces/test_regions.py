"""Rotated regions of a picture: their matrices, the pixels cut out, and points projected back."""

import cv2
import numpy as np
import pytest

from exprbench.faces.regions import Region, cut, detection_region, landmark_region, letterbox, project

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def test_the_whole_square_is_cut_unchanged():
    region = Region(x=20, y=20, width=40, height=40)
    assert np.array_equal(cut(PICTURE, region, 40, cv2.BORDER_CONSTANT), PICTURE[:, :40])


def test_a_region_beyond_the_picture_is_black_or_repeats_the_border():
    region = Region(x=60, y=20, width=40, height=40)
    black = cut(PICTURE, region, 40, cv2.BORDER_CONSTANT)
    assert np.array_equal(black[:, :20], PICTURE[:, 40:])
    assert not black[:, 20:].any()
    assert (cut(PICTURE, region, 40, cv2.BORDER_REPLICATE)[:, 20:] == PICTURE[:, 59:]).all()


def test_positions_are_rounded_to_a_32nd_of_a_pixel():
    """As in MediaPipe's OpenCV."""
    ramp = np.repeat(np.arange(0, 160, 4, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    for shift, rounded in ((0.5, 0.5), (0.26, 8 / 32), (0.27, 9 / 32)):
        region = Region(x=20 + shift, y=20, width=40, height=40)
        assert cut(ramp, region, 40, cv2.BORDER_REPLICATE)[0, 5, 0] == round(4 * (5 + rounded) + 1e-6)


def test_a_turned_region_is_upright_in_the_result():
    turned = np.ascontiguousarray(np.rot90(PICTURE[:40, :40], -1))  # clockwise by 90 degrees
    region = Region(x=20, y=20, width=40, height=40, rotation=np.pi / 2)
    # its centre is the corner of four pixels in MediaPipe's coordinates, so the turn moves the picture by one row
    assert np.array_equal(cut(turned, region, 40, cv2.BORDER_REPLICATE)[1:], PICTURE[:39, :40])
    assert project(np.array([[0.5, 0.5], [1, 0.5]]), region) == pytest.approx(np.array([[20, 20], [20, 40]]))


def test_points_are_projected_with_depth_in_the_unit_of_the_width():
    region = Region(x=10, y=20, width=4, height=8)
    assert project(np.array([[0.0, 0.0, 1.0], [1, 1, -0.5]]), region).tolist() == [[8, 16, 4], [12, 24, -2]]


@pytest.mark.parametrize("shape", [(40, 60, 3), (60, 40, 3)])
def test_a_letterbox_is_the_square_around_the_picture(shape):
    region = letterbox(np.zeros(shape, np.uint8))
    assert (region.x, region.y, region.width, region.height) == (shape[1] / 2, shape[0] / 2, 60, 60)


def test_the_region_of_a_detection_is_half_as_large_again_and_level_with_the_eyes():
    detection = np.array([10, 20, 30, 50, 15, 30, 25, 40, *[0] * 8], float)
    region = detection_region(detection)
    assert (region.x, region.y, region.width, region.height) == (20, 35, 30, 45)
    assert region.rotation == pytest.approx(np.pi / 4)


def test_the_region_of_landmarks_is_a_square_around_all_of_them():
    points = np.full((478, 3), 50.0)
    points[0, :2], points[1, :2] = (40, 30), (60, 70)
    points[33, :2], points[263, :2] = (45, 50), (55, 40)
    region = landmark_region(points)
    assert (region.x, region.y, region.width, region.height) == (50, 50, 60, 60)
    assert region.rotation == pytest.approx(-np.pi / 4)
