"""Preparation of inputs: the benchmark's copies and their descriptions."""

import numpy as np
import pytest

from exprbench import build, check
from exprbench.media import read_clip, read_image
from tests.people import clip, give, people, person, still
from tests.videos import numbered, numbers, write


def test_pixels_of_a_driver_survive_normalisation(built):
    frames, info = read_clip(built / "driving" / "dee.mp4")
    assert numbers(frames) == list(range(100, 140))
    assert (info.fps, info.codec, info.has_audio) == (25.0, "h264", False)
    assert np.array_equal(read_image(built / "driving" / "dee.png"), frames[0])


def test_rotated_and_transparent_portraits_are_normalised(folders, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(numbered(3)).save(folders["portraits"] / "turned.jpg", exif=exif)
    Image.fromarray(numbered(3)).convert("RGBA").save(folders["portraits"] / "glass.png")
    for name in ("turned", "glass"):
        still(tmp_path / f"{name}.png", person(1)).with_suffix(".tracks.npz").rename(
            folders["portraits"] / f"{name}.tracks.npz"
        )
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert (bench.assets["portraits/turned.png"].width, bench.assets["portraits/turned.png"].height) == (96, 160)
    with Image.open(tmp_path / "bench" / "portraits" / "glass.png") as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize("rate", ["15", "30000/1001", "30"])
def test_drivers_of_other_rates_reach_25(folders, tmp_path, rate):
    path = write(folders["driving"] / "fast.mp4", [numbered(i) for i in range(60)], fps=rate)
    frames, _ = read_clip(path, fps=25)
    still(tmp_path / "x.png", person(1))
    give(path, people(len(frames), person(len(frames))))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    made, info = read_clip(tmp_path / "bench" / "driving" / "fast.mp4")
    assert info.fps == 25
    assert numbers(made) == numbers(frames)
    assert bench.assets["driving/fast.mp4"].num_frames == len(frames)


def test_portraits_without_a_visible_face_stay_marked(folders, tmp_path):
    still(folders["portraits"] / "cartoon.png")
    still(folders["multi_portraits"] / "cartoons.png")
    (folders["multi_portraits"] / "sources.csv").write_text("file,faces\ncartoons.png,2\n")
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    for path, faces in (("portraits/cartoon.png", 1), ("portraits/multi-cartoons.png", 2)):
        assert bench.assets[path].num_faces == faces
        assert not bench.assets[path].faces_found
        assert path in {c.source for c in bench.cases}


def reasons(bench):
    return {item.path: item.reason for item in bench.left_out}


def test_a_driver_lasts_a_second_or_more(folders, tmp_path):
    for name, length in (("exact", 25), ("short", 24)):
        clip(folders["driving"] / f"{name}.mp4", length, person(length, seed=8), start=500)
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert reasons(bench) == {"short.mp4": "too_short"}
    assert bench.assets["driving/exact.mp4"].num_frames == 25


@pytest.mark.parametrize(("seconds", "length"), [(1.16, 29), (1.2, 30), (1.22, 30), (9, 40)])
def test_a_clip_is_cut_to_the_nearest_frame(folders, tmp_path, seconds, length):
    bench = build(**folders, out=tmp_path / "bench", clip_seconds=seconds, workers=0)
    assert bench.assets["driving/ada.mp4"].num_frames == length
    assert bench.clip_seconds == seconds


def test_a_benchmark_may_have_another_rate(folders, tmp_path):
    for name in ("ada", "dee"):
        give(folders["driving"] / f"{name}.mp4", people(60, person(60)))
    give(folders["multi_driving"] / "duo.mp4", people(60, person(60, x=0.3), person(60, x=0.7)))
    bench = build(**folders, out=tmp_path / "bench", fps=30, workers=0)
    assert (bench.fps, bench.assets["driving/ada.mp4"].num_frames) == (30, 48)
    assert read_clip(bench.path("driving/ada.mp4"))[1].fps == 30
    assert check(tmp_path / "bench") == []


def test_tracks_of_another_length_than_the_clip_are_refused(folders, tmp_path):
    give(folders["driving"] / "dee.mp4", people(39, person(39)))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    (left_out,) = (item for item in bench.left_out if item.path == "dee.mp4")
    assert left_out.reason == "tracks_mismatch"
    assert "39 frames of tracks are given for 40 frames of video" in left_out.detail


def test_detected_faces_count_rather_than_those_of_the_sources_file(folders, tmp_path):
    (folders["multi_portraits"] / "sources.csv").write_text("file,faces\npair.png,3\n")
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    asset = bench.assets["portraits/multi-pair.png"]
    assert (asset.num_faces, asset.faces_found) == (2, True)


def test_people_seen_in_less_than_half_of_a_driver_do_not_count(folders, tmp_path):
    glimpse = person(40, x=0.9, hidden=range(19, 40))
    give(folders["driving"] / "ada.mp4", people(40, person(40), glimpse))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert bench.assets["driving/ada.mp4"].num_faces == 1
    give(folders["driving"] / "ada.mp4", people(40, person(40), person(40, x=0.9, hidden=range(20, 40))))
    assert reasons(build(**folders, out=tmp_path / "again", workers=0)) == {"ada.mp4": "several_faces"}


def test_an_animated_portrait_becomes_its_first_frame(folders, tmp_path):
    from PIL import Image

    path = folders["portraits"] / "moving.png"
    first, second = (Image.fromarray(numbered(i)) for i in (3, 4))
    first.save(path, save_all=True, append_images=[second])
    give(path, people(1, person(1)))
    build(**folders, out=tmp_path / "bench", workers=0)
    with Image.open(tmp_path / "bench" / "portraits" / "moving.png") as image:
        assert getattr(image, "n_frames", 1) == 1
    assert np.array_equal(read_image(tmp_path / "bench" / "portraits" / "moving.png"), numbered(3))


def test_plain_portraits_are_copied_unchanged(folders, built):
    assert (built / "portraits" / "bo.png").read_bytes() == (folders["portraits"] / "bo.png").read_bytes()


def test_assets_describe_their_kind_split_and_original(folders, tmp_path):
    (folders["multi_driving"] / "sources.csv").write_text("file,person\nduo.mp4,Ada;Bo\n")
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    kinds = {path: (asset.kind, asset.split, asset.original) for path, asset in bench.assets.items()}
    assert kinds["driving/multi-duo.mp4"] == ("driver", "multi", "duo.mp4")
    assert kinds["driving/multi-duo.png"] == ("first_frame", "multi", "duo.mp4")
    assert kinds["driving/multi-duo.tracks.npz"] == ("tracks", "multi", "duo.mp4")
    assert kinds["portraits/bo.png"] == ("portrait", "single", "bo.png")
    assert bench.assets["driving/multi-duo.mp4"].person == "Ada;Bo"
    assert (bench.assets["driving/multi-duo.png"].width, bench.assets["driving/multi-duo.png"].height) == (160, 96)
    assert bench.assets["driving/ada.mp4"].num_bytes == bench.path("driving/ada.mp4").stat().st_size
