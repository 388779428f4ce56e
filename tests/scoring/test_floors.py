"""Noise floors of whole runs: of sets against features by hand, and of faces on a real clip."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from exprbench import UserError, build, score, table
from exprbench.faces.jitter import JitteredDetection, average
from exprbench.faces.video_tracks import landmarker, track_faces
from exprbench.media import open_clip, read_clip, write_video
from exprbench.metrics.extractors import clip_features, frame_features
from exprbench.metrics.frechet import frechet_distance
from exprbench.records import load_record
from exprbench.toy_benchmark.toy_networks import DemoClipNet, DemoImageNet
from tests.scoring.conftest import without_timing

NETWORKS = {"fid": DemoImageNet(), "fvd": DemoClipNet()}
BENCHMARK_FPS = 25


def test_the_floor_of_a_set_is_the_distance_to_its_own_re_encoding(method, tmp_path):
    record = method.score(metrics=["fid", "fvd"], networks=NETWORKS, split="single", track="self")
    (group,) = record.groups
    sides = {"fid": ([], []), "fvd": ([], [])}
    for case in [c for c in method.bench.cases if (c.split, c.track) == ("single", "self")]:
        path, copy = method.bench.path(case.drivers[0]), tmp_path / f"{case.case_id}.mp4"
        frames, _ = read_clip(path)
        write_video(copy, frames, fps=BENCHMARK_FPS, crf=18)
        for i, side in enumerate((frames, read_clip(copy)[0])):
            sides["fid"][i].append(frame_features(side, NETWORKS["fid"]))
            sides["fvd"][i].append(clip_features(side, NETWORKS["fvd"]))
    for name, (reference, reencoded) in sides.items():
        expected = frechet_distance(np.concatenate(reference), np.concatenate(reencoded))
        assert group.aggregates[name].floor == pytest.approx(expected, rel=1e-6), name
    per_video = [frechet_distance(*pair) for pair in zip(*sides["fid"], strict=True)]
    assert group.aggregates["fid_video_mean"].floor == pytest.approx(np.mean(per_video), rel=1e-6)
    assert 0 < group.aggregates["fid"].floor < group.aggregates["fid"].bias_floor
    assert "Noise floor" in table([record])


def test_given_tracks_have_no_second_detection(method):
    record = method.score()
    assert {a.floor for g in record.groups for n, a in g.aggregates.items() if n not in ("psnr",)} == {None}
    assert "Noise floor" not in table([record])


def test_floors_can_be_left_out_and_change_no_score(method):
    options = {"metrics": ["fid", "psnr"], "networks": NETWORKS}
    with_them, without = method.score(**options), method.score(floors=False, **options)
    assert with_them.groups[0].aggregates["fid"].floor is not None
    stripped = [
        replace(g, aggregates={n: replace(a, floor=None) for n, a in g.aggregates.items()}) for g in with_them.groups
    ]
    assert without_timing(replace(with_them, groups=stripped)) == without_timing(without)


@pytest.mark.parametrize("looks", [0, 17])
def test_a_number_of_crops_that_makes_no_sense(method, looks):
    with pytest.raises(UserError, match=f"--looks is {looks}"):
        method.score(looks=looks)


def test_the_ids_name_the_number_of_crops(method):
    ids = method.score(metrics=["psnr", "lmd"], looks=4).ids
    assert ids["lmd"].endswith(",looks4]")
    assert ids["psnr"] == "psnr[rgb,frame-mean,cap100]"


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """A benchmark of one real clip of a second, and a copy of it encoded again as the prediction."""
    root = tmp_path_factory.mktemp("floors")
    for folder, name in (("portraits", "portraits/s1.jpg"), ("driving", "driving/d20.mp4")):
        (root / folder).mkdir()
        shutil.copyfile(shared(name), root / folder / name.split("/")[1])
    bench = build(portraits=root / "portraits", driving=root / "driving", out=root / "b", clip_seconds=1, workers=0)
    (root / "predictions").mkdir()
    case = next(c for c in bench.cases if c.track == "self")
    frames, _ = read_clip(bench.path(case.drivers[0]))
    write_video(root / "predictions" / f"{case.case_id}.mp4", frames, fps=BENCHMARK_FPS, crf=23)
    return root, bench.path(case.drivers[0])


def real_score(root, **options):
    folders = {"benchmark": root / "b", "predictions": root / "predictions", "out": root / f"{len(options)}.json"}
    return score(**folders, method="copy", metrics=["lmd", "mae", "aed", "apd"], track="self", workers=0, **options)


def detections(path, count):
    tracks = track_faces(path)
    found = [JitteredDetection(landmarker(), tracks, k) for k in range(count)]
    with open_clip(path, fps=BENCHMARK_FPS) as clip:
        for frame in clip:
            for detection in found:
                detection.update(frame)
    return tracks, [detection.compute() for detection in found]


@pytest.mark.slow
def test_the_floor_of_faces_is_that_of_a_second_detection(real, needs_weights):
    needs_weights("face_landmarker")
    root, driver = real
    record = real_score(root)
    aggregates = record.groups[0].aggregates
    tracks, found = detections(driver, 2)
    once, again = tracks.tracks[0], found[1].tracks[0]
    lmd = np.linalg.norm(once.landmarks[:, :, :2] - again.landmarks[:, :, :2], axis=-1).mean()
    aed = np.abs(once.blendshapes - again.blendshapes).mean()
    assert aggregates["lmd"].floor == pytest.approx(lmd, rel=1e-5)
    assert aggregates["aed"].floor == pytest.approx(aed, rel=1e-5)
    assert all(aggregates[name].floor > 0 for name in ("lmd", "mae", "aed", "apd", "aed_rel", "lmd_px"))
    assert aggregates["lmd"].value < 3 * aggregates["lmd"].floor  # a copy is about as near as a second detection
    path = root / "read.json"
    path.write_bytes((root / "0.json").read_bytes())
    assert load_record(path) == record
    assert "single self LMD" in table([record])


@pytest.mark.slow
def test_several_crops_are_averaged_on_both_sides(real, needs_weights):
    needs_weights("face_landmarker")
    root, driver = real
    record = real_score(root, looks=2)
    found = record.groups[0].aggregates
    _, parts = detections(driver, 4)
    first, second = (average(parts[i : i + 2]).tracks[0] for i in (0, 2))
    floor = np.abs(first.blendshapes - second.blendshapes).mean()
    assert found["aed"].floor == pytest.approx(floor, rel=1e-5)
    predicted = average(detections(next((root / "predictions").glob("*.mp4")), 2)[1]).tracks[0]
    assert found["aed"].value == pytest.approx(np.abs(first.blendshapes - predicted.blendshapes).mean(), rel=1e-5)
    assert found["aed"].floor < real_score(root).groups[0].aggregates["aed"].floor
