import shutil
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest

from exprbench import UserError, cli, load_record
from exprbench.core.errors import ItemError
from exprbench.core.processes import WorkerKilled
from exprbench.faces.video_tracks import given_path
from exprbench.media import write_frames
from exprbench.scoring import run as run_module
from tests.killed import kill_decoders
from tests.people import moved, person
from tests.scoring.conftest import NUM_FRAMES, case_of
from tests.videos import write

SELF, OTHER, DUO = "single-self-0001", "single-self-0002", "multi-self-0001"


def test_predictions_equal_to_the_drivers_are_perfect(method):
    record = method.score()
    for group in record.groups:
        values = {name: a.value for name, a in group.aggregates.items()}
        assert {n: v for n, v in values.items() if n in ("lmd", "mae", "aed", "apd") and v != 0} == {}
        assert max(v for n, v in values.items() if n.startswith(("lmd", "mae", "aed", "apd"))) < 1e-15
        assert (group.coverage, group.detect_rate, group.errors) == (1, 1, {})
        if group.track == "self":
            assert (values["psnr"], values["ssim"], values["psnr_pooled"], values["psnr_identical"]) == (100, 1, 100, 1)
    assert {(g.split, g.track) for g in record.groups} == {
        (s, t) for s in ("single", "multi") for t in ("self", "cross")
    }


def test_the_record_is_what_is_in_the_file(method):
    record = method.score()
    assert load_record(method.folder.with_suffix(".json")) == record
    assert record.benchmark.sha256 == method.bench.sha256
    assert record.protocol["faces"] == "given"
    assert set(record.ids) >= {"psnr", "lmd", "lmd_px", "apd_deg"}
    assert record.cases == sorted(record.cases, key=lambda c: c.case_id)


@pytest.mark.parametrize("pixels", [1, 4, 16])
def test_a_shift_moves_lmd_by_its_share_of_the_width(method, pixels):
    tracks = method.tracks(SELF)
    method.give(SELF, replace(tracks, tracks=(moved(tracks.tracks[0], pixels / 160),)))
    values = case_of(method.score(), SELF).values
    assert values["lmd"] == pytest.approx(pixels / 160, rel=1e-5)
    assert values["lmd_px"] == pytest.approx(pixels, rel=1e-5)
    assert values["mae"] == pytest.approx(0, abs=1e-3)
    assert values["apd"] == 0


def test_growing_damage_moves_each_metric_its_way(method):
    frames, tracks = method.frames(SELF), method.tracks(SELF)
    rows = []
    for strength in (0.5, 1.5, 4):
        method.write(SELF, [cv2.GaussianBlur(f, (0, 0), strength) for f in frames], crf=0)
        rng = np.random.default_rng(0)
        face = tracks.tracks[0]
        noisy = replace(
            face,
            landmarks=face.landmarks + rng.normal(0, 0.002 * strength, face.landmarks.shape).astype(np.float32),
            blendshapes=face.blendshapes + rng.normal(0, 0.02 * strength, face.blendshapes.shape).astype(np.float32),
        )
        method.give(SELF, replace(tracks, tracks=(noisy,)))
        rows.append(case_of(method.score(), SELF).values)
    for name, sign in (("psnr", -1), ("ssim", -1), ("lmd", 1), ("mae", 1), ("aed", 1)):
        values = [sign * row[name] for row in rows]
        assert values == sorted(values)
        assert values[0] < values[-1]


def outcome(method, case_id=SELF):
    case = case_of(method.score(), case_id)
    return case.outcome, case.code, case.num_frames, case.resized


def test_a_missing_prediction(method):
    method.path(SELF).unlink()
    assert outcome(method) == ("error", "missing_file", 0, False)
    group = method.score().group("single", "self")
    assert (group.num_cases, group.num_scored, group.coverage, group.errors) == (2, 1, 0.5, {"missing_file": 1})
    assert group.aggregates["psnr"].value == 100  # an error is not a zero


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "zero_bytes"), (b"not a video at all\n" * 50, "open_failed"), (b"\0" * 5000, "open_failed")],
)
def test_files_that_are_no_videos(method, content, code):
    method.path(SELF).write_bytes(content)
    method.tracks_path(SELF).unlink()
    assert outcome(method) == ("error", code, 0, False)


