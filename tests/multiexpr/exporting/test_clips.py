"""One exported clip: when it is copied, how it is encoded, and its tracks and masks."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from exprbench.faces import FaceTracks, load_tracks
from exprbench.media import VideoFacts, VideoSource
from multiexpr.exporting import clips as exporting
from multiexpr.exporting.clips import can_copy, clip_path, copy_stream, count_people
from multiexpr.exporting.masks import face_masks, save_masks
from multiexpr.recipe import Export, load_recipe
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

    def tracker(_landmarker, fps):
        rates.append(fps)
        return SimpleNamespace(update=lambda frame: None)

    monkeypatch.setattr(exporting, "landmarker", lambda: None)
    monkeypatch.setattr(exporting, "FaceTracker", tracker)
    monkeypatch.setattr(exporting, "collect", lambda tracker, sha256: replace(tracks, video_sha256=sha256))
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


@pytest.mark.parametrize(("unseen", "count"), [(0, 1), (2, 1), (3, 0)])
def test_people_seen_in_four_fifths_of_the_frames_are_counted(unseen, count):
    assert count_people(people.people(10, people.person(10, hidden=range(unseen)))) == count


def test_masks_are_the_share_of_each_cell_and_written_whole_or_not_at_all(tmp_path, monkeypatch):
    track = face((8, 8), 4)  # in the four cells around its middle, none of which it fills
    masks = face_masks(FaceTracks(num_frames=5, width=640, height=320, fps=25, made_by="given", tracks=(track,)))
    assert np.argwhere(masks[0, 0]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert masks.max() < 128
    save_masks(tmp_path / "m.npz", np.zeros((3, 50, 40, 80), np.uint8))
    assert (tmp_path / "m.npz").stat().st_size < 10_000
    assert_atomic(lambda: save_masks(tmp_path / "m.npz", masks), tmp_path / "m.npz", monkeypatch)
