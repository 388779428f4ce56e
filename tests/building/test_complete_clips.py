"""A self case starts where every person is visible: its source picture has every face that the case drives."""

from dataclasses import replace

import numpy as np
import pytest

from exprbench import build, check
from exprbench.faces import load_tracks
from exprbench.faces.video_tracks import main_faces, track_faces, track_image
from exprbench.media import read_clip, read_image, write_video
from exprbench.toy_benchmark.animation import perform
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render
from tests.people import clip, moved, people, person, still
from tests.videos import number_of, numbers


@pytest.fixture
def folders(tmp_path):
    made = {name: tmp_path / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    for folder in made.values():
        folder.mkdir()
    still(made["portraits"] / "bo.png", person(1))
    return made


def test_a_driver_starts_at_the_first_frame_that_shows_its_person(folders, tmp_path):
    clip(folders["driving"] / "ada.mp4", 40, person(40, hidden=range(7)))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    frames, _ = read_clip(bench.path("driving/ada.mp4"))
    assert numbers(frames) == list(range(7, 40))
    assert number_of(read_image(bench.path("driving/ada.png"))) == 7
    assert bench.assets["driving/ada.mp4"].num_frames == 33
    assert load_tracks(bench.path("driving/ada.tracks.npz")).tracks[0].seen.all()
    assert check(bench.root) == []


def test_the_clip_keeps_its_length_if_the_video_goes_on(folders, tmp_path):
    clip(folders["driving"] / "ada.mp4", 60, person(60, hidden=range(7)))
    bench = build(**folders, out=tmp_path / "bench", workers=0, clip_seconds=1.2)
    assert numbers(read_clip(bench.path("driving/ada.mp4"))[0]) == list(range(7, 37))


def test_two_people_start_together_in_the_order_of_that_frame(folders, tmp_path):
    """They change places before the second one is visible."""
    right, left = person(40, x=0.7, seed=1), person(40, x=0.3, seed=2, hidden=range(12))
    box, landmarks = right.box.copy(), right.landmarks.copy()
    first = slice(0, 6)
    box[first], landmarks[first] = (getattr(moved(right, -0.6), name)[first] for name in ("box", "landmarks"))
    clip(folders["multi_driving"] / "duo.mp4", 40, replace(right, box=box, landmarks=landmarks), left)
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert numbers(read_clip(bench.path("driving/multi-duo.mp4"))[0])[0] == 12
    tracks = main_faces(load_tracks(bench.path("driving/multi-duo.tracks.npz")))
    assert [round(float(track.box[0, [0, 2]].mean()), 1) for track in tracks] == [0.3, 0.7]
    assert [case.face_map for case in bench.select("multi", "self")] == [((0, 0), (0, 1))]


def test_drivers_that_cannot_start_are_left_out_with_the_reason(folders, tmp_path):
    half, rest = range(20), range(20, 40)
    clip(folders["driving"] / "ada.mp4", 40, person(40))
    clip(folders["driving"] / "late.mp4", 40, person(40, hidden=range(18)))
    clip(folders["multi_driving"] / "apart.mp4", 40, person(40, x=0.3, hidden=half), person(40, x=0.7, hidden=rest))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    reasons = {item.path: (item.reason, item.detail) for item in bench.left_out}
    assert reasons == {
        "late.mp4": ("too_short", "0.88 s after the start of the clip at 0.72 s; a driver lasts 1 s or more"),
        "apart.mp4": ("never_together", "no frame shows all of its faces, so none can be the source of its self case"),
    }


@pytest.mark.shared
@pytest.mark.slow
def test_a_filmed_duo_whose_second_person_comes_later(folders, tmp_path, shared, needs_weights):
    needs_weights("face_landmarker")
    frames, _ = read_clip(shared("multi/two_person.mp4"), fps=25, max_frames=40)
    frames = [frame.copy() for frame in frames]
    for frame in frames[:9]:
        frame[:, frame.shape[1] // 2 :] = 90
    write_video(folders["multi_driving"] / "duo.mp4", frames)
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert bench.assets["driving/multi-duo.mp4"].num_frames == 31
    assert len(track_image(bench.path("driving/multi-duo.png")).tracks) == 2
    assert all(track.seen[0] for track in track_faces(bench.path("driving/multi-duo.mp4")).tracks)


@pytest.mark.slow
def test_a_drawn_duo_of_which_one_is_hidden_at_first(folders, tmp_path, needs_weights):
    needs_weights("face_landmarker")
    hidden = np.arange(40) >= 6
    motions = [perform(4, 40), replace(perform(5, 40), seen=hidden)]
    frames, _ = render(CAST[:2], motions, (448, 256))
    write_video(folders["multi_driving"] / "duo.mp4", frames, crf=12)
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert bench.assets["driving/multi-duo.mp4"].num_frames == 34
    assert len(track_image(bench.path("driving/multi-duo.png")).tracks) == 2


def test_skipped_frames_of_tracks():
    tracks = people(10, person(10, x=0.3, hidden=range(4)), person(10, x=0.7))
    cut = tracks.skip(4)
    assert cut.num_frames == 6
    assert [track.seen.sum() for track in cut.tracks] == [6, 6]
    assert np.array_equal(cut.tracks[0].landmarks, tracks.tracks[0].landmarks[4:])