def test_a_truncated_prediction(method):
    rng = np.random.default_rng(0)
    method.write(SELF, [rng.integers(0, 255, (96, 160, 3), np.uint8) for _ in range(NUM_FRAMES)])
    data = method.path(SELF).read_bytes()
    method.path(SELF).write_bytes(data[: len(data) // 2])
    assert outcome(method) == ("error", "truncated", 0, False)


@pytest.mark.parametrize("count", [1, NUM_FRAMES // 2])
def test_a_short_prediction_lowers_the_coverage(method, count):
    tracks = method.tracks(SELF)
    method.write(SELF, method.frames(SELF)[:count], crf=0)
    method.give(SELF, tracks.first(count))
    case = case_of(method.score(), SELF)
    assert (case.outcome, case.num_frames, case.coverage) == ("scored", count, count / NUM_FRAMES)
    assert case.values["lmd"] == 0
    assert case.detect_rate == 1


def test_a_longer_prediction_is_scored_as_far_as_the_reference_goes(method):
    frames = method.frames(SELF)
    method.write(SELF, [*frames, *frames])
    assert outcome(method) == ("scored", "", NUM_FRAMES, False)


@pytest.mark.parametrize("rate", [30, 50, "24000/1001"])
def test_other_frame_rates_are_brought_to_the_benchmarks(method, rate):
    from fractions import Fraction

    frames = method.frames(SELF)
    count = round(NUM_FRAMES / 25 * Fraction(rate))
    picked = [frames[min(NUM_FRAMES - 1, round(i * 25 / float(Fraction(rate))))] for i in range(count)]
    tracks = method.tracks(SELF)
    write(method.path(SELF), picked, fps=rate)
    method.give(SELF, tracks)
    case = case_of(method.score(), SELF)
    assert (case.outcome, case.coverage) == ("scored", 1)


@pytest.mark.parametrize("scale", [2, 0.5])
def test_another_size_is_resized_and_said(method, scale):
    big = [cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for f in method.frames(SELF)]
    method.write(SELF, big, crf=5)
    record = method.score()
    case = case_of(record, SELF)
    assert (case.outcome, case.resized, case.size) == ("scored", True, (int(160 * scale), int(96 * scale)))
    assert case.values["psnr"] > 25
    assert record.group("single", "self").num_resized == 1
    assert "bicubic" in record.protocol["resize"]


def test_an_odd_size(method):
    method.path(SELF).unlink()
    tracks = method.tracks(SELF)
    write_frames(method.folder / SELF, [cv2.resize(f, (161, 97)) for f in method.frames(OTHER)])
    method.give(SELF, tracks)
    assert outcome(method) == ("scored", "", NUM_FRAMES, True)


def test_a_folder_of_frames(method):
    frames = method.frames(SELF)
    method.path(SELF).unlink()
    write_frames(method.folder / SELF, frames)
    method.give(SELF, method.tracks(SELF))
    case = case_of(method.score(), SELF)
    assert case.values["psnr"] == 100
    assert len(case.prediction_sha256) == 64


def test_a_file_and_a_folder_of_one_name_are_ambiguous(method):
    write_frames(method.folder / SELF, method.frames(SELF)[:2])
    assert outcome(method)[:2] == ("error", "ambiguous_prediction")


def test_a_black_video_without_faces(method):
    tracks = method.tracks(SELF)
    method.write(SELF, [np.zeros((96, 160, 3), np.uint8)] * NUM_FRAMES)
    method.give(SELF, replace(tracks, tracks=()))
    case = case_of(method.score(), SELF)
    assert case.outcome == "scored"
    assert case.values["psnr"] < 15
    assert case.detect_rate == 0
    assert (case.num_faces, case.num_faces_missing) == (1, 1)
    assert "lmd" not in case.values
    assert case.unscored["lmd"].startswith("no_face")
    group = method.score().group("single", "self")
    assert group.detect_rate == 0.5
    assert group.aggregates["lmd"].num_videos == 1


def test_one_of_two_people_gone(method):
    tracks = method.tracks(DUO)
    shifted = moved(tracks.tracks[1], 0.05)
    method.give(DUO, replace(tracks, tracks=(shifted,)))
    case = case_of(method.score(), DUO)
    assert (case.num_faces, case.num_faces_missing, case.detect_rate) == (2, 1, 0.5)
    assert case.values["lmd"] == pytest.approx(0.05, rel=1e-4)


def test_missing_faces_can_be_penalised(method):
    tracks = method.tracks(DUO)
    method.give(DUO, replace(tracks, tracks=(moved(tracks.tracks[1], 0.05),)))
    record = method.score(missing="penalty")
    case = case_of(record, DUO)
    assert case.values["lmd"] == pytest.approx((1 + 0.05) / 2, rel=1e-4)
    assert case.values["mae"] == pytest.approx(45, abs=1e-2)
    assert record.protocol["missing faces"] == "given the worst value"


def test_frames_in_which_the_reference_shows_no_face_count_for_nobody(bench, method, tmp_path):
    """The prediction hides its face in 10 frames; the mean is over the other 30."""
    tracks = method.tracks(SELF)
    face = person(NUM_FRAMES, seed=0, hidden=range(10))
    method.give(SELF, replace(tracks, tracks=(face,)))
    case = case_of(method.score(), SELF)
    assert case.detect_rate == 0.75
    assert case.values["lmd"] == pytest.approx(0, abs=1e-7)


def test_the_order_of_a_predictions_tracks_does_not_matter(method):
    before = case_of(method.score(), DUO).values
    tracks = method.tracks(DUO)
    method.give(DUO, replace(tracks, tracks=tracks.tracks[::-1]))
    assert case_of(method.score(), DUO).values == before


def test_people_who_change_places_are_told_apart_by_where_they_are(method):
    tracks = method.tracks(DUO)
    left, right = tracks.tracks
    swapped = replace(left, blendshapes=right.blendshapes), replace(right, blendshapes=left.blendshapes)
    method.give(DUO, replace(tracks, tracks=swapped))
    values = case_of(method.score(), DUO).values
    assert values["lmd"] == 0
    assert values["aed"] == pytest.approx(np.abs(left.blendshapes.astype(float) - right.blendshapes).mean(), rel=1e-6)


def test_bystanders_are_counted_and_left_alone(method):
    tracks = method.tracks(SELF)
    method.give(SELF, replace(tracks, tracks=(*tracks.tracks, person(NUM_FRAMES, x=3.0, seed=9))))
    case = case_of(method.score(), SELF)
    assert (case.num_faces_extra, case.values["lmd"]) == (1, 0)


def test_tracks_of_another_video_are_an_error(method):
    shutil.copyfile(given_path(method.bench.path("driving/dee.mp4")), method.tracks_path(SELF))
    assert outcome(method)[:2] == ("error", "tracks_mismatch")


def test_tracks_that_cannot_be_read_are_an_error(method):
    method.tracks_path(SELF).write_bytes(b"not tracks")
    assert outcome(method)[:2] == ("error", "tracks_invalid")


def test_cross_cases_have_no_pixels_to_compare(method):
    record = method.score()
    group = record.group("single", "cross")
    assert not {"psnr", "ssim", "lmd"} & group.aggregates.keys()
    assert {"mae", "aed", "apd"} <= group.aggregates.keys()


def test_cross_faces_go_left_to_right_wherever_they_stand(method):
    """The prediction shows the portrait's people elsewhere and smaller: it is who is left that counts."""
    tracks = method.tracks("multi-cross-0001")
    left, right = (moved(t, dx) for t, dx in zip(tracks.tracks, (0.15, -0.1), strict=True))
    method.give("multi-cross-0001", replace(tracks, tracks=(right, left)))
    case = case_of(method.score(), "multi-cross-0001")
    assert case.values["aed"] == 0
    assert case.detect_rate == 1


def test_only_what_is_asked_for(method):
    record = method.score(metrics=["psnr"], split="single", track="self")
    assert [(g.split, g.track) for g in record.groups] == [("single", "self")]
    assert set(record.groups[0].aggregates) == {"psnr", "psnr_pooled", "psnr_identical", "l1"}
    assert record.groups[0].detect_rate is None


def test_an_interval_covers_the_mean_of_the_videos(method):
    method.write(SELF, [cv2.GaussianBlur(f, (0, 0), 2) for f in method.frames(SELF)])
    found = method.score().group("single", "self").aggregates["psnr"]
    assert found.low < found.value < found.high
    assert found.num_videos == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["psrn"]}, "did you mean 'psnr'"),
        ({"profile": "papre"}, "did you mean 'paper'"),
        ({"method": "two\nlines"}, "expected one line"),
        ({"method": " "}, "expected one line"),
        ({"workers": -1}, "--workers is -1"),
        ({"device": "tpu"}, "expected auto, cpu or cuda"),
        ({"split": "multi", "track": "none"}, "no multi none cases"),
    ],
)
def test_mistakes_are_told_in_one_line(method, options, message):
    with pytest.raises(UserError, match=message) as error:
        method.score(**options)
    assert "\n" not in str(error.value)


