"""The plan of a run: columns, names, predictions, and the origin of face tracks."""

import shutil
from dataclasses import replace

import pytest

from exprbench import UserError
from exprbench.core.errors import ItemError
from exprbench.faces.video_tracks import tracks_made_by
from exprbench.metrics import COLUMNS, METRICS, metric_ids
from exprbench.scoring import computations
from exprbench.scoring.plan import ScoringPlan, choose_columns, method_file_name, missing_weights
from exprbench.scoring.prediction_files import find_prediction
from tests.folders import rewritten
from tests.scoring.conftest import case_of
from tests.toys import ClipBits, FrameBits
from tests.videos import numbered, write

OWN = "single-self-0001"


def plan(bench, predictions, **changes):
    fields = {"profile": "mediapipe", "columns": ("lmd",), "missing": "exclude", "pairing": "time", "device": "cpu"}
    fields["without"] = {}
    return ScoringPlan(bench=bench, predictions=predictions, **{**fields, **changes})


def test_all_metrics_include_the_cheap_extras():
    chosen = choose_columns(None, "mediapipe")
    assert set(METRICS) < set(chosen)
    assert {"psnr_pooled", "lmd_px", "mae_in_head", "fid_video_mean"} < set(chosen)
    assert not {"fid_pytorch", "fvd_cdfvd"} & set(chosen)
    assert list(chosen) == [name for name in metric_ids("mediapipe") if name in chosen]


def test_a_metric_includes_its_extras_and_an_extra_nothing_else():
    assert choose_columns(["apd", "psnr"], "mediapipe") == (
        *("psnr", "apd", "psnr_pooled", "psnr_identical"),
        *("apd_deg", "apd_rmse", "apd_rel", "follow_pose", "apd_at_lag", "apd_rel_at_lag", "apd_rotmat", "l1"),
    )
    assert choose_columns(["fid_pytorch"], "mediapipe") == ("fid_pytorch",)
    with pytest.raises(UserError, match="'aed_full' is not defined for the profile mediapipe, only for paper"):
        choose_columns(["aed_full"], "mediapipe")
    assert "aed_full" in choose_columns(["aed"], "paper")


@pytest.mark.parametrize(
    ("method", "name"),
    [("mine", "mine"), ("My method/2 (new)", "My-method-2-new"), ("..", "method"), ("a_b.c", "a_b.c")],
)
def test_a_method_has_a_file_name(method, name):
    assert method_file_name(method) == name


def test_the_default_record_has_the_methods_name(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = method.score(method=" my method ", out=None, metrics=["psnr"], split="single", track="self")
    assert record.method == "my method"
    assert (tmp_path / "my-method.json").is_file()


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "libx264"), (".mkv", "libx264"), (".mov", "libx264"), (".webm", "libvpx-vp9"), (".avi", "mpeg4")],
)
def test_predictions_can_have_any_common_container(bench, tmp_path, suffix, codec):
    case = bench.cases[0]
    path = write(tmp_path / f"{case.case_id}{suffix}", [numbered(i) for i in range(5)], codec=codec)
    assert find_prediction(tmp_path, case) == path
    (tmp_path / f"{case.case_id}.txt").touch()
    (tmp_path / f"{case.case_id}0.mp4").touch()
    assert find_prediction(tmp_path, case) == path
    shutil.copyfile(path, tmp_path / f"{case.case_id}{'.mkv' if suffix == '.mp4' else '.mp4'}")
    with pytest.raises(ItemError, match="ambiguous_prediction"):
        find_prediction(tmp_path, case)


def test_a_missing_prediction_is_named(bench, tmp_path):
    with pytest.raises(ItemError, match=f"missing_file: .* holds neither {OWN}.mp4 nor a folder {OWN}"):
        find_prediction(tmp_path, bench.cases[0])


def test_the_origin_of_face_tracks_is_given_for_both_sides(bench, method, tmp_path):
    found = {path: asset for path, asset in bench.assets.items() if asset.kind != "tracks"}
    some = {path: asset for path, asset in bench.assets.items() if path != "driving/ada.tracks.npz"}
    empty, here, made = tmp_path / "empty", method.folder, tracks_made_by()
    empty.mkdir()
    expected = {
        ("all", here): "given",
        ("none", empty): made,
        ("all", empty): f"reference given; prediction {made}",
        ("none", here): f"reference {made}; prediction given",
        ("some", here): f"reference {made}; prediction given",
    }
    assets = {"all": bench.assets, "none": found, "some": some}
    for (which, predictions), words in expected.items():
        assert plan(replace(bench, assets=assets[which]), predictions).face_sources() == words


