"""People whom the detector misses, found by their faces."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from exprbench import UserError, weights
from exprbench.weights import WeightsError
from multiexpr.models.detector import Models, find_people_model
from multiexpr.recipe import load_recipe
from multiexpr.scorers.missed_people import missed_people
from multiexpr.scorers.people import PeopleScorer
from tests.conftest import SHARED

PICTURE = np.zeros((360, 640, 3), np.uint8)
LEFT, RIGHT = (0.05, 0.1, 0.45, 1.0, 0.9), (0.55, 0.1, 0.95, 1.0, 0.9)
LEFT_FACE, RIGHT_FACE = (80, 90, 176, 186), (400, 90, 496, 186)  # in pixels: 0.27 of the height


class FakeModels:
    """Models that find the same faces and animals in every picture; `searches` counts the searches for faces."""

    def __init__(self, faces=(), animals=(), confirmed=True):
        self.faces, self.found, self.confirmed = faces, np.array(animals).reshape(-1, 5), confirmed
        self.recipe, self.searches = load_recipe(), 0

    def landmarker(self, engine):
        return SimpleNamespace(search=self.search, detect=lambda *_: ["face"] if self.confirmed else [])

    def search(self, picture):
        self.searches += 1
        return list(self.faces)

    def animals(self, pictures):
        return [self.found] * len(pictures)


def missed(models, *people):
    found = [np.array(boxes, np.float64).reshape(-1, 5) for boxes in people]
    return missed_people([PICTURE] * len(found), found, models)


def test_a_person_is_found_by_the_face_that_is_in_no_box():
    ((body,),) = missed(FakeModels([LEFT_FACE, RIGHT_FACE]), [LEFT])
    assert body[:4] == pytest.approx([352 / 640, 42 / 360, 544 / 640, 234 / 360])  # twice as wide and high as the face
    assert body[4] == 0.7


def test_faces_are_not_searched_if_enough_people_are_found():
    models = FakeModels([LEFT_FACE, RIGHT_FACE])
    assert [len(boxes) for boxes in missed(models, [LEFT, RIGHT])] == [0]
    assert models.searches == 0


@pytest.mark.parametrize("weak", [(0.55, 0.1, 0.95, 1.0, 0.4), (0.55, 0.1, 0.95, 0.3, 0.9)])
def test_the_face_of_a_person_who_does_not_count_is_added(weak):
    assert len(missed(FakeModels([LEFT_FACE, RIGHT_FACE]), [LEFT, weak])[0]) == 1


def test_the_face_of_an_animal_is_no_persons():
    face = FakeModels([LEFT_FACE, RIGHT_FACE], animals=[RIGHT])
    assert [len(boxes) for boxes in missed(face, [LEFT])] == [0]
    unsure = FakeModels([LEFT_FACE, RIGHT_FACE], animals=[(*RIGHT[:4], 0.3)])
    assert [len(boxes) for boxes in missed(unsure, [LEFT])] == [1]


def test_a_face_that_the_landmarks_do_not_confirm_is_none():
    assert [len(boxes) for boxes in missed(FakeModels([RIGHT_FACE], confirmed=False), [LEFT])] == [0]


def test_other_frames_are_not_searched_if_the_first_has_no_face_of_a_missed_person():
    models = FakeModels([LEFT_FACE])
    assert [len(boxes) for boxes in missed(models, [LEFT, RIGHT], [LEFT], [LEFT])] == [0, 0, 0]
    assert models.searches == 1


def test_all_frames_with_too_few_people_are_searched_if_the_first_has_such_a_face():
    models = FakeModels([LEFT_FACE, RIGHT_FACE])
    assert [len(boxes) for boxes in missed(models, [], [LEFT, RIGHT], [LEFT])] == [2, 0, 1]


def test_no_frames_have_no_people():
    assert missed(FakeModels()) == []


@pytest.mark.shared
@pytest.mark.weights
@pytest.mark.parametrize(("right", "people"), [("s12.jpg", 2), ("s25.jpg", 1), ("s22.jpg", 1)])
def test_people_in_large_blocks_are_found_and_dogs_and_apes_are_not(right, people):
    pytest.importorskip("ultralytics")
    try:
        find_people_model("yolov8n")
        weights.require("face_landmarker")
    except (UserError, WeightsError) as error:
        pytest.skip(str(error))
    halves = [cv2.imread(str(SHARED / "data/portraits" / name))[..., ::-1] for name in ("s1.jpg", right)]
    halves = [cv2.resize(_square(half), (320, 320), interpolation=cv2.INTER_AREA) for half in halves]
    recipe = load_recipe()
    models = Models(recipe)
    measurement = PeopleScorer(recipe.score.people, models).start({})
    measurement.update(_with_blocks(np.hstack(halves)) if people == 2 else np.hstack(halves), 0)
    found = measurement.compute()
    assert sum(np.array(found["people_confidence"]) >= 0.5) == people
    assert any(found["people_by_face"]) == (people == 2)


def _square(picture):
    side = min(picture.shape[:2])
    return picture[:side, :side]


def _with_blocks(picture):
    """Encode a picture as JPEG at half the size with the lowest quality, and enlarge it."""
    small = cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 4])
    return cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
