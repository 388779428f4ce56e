"""Doubles on real clips: after normalising, landmarks and pixels are those of the driver."""

import shutil
import sys

import numpy as np
import pytest

import exprbench
from baselines.run_record import load_run
from baselines.spec import method_folders
from exprbench import build
from tests.baselines.bench import part_psnrs, repository, run_double

pytestmark = pytest.mark.slow

# Lowest mean PSNR in dB against the driver, of the part that the method made. Doubles that enlarge a square, or that
# the runner gives a crop, lose detail in the resampling alone; at 12 frames per second, the frame in between is a
# neighbour of the right one.
LEAST_PSNR = {"skyreels-a1": 27}
MOST_LMD = {"skyreels-a1": 6e-3}


@pytest.fixture(scope="module")
def bench(shared, tmp_path_factory):
    """Two self cases: a square clip, and a portrait-shaped one in which the face moves."""
    root = tmp_path_factory.mktemp("real")
    for kind, names in (("portraits", ["portraits/s10.jpg"]), ("driving", ["driving/d20.mp4", "driving/s29.mp4"])):
        (root / kind).mkdir()
        for name in names:
            shutil.copy(shared(name), root / kind)
    return build(portraits=root / "portraits", driving=root / "driving", out=root / "bench", clip_seconds=2, workers=0)


@pytest.mark.parametrize("name", list(method_folders()))
def test_the_landmarks_are_those_of_the_driver(name, bench, tmp_path, needs_weights, monkeypatch):
    needs_weights("face_landmarker")
    repo = repository(name, tmp_path / "repo")
    if name == "fantasyportrait":
        monkeypatch.syspath_prepend(str(repo))
        monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    result = run_double(name, repo, bench, tmp_path / "out", python=sys.executable, track="self", attempts=1)
    assert result.failed == {}
    record = exprbench.score(
        benchmark=bench.root,
        predictions=tmp_path / "out",
        method=name,
        out=tmp_path / "record.json",
        metrics=["psnr", "lmd"],
        track="self",
        workers=0,
    )
    cases = {case.case_id: case for case in bench.cases}
    for case in record.cases:
        run = load_run(tmp_path / "out", case.case_id)
        assert run.normalization["faces_checked"]
        assert case.coverage == pytest.approx(run.normalization["coverage"])
        assert case.detect_rate == 1
        assert case.values["lmd"] < MOST_LMD.get(name, 2e-3), (case.case_id, case.values)
        (part,) = part_psnrs(bench, tmp_path / "out", cases[case.case_id])
        assert part > LEAST_PSNR.get(name, 34), (case.case_id, part)
        assert np.isfinite(list(case.values.values())).all()
