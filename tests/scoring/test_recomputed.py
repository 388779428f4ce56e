"""Every column of a whole run, recomputed from the files by `tests/recompute.py` without a line of the project."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exprbench.faces.video_tracks import given_path
from exprbench.metrics import COLUMNS
from tests import recompute
from tests.scoring.conftest import case_of
from tests.toys import ClipBits, FrameBits

# Columns whose networks are not here, and the test that checks each against another implementation.
ELSEWHERE = {
    **dict.fromkeys(("csim", "csim_arcface"), "metrics/test_csim.py"),
    **dict.fromkeys(("aed_full", "aed_groups"), "metrics/test_other_variants.py"),
    **dict.fromkeys(("fid_pytorch",), "metrics/test_fid.py"),
    **dict.fromkeys((name for name in COLUMNS if name.startswith("fvd_")), "metrics/test_fvd.py"),
    "fvd_videomae": "metrics/test_videomae.py",
    "lpips": "metrics/test_lpips.py",
}
NETWORKS = {"fid": FrameBits(), "fvd": ClipBits()}


def test_it_imports_nothing_of_the_project():
    tree = ast.parse(Path(recompute.__file__).read_text())
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in modules if name.split(".")[0] in ("exprbench", "tests", "multiexpr")]
    assert all((Path(__file__).parents[1] / name).is_file() for name in ELSEWHERE.values())


@pytest.fixture
def record(method):
    """Scores of predictions that err in the picture, in time and in every number of a face."""
    rng = np.random.default_rng(0)
    for case in method.bench.cases:
        frames, tracks = method.frames(case.case_id), method.tracks(case.case_id)
        faces = []
        for face in tracks.tracks:
            order = np.maximum(np.arange(len(face.seen)) - 2, 0)
            turn = np.eye(4, dtype=np.float32)
            turn[:3, :3] = np.linalg.qr(np.eye(3) + rng.normal(0, 0.05, (3, 3)))[0]
            turn[:3, :3] *= np.sign(np.diag(turn[:3, :3]))
            noise = rng.normal(0, 0.01, face.landmarks.shape).astype(np.float32)
            shapes = (0.8 * face.blendshapes[order] + rng.uniform(0, 0.2, face.blendshapes.shape)).astype(np.float32)
            faces.append(
                replace(face, pose=turn @ face.pose[order], landmarks=face.landmarks + noise, blendshapes=shapes)
            )
        method.write(case.case_id, [np.roll(frame, t % 3, axis=1) for t, frame in enumerate(frames)])
        method.give(case.case_id, replace(tracks, tracks=tuple(faces)))
    metrics = ["fid", "fvd", "psnr", "ssim", "lmd", "mae", "aed", "apd", "kid"]
    return method.score(metrics=metrics, networks=NETWORKS)


def sides(method, case):
    """Faces of the driver and of the prediction, and the size of their videos."""
    driver = method.bench.path(case.drivers[0])
    files = given_path(driver), method.tracks_path(case.case_id)
    size = recompute.frames_of(driver).shape[2:0:-1]
    return *(recompute.faces_of(file) for file in files), size


def test_every_value_of_every_case(method, record):
    checked = set()
    for case in method.bench.cases:
        drivers, predicted, size = sides(method, case)
        pairs = [(drivers[pair[1]], face) for pair, face in zip(case.face_map, predicted, strict=True)]
        faces = [recompute.face_columns(*pair, size) for pair in pairs]
        expected = {name: np.mean([face[name] for face in faces]) for name in faces[0]}
        if len(pairs) > 1:
            expected |= recompute.people_columns(*zip(*pairs, strict=True))
        if case.track == "self":
            videos = [
                recompute.frames_of(path) for path in (method.bench.path(case.drivers[0]), method.path(case.case_id))
            ]
            expected |= recompute.pixel_columns(*videos)
            features = [NETWORKS["fid"].features([NETWORKS["fid"].prepare(f) for f in video]) for video in videos]
            expected["fid_video_mean"] = recompute.frechet(*(f.astype(float) for f in features))
        values = case_of(record, case.case_id).values
        assert values == {name: pytest.approx(expected[name], rel=2e-5, abs=1e-7) for name in values}, case.case_id
        checked |= values.keys()
    of_cases = {name for name, metric in COLUMNS.items() if metric.per == "case"}
    assert of_cases - checked == ELSEWHERE.keys() & of_cases
    assert all(values > 0 for name, values in expected.items() if name.startswith(("lmd", "mae", "aed", "apd")))


def clips(video):
    return [video[start : start + 16] for start in range(0, len(video) - 15, 16)]


def test_distances_between_sets(method, record):
    for split in ("single", "multi"):
        frames, parts = ([], []), ([], [])
        for case in method.bench.select(split=split, track="self"):
            for i, path in enumerate((method.bench.path(case.drivers[0]), method.path(case.case_id))):
                prepared = [NETWORKS["fid"].prepare(frame) for frame in recompute.frames_of(path)]
                frames[i].extend(NETWORKS["fid"].features(prepared).astype(float))
                parts[i].extend(NETWORKS["fvd"].features(clips(prepared)).astype(float))
        aggregates = record.group(split, "self").aggregates
        assert aggregates["fid"].value == pytest.approx(recompute.frechet(*map(np.array, frames)), abs=1e-5)
        assert aggregates["fvd"].value == pytest.approx(recompute.frechet(*map(np.array, parts)), abs=1e-5)
        assert aggregates["kid"].value == pytest.approx(
            recompute.kernel_distance(*map(np.array, frames)), rel=1e-6, abs=1e-9
        )
    assert {n for n, m in COLUMNS.items() if m.per == "group"} - {"fid", "fvd", "kid"} <= ELSEWHERE.keys()
