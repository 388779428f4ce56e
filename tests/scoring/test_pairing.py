"""Predictions whose frame rate or length differs: recorded, reported in one line, and paired by number on request."""

import shutil

import numpy as np
import pytest

from exprbench import UserError, build, cli
from exprbench.faces import save_tracks
from exprbench.faces.video_tracks import GIVEN_SUFFIX
from exprbench.media import read_clip, write_frames, write_video
from exprbench.scoring import score
from exprbench.toy_benchmark.animation import perform
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render
from tests.scoring.conftest import case_of

OWN = "single-self-0001"
LINE = (
    "single-self-0001: 40 frames at 16 fps last 2.5 s; the reference lasts 1.6 s; --pairing index pairs them by number"
)
PIXELS = {"metrics": ["psnr"], "split": "single", "track": "self"}


def test_right_frames_under_a_wrong_rate(method):
    method.write(OWN, method.frames(OWN), fps=16, crf=5)
    by_time = method.score(**PIXELS)
    case = case_of(by_time, OWN)
    assert (case.own_frames, case.own_fps, case.num_frames, case.num_frames_reference) == (40, 16, 40, 40)
    assert by_time.differing_timing() == LINE
    assert by_time.protocol["pairing"] == "time"
    by_index = method.score(**PIXELS, pairing="index")
    assert by_index.protocol["pairing"] == "index"
    assert by_index.differing_timing() == ""
    assert case_of(by_index, OWN).values["psnr"] > case_of(by_time, OWN).values["psnr"] + 15
    assert case_of(method.score(**PIXELS), OWN) == case  # neither answers for the other from the cache


def test_faces_and_features_are_paired_by_number_too(method):
    """With the right frames under a wrong rate, only what the encoder makes of the rate differs."""
    frames = method.frames(OWN)
    write_video(method.path(OWN), frames, crf=5)
    method.give(OWN, method.tracks(OWN))
    options = {"metrics": ["fid", "fvd", "psnr", "lmd"], "split": "single", "track": "self"}
    networks = {"fid": MeanColour(), "fvd": MeanColour()}
    right = method.score(**options, networks=networks).groups[0].aggregates
    write_video(method.path(OWN), frames, crf=5, fps=16)
    method.give(OWN, method.tracks(OWN))
    paired = method.score(**options, networks=networks, pairing="index").groups[0].aggregates
    by_time = method.score(**options, networks=networks).groups[0].aggregates
    for name in ("fid", "fvd", "psnr", "lmd"):
        assert paired[name].value == pytest.approx(right[name].value, rel=0.02), name
    assert by_time["fid"].value != pytest.approx(right["fid"].value, rel=0.02)
    assert by_time["fvd"].value != pytest.approx(right["fvd"].value, rel=0.02)


class MeanColour:
    """Mean colour of each quarter of a frame, or of the frames of a clip."""

    id, num_features, batch = "mean-colour", 12, 8

    def prepare(self, frame):
        return frame.reshape(2, 48, 2, 80, 3).mean((1, 3)).ravel()

    def features(self, prepared):
        stacked = np.stack([np.asarray(p) for p in prepared])
        return (stacked if stacked.ndim == 2 else stacked.mean(1)).astype(np.float32)


@pytest.mark.parametrize(
    ("num_frames", "fps", "line"),
    [
        (40, 25, ""),
        (30, 25, "30 frames at 25 fps last 1.2 s; the reference lasts 1.6 s"),
        (50, 25, "50 frames at 25 fps last 2.0 s; the reference lasts 1.6 s"),
        (80, 50, "80 frames at 50 fps last 1.6 s; the reference lasts 1.6 s"),
        (41, 16, "41 frames at 16 fps last 2.6 s; the reference lasts 1.6 s; --pairing index pairs them by number"),
    ],
)
def test_the_line_states_both_durations(method, num_frames, fps, line):
    frames = method.frames(OWN)
    method.write(OWN, (frames[i % 40] for i in range(num_frames)), fps=fps)
    assert method.score(**PIXELS).differing_timing() == (f"{OWN}: {line}" if line else "")


def test_several_predictions_are_reported_in_one_line(method):
    for case_id in (OWN, "single-self-0002"):
        method.write(case_id, method.frames(case_id), fps=16)
    expected = f"2 of 2 predictions differ from their references in timing, such as {LINE}"
    assert method.score(**PIXELS).differing_timing() == expected


