"""One exported clip: when it is copied, how it is encoded, and its tracks and masks."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from exprbench.core.errors import ItemError
from exprbench.faces import FaceTracks, load_tracks
from exprbench.media import VideoFacts, VideoSource
from multiexpr.exporting import clips as exporting
from multiexpr.exporting.clips import can_copy, clip_path, copy_stream, export_clip
from multiexpr.exporting.counted import CountedPeople, select_tracks
from multiexpr.exporting.masks import face_masks, load_masks, save_masks
from multiexpr.recipe import Export, load_recipe
from multiexpr.scorers.frame_damage import noise_sd
from multiexpr.scorers.people import is_damaged
from tests import people
from tests.multiexpr.collection import encode
from tests.multiexpr.exporting.test_export import FRAMES, PLAIN, face, written
from tests.videos import write
from tests.writing import assert_atomic

PLAIN_FACTS = VideoFacts(
    width=640, height=320, fps=25.0, num_frames=50, duration_s=2.0, num_keyframes=1, constant_rate=True,
    container="mov", codec="h264", pixel_format="yuv420p", rotation_deg=0, shown_as_decoded=True, square_pixels=True,
    has_audio=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "fps", "fit"),
    [
        ({}, 25.0, True),
        ({"codec": "hevc"}, 25.0, False),
        ({"pixel_format": "yuv420p10le"}, 25.0, False),
        ({"shown_as_decoded": False}, 25.0, False),
        ({"square_pixels": False}, 25.0, False),
        ({"constant_rate": False}, 25.0, False),
        ({"fps": 24.0}, 25.0, False),
        ({"fps": 24.0}, 24.0, True),
        ({"fps": 24.0}, 0.0, True),  # its own rate is kept
    ],
)
def test_only_plain_upright_video_of_the_wanted_rate_is_copied(changes, fps, fit):
    assert can_copy(replace(PLAIN_FACTS, **changes), Export(fps=fps)) == fit


def test_a_copy_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", FRAMES[:5])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/c.mp4").write_bytes(b"from before")
    assert_atomic(
        lambda: copy_stream(VideoSource(path=str(path)), tmp_path / "out/c.mp4"), tmp_path / "out/c.mp4", monkeypatch
    )


def test_a_rate_that_is_no_whole_number_is_kept_and_noted(tmp_path):
    path = write(tmp_path / "a.mkv", FRAMES[:30], fps=Fraction(30000, 1001), codec="mpeg4")
    facts, _, info = written(tmp_path, path, load_recipe(None, [*PLAIN, "export.fps=0"]))
    assert not facts["copied"]
    assert facts["fps"] == pytest.approx(29.97, abs=0.02)
    assert facts["fps"] == round(info.fps, 3)
    assert facts["num_frames"] == 30


def test_a_clip_is_encoded_as_well_as_the_recipe_says_to_the_last_frame(tmp_path, monkeypatch):
    asked = []
    real = exporting.write_video
    monkeypatch.setattr(
        exporting, "write_video", lambda *args, **options: asked.append(options) or real(*args, **options)
    )
    path = write(tmp_path / "a.mp4", FRAMES[:59], fps=30)  # 49.2 frames at 25
    facts, found, _ = written(tmp_path, path, load_recipe(None, [*PLAIN, "export.crf=30"]))
    assert asked == [{"fps": 25, "crf": 30}]
    assert (facts["num_frames"], found[-1]) == (49, 58)


@pytest.fixture
def faces(monkeypatch):
    """In place of the tracker: two people, one of them seen in four fifths of ten frames. The rates it is given."""
    tracks = people.people(10, people.person(10, x=0.3, hidden=(0, 1)), people.person(10, x=0.7, hidden=(0, 1, 2)))
    rates = []

    def tracker(_landmarker, fps, follow_regions):
        rates.append(fps)
        return SimpleNamespace(update=lambda frame: None)

    monkeypatch.setattr(exporting.Models, "landmarker", lambda models, engine: None)
    monkeypatch.setattr(exporting, "FaceTracker", tracker)
    monkeypatch.setattr(exporting, "collect", lambda tracker, sha256, engine: replace(tracks, video_sha256=sha256))
    return rates


@pytest.mark.parametrize(
    ("tracks", "masks", "num_people"), [(True, True, 1), (True, False, 1), (False, True, 1), (False, False, -1)]
)
def test_tracks_and_masks_are_written_where_they_are_wanted(tmp_path, faces, tracks, masks, num_people):
    settings = [f"export.tracks={str(tracks).lower()}", f"export.masks={str(masks).lower()}"]
    facts, _, _ = written(tmp_path, write(tmp_path / "a.mp4", FRAMES[:60], fps=30), load_recipe(None, settings))
    assert facts["num_people"] == num_people
    folder = clip_path(tmp_path / "d", "ab12").parent
    assert (folder / "ab12.tracks.npz").exists() == tracks
    assert (folder / "ab12.masks.npz").exists() == masks
    assert faces == ([25.0] if tracks or masks else [])
    if tracks:
        assert load_tracks(folder / "ab12.tracks.npz").video_sha256 == facts["sha256"]


def box_moments(*persons):
    """Boxes (P, 3, 4) of drawn persons at three moments."""
    return np.stack([track.box[[0, 4, 8]] for track in persons])


def counted(numbers, *persons):
    return CountedPeople(numbers, np.array([0.0, 0.4, 0.8]), box_moments(*persons))


def test_only_people_who_count_are_exported_in_their_order():
    left, photograph, right = (people.person(10, x=x) for x in (0.2, 0.5, 0.8))
    tracks = replace(people.people(10, left, photograph, right), fps=10)
    found = select_tracks(tracks, counted((1, 3), left, right))
    assert [id(track) for track in found.tracks] == [id(left), id(right)]


def test_a_counted_person_who_is_not_in_the_exported_clip_is_an_error():
    left, right = people.person(10, x=0.2), people.person(10, x=0.8)
    tracks = replace(people.people(10, left), fps=10)
    with pytest.raises(ItemError, match=r"not found in the exported clip: person 2$") as caught:
        select_tracks(tracks, counted((1, 2), left, right))
    assert caught.value.code == "people_lost"


def test_a_person_is_compared_where_both_boxes_are_known():
    left, right = people.person(10, x=0.2, hidden=(0,)), people.person(10, x=0.8)
    boxes = counted((1,), people.person(10, x=0.2))
    boxes.boxes[0, 1] = np.nan  # not visible in scoring at the second moment
    found = select_tracks(replace(people.people(10, left, right), fps=10), boxes)
    assert found.tracks == (left,)


def test_the_tracks_and_masks_of_a_clip_are_those_of_the_people_who_count(tmp_path, faces):
    into = tmp_path / "d"
    video = VideoSource(path=str(write(tmp_path / "a.mp4", FRAMES[:60], fps=30)))
    right = people.person(10, x=0.7)
    people_who_count = CountedPeople((2,), np.array([0.16, 0.32]), np.stack([right.box[[4, 8]]]))
    row = export_clip({"clip_id": "ab12"}, video, into, load_recipe(), people_who_count)
    assert (row["num_people"], row["people"]) == (1, [2])
    folder = clip_path(into, "ab12").parent
    tracks = load_tracks(folder / "ab12.tracks.npz")
    assert len(tracks.tracks) == 1
    assert tracks.tracks[0].box[4, 0] == pytest.approx(right.box[4, 0], abs=1e-3)
    assert load_masks(folder / "ab12.masks.npz").shape[0] == 1


@pytest.mark.parametrize("noise", [0, 40])
def test_faces_of_a_noisy_clip_are_tracked_in_smoothed_frames_as_in_scoring(tmp_path, monkeypatch, faces, noise):
    rng = np.random.default_rng(0)
    clean = [cv2.GaussianBlur(frame, (0, 0), 4) for frame in FRAMES[:30]]  # drawn squares are pixelated
    grainy = [np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8) for frame in clean]
    tracked = []
    tracker = SimpleNamespace(update=tracked.append)
    monkeypatch.setattr(exporting, "FaceTracker", lambda *args, **options: tracker)
    written(tmp_path, write(tmp_path / "a.mp4", grainy, fps=25), load_recipe())
    assert len(tracked) == 30
    assert is_damaged(grainy[15]) == bool(noise)
    assert noise_sd(tracked[15][..., 1], 1) < 3


def test_masks_are_the_share_of_each_cell_and_written_whole_or_not_at_all(tmp_path, monkeypatch):
    track = face((8, 8), 4)  # in the four cells around its middle, none of which it fills
    masks = face_masks(FaceTracks(num_frames=5, width=640, height=320, fps=25, made_by="given", tracks=(track,)))
    assert np.argwhere(masks[0, 0]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert masks.max() < 128
    save_masks(tmp_path / "m.npz", np.zeros((3, 50, 40, 80), np.uint8))
    assert (tmp_path / "m.npz").stat().st_size < 10_000
    assert_atomic(lambda: save_masks(tmp_path / "m.npz", masks), tmp_path / "m.npz", monkeypatch)


@pytest.mark.parametrize(
    ("corners", "cells"),
    [
        ((-20, -20, 11, 7), {(0, 0): 255, (0, 1): 127}),  # beyond the upper left corner; 4 of 8 columns of a cell
        ((-20, -20, -1, 30), {}),  # outside
        ((28, 16, 500, 500), {(2, 3): 127}),  # beyond the lower right corner of a frame of 32 x 24 pixels
        ((32, 0, 40, 8), {}),
        ((8, 8, 23, 15), {(1, 1): 255, (1, 2): 255}),
    ],
)
def test_the_mask_of_a_face_is_cut_at_the_border_of_the_frame(corners, cells):
    left, top, right, bottom = corners
    points = np.tile([[left, top], [right, top], [right, bottom], [left, bottom]], (120, 1))[:478]
    landmarks = np.zeros((1, 478, 3), np.float32)
    landmarks[0, :, :2] = (points + 0.5) / (32, 24)
    track = replace(people.person(1), landmarks=landmarks)
    masks = face_masks(FaceTracks(num_frames=1, width=32, height=24, fps=25, made_by="given", tracks=(track,)))
    assert {(i, j): masks[0, 0, i, j] for i, j in np.argwhere(masks[0, 0]).tolist()} == cells
