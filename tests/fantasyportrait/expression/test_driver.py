"""Motion of drivers: which faces and points are used, when it is computed again, and how crops are encoded."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fantasyportrait.expression import driver as driver_module
from fantasyportrait.expression.driver import extract_motion, find_faces
from fantasyportrait.expression.encoder import ExpressionEncoder
from tests.fantasyportrait.test_inputs import read
from tests.people import clip, person


@pytest.fixture
def keyed(files, counted, own_cache, monkeypatch):
    """`keyed(encoder_name="other")`: is the motion of a clip computed again where this changed?"""
    (person,) = find_faces(files / "b.mp4", fps=25)

    def again(path="b.mp4", **changes):
        given = {"people": [person], "encoder_name": "test", "fps": 25.0, **changes}
        before = len(counted)
        extract_motion(files / path, given.pop("people"), encoder=ExpressionEncoder(), **given)
        return len(counted) > before

    assert again()
    assert not again()
    return person, again


def test_motion_is_computed_again_where_anything_it_depends_on_changed(files, keyed, monkeypatch):
    person, again = keyed
    assert again(encoder_name="other")
    assert again(fps=12.5)
    hidden = person.seen.copy()
    hidden[0] = False
    for change in ({"points": person.points + 1}, {"boxes": person.boxes + 0.01}, {"seen": hidden}):
        assert again(people=[replace(person, **change)]), change
    assert again(people=[person, person])
    clip(files / "other.mp4", 9, start=100)
    assert again("other.mp4")
    monkeypatch.setattr(driver_module, "CACHE_VERSION", "the next one")
    assert again()


def test_the_five_points_are_irises_nose_and_mouth_in_pixels(files):
    (found,) = find_faces(files / "a.mp4", fps=25)
    landmarks = person(12, x=0.4).landmarks[:, [468, 473, 1, 61, 291], :2] * (160, 96) - 0.5
    np.testing.assert_allclose(found.points, landmarks, rtol=1e-5)


def test_people_seen_too_seldom_are_left_out(files):
    clip(files / "seldom.mp4", 10, person(10, x=0.3), person(10, x=0.7, seed=1, hidden=range(6)))
    assert len(find_faces(files / "seldom.mp4", fps=25)) == 1


def test_no_more_frames_are_taken_than_wanted_of_given_tracks(files):
    (found,) = find_faces(files / "a.mp4", fps=25, max_frames=7)
    assert len(found.seen) == 7


@pytest.mark.parametrize("batch", [1, 4, 7, 8])
def test_every_crop_is_encoded_whatever_the_batch(files, counted, own_cache, monkeypatch, batch):
    monkeypatch.setattr(driver_module, "BATCH_SIZE", batch)
    (motion,) = read(files / "b.mp4")
    assert sum(counted) == 7
    assert max(counted) <= batch
    assert np.isfinite(motion.features).all()


@torch.no_grad()
def test_the_encoder_gets_crops_as_red_green_and_blue_between_minus_one_and_one():
    shown = []

    class Encoder(torch.nn.Linear):
        def forward(self, faces):
            shown.append(faces)
            return torch.zeros(len(faces), 554)

    crops = np.zeros((2, 224, 224, 3), np.uint8)
    crops[0, 5, 7] = (0, 51, 255)
    driver_module.encode_crops(Encoder(1, 1), crops)
    assert shown[0].shape == (2, 3, 224, 224)
    assert shown[0][0, :, 5, 7].tolist() == pytest.approx([-1, -0.6, 1], abs=1e-6)
