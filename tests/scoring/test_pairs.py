"""Two videos without a benchmark: the same numbers as with one, and reasons for those that are missing."""

import csv
import json
import math
import shutil
from dataclasses import replace

import pytest

from exprbench import UserError, cli, score_pair
from exprbench.faces.tracks import load_tracks
from exprbench.faces.video_tracks import given_path
from exprbench.media import read_clip, write_video
from tests.people import clip, give, moved, person
from tests.scoring.conftest import case_of
from tests.videos import numbered

OWN, DUO = "single-self-0001", "multi-self-0001"
NAMES = ["psnr", "ssim", "lmd", "mae", "aed", "apd"]


@pytest.fixture
def late(method):
    """Predictions whose pictures and faces differ from the reference's."""
    for case_id, dx in ((OWN, 0.02), (DUO, 0.01)):
        tracks = method.tracks(case_id)
        method.write(case_id, [numbered(i + 3) for i in range(40)])
        method.give(case_id, replace(tracks, tracks=tuple(moved(track, dx) for track in tracks.tracks)))
    return method


@pytest.mark.parametrize("case_id", [OWN, DUO])
def test_a_pair_has_the_numbers_of_its_case(late, case_id):
    record = late.score(metrics=NAMES)
    case = next(c for c in late.bench.cases if c.case_id == case_id)
    scores = score_pair(late.path(case_id), late.bench.path(case.drivers[0]), metrics=NAMES)
    values = case_of(record, case_id).values
    assert scores == {name: values[name] for name in NAMES}
    assert scores["lmd"] > 0.005
    assert scores.num_faces == (1 if case_id == OWN else 2)
    assert (scores.num_frames, scores.num_frames_reference, scores.fps) == (40, 40, 25.0)


def test_the_values_of_frames_average_to_the_value_of_the_pair(late):
    case = next(c for c in late.bench.cases if c.case_id == DUO)
    scores = score_pair(late.path(DUO), late.bench.path(case.drivers[0]), metrics="psnr,lmd,follow_expression")
    assert list(scores.per_frame) == ["psnr", "lmd", "lmd_0", "lmd_1"]
    for name in ("psnr", "lmd"):
        assert len(scores.per_frame[name]) == 40
        assert math.fsum(scores.per_frame[name]) / 40 == pytest.approx(scores[name], rel=1e-12)
    for both, left, right in zip(*(scores.per_frame[n] for n in ("lmd", "lmd_0", "lmd_1")), strict=True):
        assert both == pytest.approx((left + right) / 2, rel=1e-12)


def test_distances_between_the_frames_of_two_videos(late, toy_models):
    reference = late.bench.path(late.bench.cases[0].drivers[0])
    scores = score_pair(late.path(OWN), reference, metrics=["FID", "fid_video_mean", "fvd"])
    assert scores["fid"] > 0
    assert scores["fid"] == pytest.approx(scores["fid_video_mean"], rel=1e-9)
    assert score_pair(reference, reference, metrics="fid") == {"fid": pytest.approx(0, abs=1e-6)}


def test_what_cannot_be_computed_has_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    reference = clip(tmp_path / "a.mp4", 20, person(20, hidden=range(15)))
    prediction = clip(tmp_path / "b.mp4", 20, person(20))
    scores = score_pair(prediction, reference)
    assert set(scores) == {"psnr", "ssim"}
    assert scores.unscored["fid"].startswith("weights_missing: exprbench weights fetch inception")
    assert scores.unscored["lmd"] == "the reference shows no face in at least half of its frames"


def test_a_shorter_prediction_is_compared_as_far_as_it_goes(tmp_path, monkeypatch):
    reference = clip(tmp_path / "a.mp4", 40, person(40))
    prediction = clip(tmp_path / "b.mp4", 24, person(24))
    scores = score_pair(prediction, reference, metrics=["psnr"])
    assert (scores.num_frames, scores.num_frames_reference) == (24, 40)
    assert scores["psnr"] > 40


def test_folders_of_frames_and_other_rates_are_compared_by_time(tmp_path):
    write_video(tmp_path / "slow.mp4", (numbered(i) for i in range(20)), fps=12.5)
    write_video(tmp_path / "fast.mp4", (numbered(i // 2) for i in range(40)), fps=25)
    assert score_pair(tmp_path / "slow.mp4", tmp_path / "fast.mp4", metrics="psnr")["psnr"] > 35
    from exprbench.media import write_frames

    write_frames(tmp_path / "folder", read_clip(tmp_path / "fast.mp4")[0])
    assert score_pair(tmp_path / "folder", tmp_path / "fast.mp4", metrics="psnr") == {"psnr": 100.0}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("nothing.mp4", "a.mp4"), "the prediction .*nothing.mp4 does not exist; expected a video or a folder"),
        (("a.mp4", "text.mp4"), "the videos cannot be compared: open_failed"),
        (("text.mp4", "a.mp4"), "the videos cannot be compared: open_failed"),
    ],
)
def test_videos_that_cannot_be_read(tmp_path, names, message):
    clip(tmp_path / "a.mp4", 10)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(UserError, match=message):
        score_pair(*(tmp_path / name for name in names), metrics="psnr")


@pytest.fixture
def videos(tmp_path):
    reference = clip(tmp_path / "a.mp4", 20, person(20))
    shutil.copyfile(reference, tmp_path / "b.mp4")
    give(tmp_path / "b.mp4", load_tracks(given_path(reference)))
    return str(tmp_path / "b.mp4"), str(reference)


def test_the_command_prints_a_table(videos, capsys):
    assert cli.main(["pair", *videos, "--metrics", "PSNR,lmd,fid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["psnr", "100.00", "dB", "higher", "is", "better", "psnr[rgb,frame-mean,cap100]"]
    assert lines[1].split()[:3] == ["lmd", "0.00", "1e-3"]
    assert lines[2].split() == ["fid", "-", "run", "exprbench", "weights", "fetch", "inception"]
    assert lines[3] == "20 of 20 frames at 25 per second; 1 person, faces detected in 100.0% of the frames"


def test_the_command_prints_json_and_csv_and_writes_the_frames(videos, capsys, tmp_path):
    words = ["pair", *videos, "--metrics", "psnr,lmd"]
    assert cli.main([*words, "--format", "json", "--per-frame", str(tmp_path / "frames.csv")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["psnr"], found["lmd"], found["unscored"]) == (100.0, 0.0, {})
    rows = list(csv.DictReader((tmp_path / "frames.csv").open()))
    assert rows[5] == {"frame": "5", "time_s": "0.2", "psnr": "100.0", "lmd": "0.0"}
    assert cli.main([*words, "--format", "csv", "--per-frame", str(tmp_path / "frames.json")]) == 0
    assert capsys.readouterr().out.splitlines()[1] == 'psnr,100.0,"psnr[rgb,frame-mean,cap100]",'
    assert len(json.loads((tmp_path / "frames.json").read_text())) == 20


def test_a_pair_without_any_number_ends_with_status_3(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    assert cli.main(["pair", *videos, "--metrics", "fid"]) == 3
