"""Crops around faces and back to the frame, with simple detectors in MediaPipe's place."""

from types import SimpleNamespace

import numpy as np
import pytest

from exprbench.faces.landmarker import Face, Landmarker, square
from tests.faces.patches import SIZE, patches, scene

pytest.importorskip("mediapipe")


def landmarker(detector=None, reader=None):
    """A landmarker whose networks are functions of a picture."""
    made = object.__new__(Landmarker)
    made._detector = SimpleNamespace(detect=lambda image: detector(image.numpy_view()))
    made._landmarker = SimpleNamespace(detect=lambda image: reader(image.numpy_view()))
    return made


def detecting(score):
    """A detector of patches; `score(share)` of how much of the picture's shorter side a patch takes up."""

    def detect(picture):
        found = []
        for x0, y0, x1, y1 in patches(picture):
            box = SimpleNamespace(origin_x=int(x0), origin_y=int(y0), width=int(x1 - x0), height=int(y1 - y0))
            share = (x1 - x0) / min(picture.shape[:2])
            found.append(SimpleNamespace(bounding_box=box, categories=[SimpleNamespace(score=score(share))]))
        return SimpleNamespace(detections=found)

    return detect


def test_a_face_has_the_box_of_its_landmarks():
    points = np.zeros((478, 3))
    points[:, 0], points[:, 1] = np.linspace(10, 50, 478), np.linspace(100, 120, 478)
    face = Face(points, np.zeros(52), np.eye(4))
    assert face.box == (10, 100, 50, 120)
    assert (face.centre.tolist(), face.side) == ([30, 110], 40)


def test_landmarks_of_a_crop_are_mapped_to_the_frame():
    """Also where the crop reaches beyond it; depth is in the unit of x."""
    seen = []

    def read(picture):
        seen.append(picture.shape)
        marks = [SimpleNamespace(x=0.25, y=0.5, z=0.1)] * 478
        scores = [SimpleNamespace(score=i / 100) for i in range(52)]
        return SimpleNamespace(
            face_landmarks=[marks], face_blendshapes=[scores], facial_transformation_matrixes=[2 * np.eye(4)]
        )

    for centre, corner in (((160, 90), (110, 40)), ((10, 170), (-40, 120))):
        (face,) = landmarker(reader=read).detect(scene(red=(160, 90)), np.array(centre), 100)
        assert face.points[7] == pytest.approx([corner[0] + 25.5, corner[1] + 50.5, 10])
        assert face.blendshapes[7] == 0.07
        assert np.array_equal(face.pose, 2 * np.eye(4))
    assert seen == [(100, 100, 3)] * 2
    assert landmarker(reader=read).detect(scene(), np.array([9000, 90]), 100) == []


@pytest.mark.parametrize(
    ("score", "found"),
    [
        (lambda share: 0.7, 1),
        (lambda share: 0.69, 0),  # never sure, however near
        (lambda share: 0.8 if share > 0.45 else 0.6, 1),  # sure where it is looked at again
        (lambda share: 0.8 if 0.35 < share < 0.6 else 0.6, 1),
    ],
)
def test_uncertain_detections_are_confirmed_in_a_crop(score, found):
    frame = scene(red=(200, 90))
    boxes = landmarker(detecting(score)).search(frame)
    assert boxes == [(180, 70, 220, 110)] * found


def test_a_search_finds_all_faces_in_coordinates_of_the_frame():
    boxes = landmarker(detecting(lambda share: 0.9)).search(scene(red=(30, 30), blue=(290, 150)))
    assert sorted(boxes) == [(10, 10, 50, 50), (270, 130, 310, 170)]


FRAME = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


@pytest.mark.parametrize(
    ("centre", "side", "corner", "size"),
    [((160, 90), 100, (110, 40), 100), ((160, 90), 10, (144, 74), 32), ((100.4, 50.6), 40.4, (80, 31), 40)],
)
def test_a_square_is_cut_of_whole_pixels(centre, side, corner, size):
    crop, origin = square(FRAME, np.array(centre), side)
    assert origin == corner
    assert np.array_equal(crop, FRAME[corner[1] : corner[1] + size, corner[0] : corner[0] + size])


@pytest.mark.parametrize("centre", [(5, 5), (315, 175), (5, 175), (315, 5), (160, 0)])
def test_a_square_beyond_the_frame_repeats_its_border(centre):
    crop, (x0, y0) = square(FRAME, np.array(centre), 60)
    rows = np.clip(np.arange(y0, y0 + 60), 0, SIZE[1] - 1)
    columns = np.clip(np.arange(x0, x0 + 60), 0, SIZE[0] - 1)
    assert np.array_equal(crop, FRAME[rows][:, columns])


@pytest.mark.parametrize(
    ("centre", "side", "there"),
    [
        ((-50, 90), 100, False),  # ends where the frame begins
        ((-49, 90), 100, True),
        ((370, 90), 100, False),
        ((369, 90), 100, True),
        ((160, 230), 100, False),
        ((160, -50), 100, False),
        ((160, 90), 4 * 320, True),
        ((160, 90), 4 * 320 + 1, False),
    ],
)
def test_squares_outside_of_the_frame_or_far_larger_have_no_crop(centre, side, there):
    assert (square(FRAME, np.array(centre), side)[0] is not None) == there