def test_folders_that_are_not_there(method, tmp_path):
    from exprbench import score

    with pytest.raises(UserError, match="is not a benchmark"):
        score(benchmark=tmp_path, predictions=method.folder, method="m")
    with pytest.raises(UserError, match="is not a folder"):
        score(benchmark=method.bench.root, predictions=tmp_path / "gone", method="m")


def test_another_methods_record_is_not_overwritten(method, tmp_path):
    method.score(method="first", out=tmp_path / "r.json")
    with pytest.raises(UserError, match="is the record of 'first'"):
        method.score(method="second", out=tmp_path / "r.json")
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match="is not a score record"):
        method.score(out=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_a_record_cut_in_half_is_made_again(method):
    record = method.score()
    path = method.folder.with_suffix(".json")
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert replace(method.score(), timing={}) == replace(record, timing={})


def command(method, *more):
    folders = ["--benchmark", method.bench.root, "--predictions", method.folder, "--out", method.folder / "m.json"]
    return cli.main([str(word) for word in ("score", *folders, "--method", "m", "--workers", 0, *more)])


def test_nothing_scored_is_exit_status_3_and_the_record_has_the_reasons(method, capsys):
    options = ("--metrics", "psnr", "--split", "single", "--track", "self")
    assert command(method, *options) == 0
    method.path(SELF).unlink()
    assert command(method, *options) == 3
    assert command(method, *options, "--max-failed", 1) == 0
    method.path(OTHER).unlink()
    assert command(method, *options, "--max-failed", 2) == 3
    assert "nothing was scored" in capsys.readouterr().err
    assert {c.code for c in load_record(method.folder / "m.json").cases} == {"missing_file"}


def test_no_column_that_can_be_computed_is_exit_status_3(method, monkeypatch, capsys):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", "")
    assert command(method, "--metrics", "fid", "--track", "self") == 3
    assert "nothing was scored" in capsys.readouterr().err
    assert load_record(method.folder / "m.json").groups[0].unscored["fid"].startswith("weights_missing")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            WorkerKilled(detail="its worker process was ended by SIGKILL, 3 times"),
            "SIGKILL, 3 times; nothing was written",
        ),
        (WorkerKilled(detail="its decoder process was ended by SIGTERM, 3 times"), "SIGTERM, 3 times; nothing was wri"),
        (ItemError("worker_crashed", "exited with status 1, 2 times"), "every worker process crashed .*; nothing was"),
    ],
)
def test_a_machine_that_ends_the_workers_replaces_no_record(method, tmp_path, monkeypatch, error, message):
    out = tmp_path / "m.json"
    method.score(out=out)
    before = out.read_bytes()
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "fresh"))
    monkeypatch.setattr(run_module, "process_map", lambda function, items, **_: ((item, error) for item in items))
    with pytest.raises(UserError, match=message):
        method.score(out=out)
    assert out.read_bytes() == before
    with pytest.raises(UserError, match=message):
        method.score(out=tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


def test_a_case_that_crashes_its_workers_is_an_error_of_the_case(method, tmp_path, monkeypatch):
    def one_crashes(function, items, **_):
        for i, item in enumerate(items):
            yield item, function(item) if i else ItemError("worker_crashed", "was ended by SIGSEGV, 2 times")

    monkeypatch.setattr(run_module, "process_map", one_crashes)
    record = method.score()
    assert sorted(case.code for case in record.cases) == [*[""] * 5, "worker_crashed"]


def test_decoders_that_are_killed_are_no_error_of_a_case(method, monkeypatch):
    kill_decoders(monkeypatch, signal.SIGKILL)
    with pytest.raises(UserError, match="its decoder process was ended by SIGKILL, 3 times, by the machine or a user"):
        method.score()
    assert not method.folder.with_suffix(".json").exists()