def test_custom_networks_have_their_own_ids(method):
    networks = {"fid": FrameBits(), "fvd": ClipBits()}
    record = method.score(metrics=["fid", "fvd", "psnr"], track="self", split="single", networks=networks)
    assert record.ids == {
        "fid": "fid[bits]",
        "fvd": "fvd[bits,16f,hop16]",
        "psnr": "psnr[rgb,frame-mean,cap100]",
        "fid_video_mean": "fid[bits,video-mean]",
        "psnr_pooled": "psnr[rgb,pooled,cap100]",
        "psnr_identical": "psnr[rgb,identical-share]",
        "l1": "l1[rgb,frame-mean]",
    }
    assert record.weights == {}
    assert (record.benchmark.num_cases, len(record.cases)) == (len(method.bench.cases), 2)


def test_missing_model_files_are_the_reason_for_missing_columns(bench, tmp_path):
    without = {"face_landmarker": "no landmarker", "l2cs": "no gaze", "inception": "no inception"}
    lacking = plan(bench, tmp_path, profile="paper", without=without)
    assert {
        c: lacking.unavailable_reason(COLUMNS[c])
        for c in ("mae", "mae_open", "aed", "lmd", "fid", "fid_video_mean", "psnr")
    } == {
        "mae": "no gaze",
        "mae_open": "no gaze",
        "aed": "",
        "lmd": "",  # its tracks may be given
        "fid": "no inception",
        "fid_video_mean": "no inception",
        "psnr": "",
    }
    own = plan(bench, tmp_path, without=without, networks={"fid": FrameBits()})
    assert own.unavailable_reason(COLUMNS["fid"]) == ""


def test_missing_files_are_those_the_columns_need(model_file):
    model_file("i3d", lambda path: path.write_bytes(b"a model"))
    assert set(missing_weights(["fid", "fvd", "psnr"], "mediapipe")) == {"inception"}
    assert set(missing_weights(["mae", "apd"], "paper")) == {"face_landmarker", "l2cs", "smirk"}


@pytest.mark.parametrize(
    ("asked", "gpu", "models", "device"),
    [
        ("auto", True, ["inception"], "a GPU"),
        ("auto", True, ["inception", "i3d"], "a GPU"),
        ("auto", True, [], "cpu"),  # nothing to run there
        ("auto", False, ["inception"], "cpu"),
        ("cpu", True, ["inception"], "cpu"),
        ("cuda", True, ["i3d"], "a GPU"),
    ],
)
def test_a_gpu_is_used_where_there_is_one_and_a_network_to_run(
    method, model_file, monkeypatch, asked, gpu, models, device
):
    for name in models:
        model_file(name, lambda path: path.write_bytes(b"a model"))
    kinds = {"fid": FrameBits, "fvd": ClipBits}
    monkeypatch.setattr(computations, "load_network", lambda name, _: kinds[COLUMNS[name].parent]())
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
    record = method.score(metrics=["fid", "fvd"], split="single", track="self", device=asked)
    assert record.device == device
    assert list(record.weights) == sorted(models)


def test_a_missing_gpu_is_a_user_error(method, model_file, monkeypatch):
    model_file("inception", lambda path: path.write_bytes(b"a model"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU; use --device cpu"):
        method.score(metrics=["fid"], device="cuda")


def test_a_model_file_of_a_column_without_a_value_is_not_recorded(method, model_file):
    model_file("face_landmarker", lambda path: path.write_bytes(b"a model"))
    record = method.score(metrics=["mae"], profile="paper", split="single", track="self")
    assert record.weights == {}


def test_the_record_lists_the_model_files_used(method, model_file):
    path = model_file("face_landmarker", lambda path: path.write_bytes(b"a model"))
    record = method.score(metrics=["lmd", "fid"], split="single", track="self")
    assert list(record.weights) == ["face_landmarker"]
    assert path.is_file()
    assert record.protocol["missing faces"] == "left out"
    assert record.protocol["fps"] == "25"
    assert case_of(record, OWN).values["lmd"] == 0


def test_the_record_has_the_benchmarks_frame_rate(method, tmp_path):
    method.bench = rewritten(method.bench, tmp_path / "slow", fps=12.5)
    assert method.score(metrics=["psnr"], split="single", track="self").protocol["fps"] == "12.5"


@pytest.mark.parametrize(
    ("track", "columns"),
    [("self", ["fid", "lmd", "apd", "mae", "aed_rmse"]), ("cross", ["apd", "mae", "aed_rmse"])],
)
def test_columns_are_those_a_track_can_have_in_the_registrys_order(bench, tmp_path, track, columns):
    wanted = plan(bench, tmp_path, columns=("apd", "aed_rmse", "mae", "lmd", "fid"))
    assert [metric.name for metric in wanted.columns_on(track)] == columns
