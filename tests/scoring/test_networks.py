"""FID, FVD and the profile `paper` on the run's own path, with files of the published layouts and random weights."""

import hashlib
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from exprbench import build, weights
from exprbench.faces.video_tracks import given_path
from exprbench.media import read_clip
from exprbench.metrics import COLUMNS
from exprbench.metrics.extractors import frame_features
from exprbench.metrics.fid import InceptionFeatures
from exprbench.metrics.frechet import frechet_distance
from tests.metrics.files import inception_state, saved
from tests.metrics.test_fvd import SmallI3D
from tests.metrics.test_l2cs import published as l2cs_state
from tests.metrics.test_smirk import parts as smirk_parts
from tests.metrics.test_smirk import published as smirk_state
from tests.people import clip, person, still
from tests.scoring.conftest import NUM_FRAMES, Method, case_of
from tests.toys import FrameBits
from tests.videos import numbered


def write_i3d(path):
    torch.manual_seed(0)
    torch.jit.script(SmallI3D()).save(str(path))


@pytest.fixture
def small(tmp_path_factory):
    """One driver of a second, and one portrait: networks are slow without a GPU."""
    root = tmp_path_factory.mktemp("small")
    for name in ("portraits", "driving"):
        (root / name).mkdir()
    still(root / "portraits" / "bo.png", person(1))
    clip(root / "driving" / "ada.mp4", 25, person(25))
    bench = build(portraits=root / "portraits", driving=root / "driving", out=root / "bench", workers=0)
    method = Method(bench, root / "predictions")
    method.folder.mkdir()
    for case in bench.cases:
        shutil.copyfile(bench.path("driving/ada.mp4"), method.path(case.case_id))
        shutil.copyfile(given_path(bench.path("driving/ada.mp4")), method.tracks_path(case.case_id))
    return method


OWN = "single-self-0001"


def test_fvd_and_its_presets(method, model_file):
    model_file("i3d", write_i3d)
    presets = ["fvd_styleganv16", "fvd_videogpt", "fvd_cdfvd", "fvd_common_metrics", "fvd_one_clip_per_video"]
    options = {"metrics": ["fvd", *presets], "split": "single", "track": "self"}
    same = method.score(**options).groups[0].aggregates
    assert set(same) == {"fvd", *presets}
    assert max(a.value for a in same.values()) < 1e-12
    assert same["fvd"].num_samples == 4  # 40 frames are two clips of 16, in two videos
    assert same["fvd"].bias_floor > 0
    method.write(OWN, [cv2.GaussianBlur(frame, (0, 0), 2) for frame in method.frames(OWN)])
    worse = method.score(**options).groups[0].aggregates
    assert min(a.value for a in worse.values()) > 1e-6
    assert worse["fvd"].low <= worse["fvd"].value <= worse["fvd"].high
    multi = method.score(metrics=["fvd_videogpt"], split="multi", track="self").groups[0]
    assert multi.unscored["fvd_videogpt"].startswith("too_few_samples")


