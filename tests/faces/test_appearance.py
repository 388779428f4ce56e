"""Appearance descriptors of heads."""

import cv2
import numpy as np
import pytest

from exprbench.faces.appearance import Appearance, distance
from exprbench.faces.landmarker import Face
from tests.faces.patches import COLOURS, GROUND, PatchLandmarker, cloud, scene

BINS, RANGES = (6, 12, 12), ((0, 256), (64, 192), (64, 192))


def share(looks, colour):
    """The share of the head that has a colour."""
    lab = cv2.cvtColor(np.full((1, 1, 3), colour, np.uint8), cv2.COLOR_RGB2LAB)[0, 0].astype(int)
    place = [(v - low) * n // (high - low) for v, n, (low, high) in zip(lab, BINS, RANGES, strict=True)]
    return float(looks.reshape(BINS)[tuple(place)] ** 2)


def face_at(frame):
    return PatchLandmarker().detect(frame, np.array([160, 90]), 170)[0]


@pytest.mark.parametrize("name", COLOURS)
def test_the_histogram_is_of_a_square_of_1_7_faces(name):
    frame = scene(**{name: (160, 90, 50)})
    looks = Appearance(frame, face_at(frame)).colours
    assert looks.shape == (864,)
    assert np.linalg.norm(looks) == pytest.approx(1)
    assert share(looks, COLOURS[name]) == pytest.approx(1 / 1.7**2, abs=0.05)
    assert share(looks, GROUND) > 0.5


@pytest.mark.parametrize("angle_deg", [-30, 20, 40])
def test_the_square_is_turned_with_the_head(angle_deg):
    """A square of the patch's size, turned as the eyes are, fills the histogram."""
    turn = np.radians(angle_deg)
    across = np.array([np.cos(turn), np.sin(turn)])
    points = np.full((478, 3), 100.0)
    points[0, :2], points[1, :2] = 70, 130  # a box of 60 pixels
    points[33, :2], points[263, :2] = 100 - 15 * across, 100 + 15 * across
    frame = np.full((200, 200, 3), GROUND, np.uint8)
    corners = cv2.boxPoints(((100, 100), (1.7 * 60, 1.7 * 60), angle_deg))
    cv2.fillPoly(frame, [np.rint(corners).astype(np.int32)], COLOURS["red"])
    looks = Appearance(frame, Face(points, np.zeros(52), np.eye(4))).colours
    assert share(looks, COLOURS["red"]) > 0.95


def test_the_distance_is_hellingers():
    a, b = np.zeros(864), np.zeros(864)
    a[3] = b[4] = 1
    assert (distance(a, a), distance(a, b)) == (0, 1)
    assert distance(a, (a + b) / np.sqrt(2)) == pytest.approx(np.sqrt(1 - 1 / np.sqrt(2)))
    assert distance(a * 1.0001, a) == 0


def test_a_face_outside_of_the_frame_has_a_descriptor():
    frame = scene(red=(160, 90))
    far = Face(face_at(frame).points + (9000, 0, 0), np.zeros(52), np.eye(4))
    found = Appearance(frame, far)
    assert [np.linalg.norm(found.colours), np.linalg.norm(found.relative)] == pytest.approx([1, 1])


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0), (1.6, 0), (1, 30), (1, -25), (0.6, -5)])
def test_the_exposure_changes_the_colours_but_not_the_relative_ones(gain, offset):
    before = cloud(0)
    after = (before * float(gain) + offset).astype(np.uint8)
    face = face_at(scene(red=(160, 90, 50)))
    one, two = Appearance(before, face), Appearance(after, face)
    assert distance(one.colours, two.colours) > 0.4
    assert distance(one.relative, two.relative) < 0.1
    assert distance(one.relative, Appearance(cloud(1), face).relative) > 0.2