def test_numbered_by_index_a_missing_frame_is_still_reported(method):
    method.write(OWN, method.frames(OWN)[:39], fps=16)
    record = method.score(**PIXELS, pairing="index")
    assert record.differing_timing() == f"{OWN}: 39 frames; the reference has 40"
    assert case_of(record, OWN).num_frames == 39


def test_folders_of_frames_have_the_benchmarks_rate(method):
    frames = method.frames(OWN)
    method.path(OWN).unlink()
    write_frames(method.folder / OWN, frames)
    record = method.score(**PIXELS)
    assert (case_of(record, OWN).own_frames, case_of(record, OWN).own_fps) == (40, 25)
    assert record.differing_timing() == ""


def test_the_command_reports_it_and_pairs_by_number(method, capsys):
    method.write(OWN, method.frames(OWN), fps=16)
    words = ["score", "--benchmark", method.bench.root, "--predictions", method.folder, "--method", "m", "--workers", 0]
    words += ["--metrics", "psnr", "--split", "single", "--track", "self", "--out", method.folder.with_suffix(".json")]
    assert cli.main([str(word) for word in words]) == 0
    assert capsys.readouterr().err.splitlines()[-2:] == [LINE, "2 of 2 cases scored"]
    assert cli.main([str(word) for word in [*words, "--pairing", "index"]]) == 0
    assert LINE not in capsys.readouterr().err


def test_another_word_is_a_users_mistake(method):
    with pytest.raises(UserError, match="--pairing is 'order'; expected time or index"):
        method.score(pairing="order")


def score_at(bench, folder, **options):
    return score(
        benchmark=bench.root, predictions=folder, method="m", out=folder / "m.json", workers=0, track="self", **options
    )


def test_drawn_faces_under_a_wrong_rate(tmp_path):
    """The landmarks are exact: paired by number the error is zero, paired by time it is not."""
    for name in ("portraits", "driving", "predictions"):
        (tmp_path / name).mkdir()
    frames, tracks = render(CAST[:1], [perform(1, 40)], (128, 128))
    write_video(tmp_path / "driving" / "ida.mp4", frames)
    save_tracks(tmp_path / "driving" / f"ida{GIVEN_SUFFIX}", tracks)
    bench = build(portraits=tmp_path / "portraits", driving=tmp_path / "driving", out=tmp_path / "bench", workers=0)
    pictures, _ = read_clip(bench.path("driving/ida.mp4"))
    write_video(tmp_path / "predictions" / f"{OWN}.mp4", pictures, fps=16, crf=1)
    save_tracks(tmp_path / "predictions" / f"{OWN}{GIVEN_SUFFIX}", tracks)
    by_index = case_of(score_at(bench, tmp_path / "predictions", metrics=["psnr", "lmd"], pairing="index"), OWN)
    by_time = case_of(score_at(bench, tmp_path / "predictions", metrics=["psnr", "lmd"]), OWN)
    assert by_index.values["lmd"] == 0
    assert by_index.values["psnr"] > 40 > by_time.values["psnr"]


@pytest.mark.shared
@pytest.mark.slow
def test_a_filmed_face_under_a_wrong_rate(tmp_path, shared, needs_weights):
    needs_weights("face_landmarker")
    for name in ("portraits", "driving", "predictions"):
        (tmp_path / name).mkdir()
    shutil.copyfile(shared("driving/d20.mp4"), tmp_path / "driving" / "d20.mp4")
    folders = {"portraits": tmp_path / "portraits", "driving": tmp_path / "driving"}
    bench = build(**folders, out=tmp_path / "bench", workers=0, clip_seconds=1.2)
    frames, _ = read_clip(bench.path("driving/d20.mp4"))
    write_video(tmp_path / "predictions" / f"{OWN}.mp4", frames, fps=16, crf=5)
    by_index = case_of(score_at(bench, tmp_path / "predictions", metrics=["psnr", "lmd"], pairing="index"), OWN)
    by_time = case_of(score_at(bench, tmp_path / "predictions", metrics=["psnr", "lmd"]), OWN)
    assert by_index.values["psnr"] > 40
    assert by_index.values["lmd"] < 1e-3
    assert by_time.values["lmd"] > 3e-3