def test_fid_is_that_of_the_predictions_frames_and_of_all_of_the_reference(small, model_file):
    path = model_file("inception", lambda path: saved(path, inception_state()))
    small.write(OWN, [cv2.GaussianBlur(frame, (0, 0), 2) for frame in small.frames(OWN)[:4]])
    record = small.score(metrics=["fid_pytorch"], track="self")
    found = record.groups[0].aggregates["fid_pytorch"]
    assert record.weights == {"inception": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert found.num_samples == 4
    network = InceptionFeatures(path, resize="pytorch299")
    folders = small.bench.path("driving/ada.mp4"), small.path(OWN)
    sides = [network.features([network.prepare(f) for f in read_clip(p)[0]]).astype(float) for p in folders]
    assert [len(side) for side in sides] == [25, 4]
    gap = np.square(sides[0].mean(0) - sides[1].mean(0)).sum()
    centred = [(side - side.mean(0)) / np.sqrt(len(side) - 1) for side in sides]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    expected = gap + sum((c**2).sum() for c in centred) - 2 * cross
    assert found.value == pytest.approx(expected, rel=1e-3)  # of features that differ by rounding


@pytest.mark.parametrize("num_frames", [2, 10, NUM_FRAMES])
def test_a_videos_own_fid_compares_with_all_frames_of_its_reference(method, num_frames):
    method.write(OWN, [numbered(7 * i) for i in range(num_frames)])
    options = {"metrics": ["fid"], "split": "single", "track": "self", "networks": {"fid": FrameBits()}}
    case = case_of(method.score(**options), OWN)
    sides = method.bench.path("driving/ada.mp4"), method.path(OWN)
    features = [frame_features(read_clip(path)[0], FrameBits()) for path in sides]
    assert [len(side) for side in features] == [NUM_FRAMES, num_frames]
    assert case.values["fid_video_mean"] == pytest.approx(frechet_distance(*features), rel=1e-9)
    assert case.values["fid_video_mean"] > 0.1


def test_one_frame_has_no_fid_of_its_own(method):
    method.write(OWN, [numbered(7)])
    record = method.score(metrics=["fid"], split="single", track="self", networks={"fid": FrameBits()})
    assert "fid_video_mean" not in case_of(record, OWN).values
    assert record.groups[0].aggregates["fid_video_mean"].num_videos == 1
    assert record.groups[0].aggregates["fid"].num_samples == 1 + NUM_FRAMES


def test_the_profile_of_the_paper(small, model_file):
    model_file("l2cs", lambda path: saved(path, l2cs_state()))
    model_file("smirk", lambda path: saved(path, smirk_state(smirk_parts())))
    tracks = small.tracks(OWN).first(4)
    small.write(OWN, [frame[:, ::-1] for frame in small.frames(OWN)[:4]])
    small.give(OWN, tracks)
    record = small.score(profile="paper", metrics=["mae", "aed", "apd"])
    assert record.ids["mae"] == "mae[l2cs-gaze360]"
    assert set(record.weights) == {"l2cs", "smirk"}
    mirrored, same = (case_of(record, case_id).values for case_id in (OWN, "single-cross-0001"))
    errors = {name for name in same if COLUMNS[name].over == "frame"}
    assert errors == {"mae", "mae_open", "aed", "aed_rmse", "aed_full", "aed_groups", "apd", "apd_deg", "apd_rmse"}
    assert {same[name] for name in errors} == {0}
    assert min(mirrored[name] for name in errors) > 0


@pytest.mark.parametrize("smirk", ["missing", "of another network", "without its package"])
def test_a_subset_of_the_papers_profile_needs_only_its_own_networks(small, model_file, monkeypatch, smirk):
    model_file("l2cs", lambda path: saved(path, l2cs_state()))
    if smirk == "of another network":
        model_file("smirk", lambda path: path.write_bytes(b"something else"))
    if smirk == "without its package":
        monkeypatch.setitem(weights.ALL, "smirk", replace(weights.get("smirk"), package="no_such_package"))
    record = small.score(profile="paper", metrics=["psnr", "mae"])
    assert {case.case_id: case.outcome for case in record.cases} == {OWN: "scored", "single-cross-0001": "scored"}
    assert {name: case_of(record, OWN).values[name] for name in ("psnr", "mae")} == {"psnr": 100, "mae": 0}
    assert all({"psnr", "mae"}.isdisjoint(case.unscored) for case in record.cases)


def test_a_network_without_its_package_leaves_the_other_columns(small, model_file, monkeypatch):
    model_file("l2cs", lambda path: saved(path, l2cs_state()))
    model_file("smirk", lambda path: saved(path, smirk_state(smirk_parts())))
    monkeypatch.setitem(weights.ALL, "smirk", replace(weights.get("smirk"), package="no_such_package"))
    case = case_of(small.score(profile="paper", metrics=["psnr", "mae", "aed"]), OWN)
    assert {name: case.values[name] for name in ("psnr", "mae")} == {"psnr": 100, "mae": 0}
    assert case.unscored["aed"] == (
        "package_missing: no_such_package reads SMIRK_em1.pt; pip install 'exprbench[paper]'"
    )


def test_networks_that_are_not_there_are_told(method, monkeypatch):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", "")
    record = method.score(metrics=["fid", "fvd", "psnr", "mae", "aed"], profile="paper")
    group = record.group("single", "self")
    assert group.aggregates["psnr"].value == 100
    assert "mae" not in group.aggregates
    for column, name in (("fid", "pt_inception"), ("fvd", "i3d_torchscript"), ("mae", "L2CSNet"), ("aed", "SMIRK_em1")):
        assert group.unscored[column].startswith("weights_missing: ")
        assert name in group.unscored[column]


def test_a_file_that_is_not_the_published_one_is_not_used(method, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    (tmp_path / "i3d_torchscript.pt").write_bytes(b"something else")
    group = method.score(metrics=["fvd"], track="self").groups[0]
    assert group.unscored["fvd"].startswith("weights_differ: ")
