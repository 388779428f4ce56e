"""A portrait with one dominant face is a portrait of one person; bystanders are listed in the face map, not driven."""

import cv2
import numpy as np
import pytest

from exprbench import build
from exprbench.building.bystanders import is_principal
from exprbench.faces import FaceTracks
from exprbench.faces.video_tracks import track_image
from exprbench.media import read_image, write_image
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import portrait
from tests.people import clip, people, person, still

SIDE = 512
WIDTH = 1024


def drawn(*sizes_and_blurs):
    """Drawn people from left to right, each with the side of its picture and the sigma of a blur, and their tracks."""
    frame, tracks = np.full((SIDE, WIDTH, 3), (90, 110, 130), np.uint8), []
    left = 0
    for character, (side, sigma) in zip(CAST, sizes_and_blurs, strict=False):
        image, (track,) = (part if i == 0 else part.tracks for i, part in enumerate(portrait(character, (side, side))))
        image = cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image
        frame[SIDE - side :, left : left + side] = image
        box = track.box * side + np.float32([left, SIDE - side, left, SIDE - side])
        object.__setattr__(track, "box", box / np.float32([WIDTH, SIDE, WIDTH, SIDE]))
        tracks.append(track)
        left += side
    return frame, FaceTracks(num_frames=1, width=WIDTH, height=SIDE, fps=1, tracks=tuple(tracks), made_by="drawn")


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ([(512, 0)], (True,)),
        ([(480, 0), (460, 0)], (True, True)),
        ([(480, 0), (460, 3)], (True, True)),  # as large, so that blur alone does not make a bystander
        ([(480, 0), (300, 0)], (True, True)),  # smaller, but sharp
        ([(480, 0), (300, 4)], (True, False)),  # smaller and out of focus
        ([(300, 4), (480, 0)], (False, True)),
        ([(480, 0), (160, 0)], (True, False)),  # much smaller
        ([(420, 0), (400, 0), (120, 0)], (True, True, False)),
    ],
)
def test_area_and_sharpness_decide(faces, expected):
    assert is_principal(*drawn(*faces)) == expected


def test_a_picture_without_faces():
    assert is_principal(np.zeros((32, 32, 3), np.uint8), people(1)) == ()


@pytest.fixture
def folders(tmp_path):
    made = {name: tmp_path / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    for folder in made.values():
        folder.mkdir()
    clip(made["driving"] / "ada.mp4", 30, person(30))
    clip(made["multi_driving"] / "duo.mp4", 30, person(30, x=0.3, seed=5), person(30, x=0.7, seed=6), start=300)
    return made


def shrunk(track, scale):
    low, high = track.box[:, :2], track.box[:, 2:]
    middle, half = (low + high) / 2, (high - low) / 2 * scale
    object.__setattr__(track, "box", np.concatenate([middle - half, middle + half], axis=1))
    return track


def test_bystanders_are_listed_and_not_driven(folders, tmp_path):
    still(folders["portraits"] / "bo.png", shrunk(person(1, x=0.2), 0.3), person(1, x=0.6))
    still(folders["multi_portraits"] / "pair.png", person(1, x=0.2), shrunk(person(1, x=0.5), 0.3), person(1, x=0.8))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    (single,), (multi,) = bench.select("single", "cross"), bench.select("multi", "cross")
    assert single.face_map == (None, (0, 0))
    assert bench.assets["portraits/bo.png"].num_faces == 2
    assert multi.drivers == ("driving/multi-duo.mp4",)
    assert multi.face_map == ((0, 0), None, (0, 1))


def test_portraits_in_the_wrong_folder_are_left_out(folders, tmp_path):
    still(folders["portraits"] / "two.png", person(1, x=0.3), person(1, x=0.7))
    still(folders["multi_portraits"] / "one.png", person(1, x=0.3), shrunk(person(1, x=0.7), 0.3))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert {item.path: (item.reason, item.detail) for item in bench.left_out} == {
        "two.png": ("several_faces", "2 found; portraits of several people belong into --multi-portraits"),
        "one.png": (
            "one_face",
            "1 found and 1 in the background; a multi portrait has two or more (see the column faces of sources.csv)",
        ),
    }


@pytest.mark.shared
@pytest.mark.slow
def test_a_filmed_bystander(folders, tmp_path, shared, needs_weights):
    """A blurred head behind a portrait is a bystander; a sharp one of nearly the same size is a second person."""
    needs_weights("face_landmarker")
    image = read_image(shared("portraits/s6.jpg"))  # a face of 193 pixels
    other = read_image(shared("portraits/man.jpeg"))[150:750, 200:800]
    stage = np.full((725, 1250, 3), 120, np.uint8)
    stage[:, :725] = image
    for name, side, sigma in (("blurred", 200, 4), ("second", 290, 0)):
        head = cv2.resize(other, (side, side), interpolation=cv2.INTER_AREA)
        frame = stage.copy()
        frame[200 : 200 + side, 850 : 850 + side] = cv2.GaussianBlur(head, (0, 0), sigma) if sigma else head
        write_image(tmp_path / f"{name}.png", frame)
        tracks = track_image(tmp_path / f"{name}.png")
        assert len(tracks.tracks) == 2, name
        assert is_principal(frame, tracks) == ((True, False) if name == "blurred" else (True, True))
