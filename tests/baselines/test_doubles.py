"""Every method's double through the real runner: timing and picture survive rates, crops, panels and letterboxes."""

import json
import os

import numpy as np
import pytest

from baselines.run_record import load_run
from baselines.spec import find_method, method_folders
from baselines.timing import covered_frames, nearest_frames, shown_frames
from exprbench.metrics.psnr import psnr
from tests.baselines.bench import frames_of, hashes, repository, run_double
from tests.videos import number_of

FAST = ("skyreels-a1", "x-nemo")
METHODS = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in method_folders()]
LOCATED = ("x-nemo", "megactor")  # crops chosen by the method: placed to a pixel, not exactly


def expected_numbers(method, num_frames, fps):
    spec = method.output
    shown = shown_frames(spec, num_frames, fps)
    step = fps / spec.fps if spec.fps else 1
    return [shown[k] for k in nearest_frames(shown, covered_frames(shown, num_frames, step))]


@pytest.mark.parametrize("name", METHODS)
def test_every_frame_is_at_its_time_and_in_its_place(name, square_bench, python, tmp_path, no_models, monkeypatch):
    repo, method = repository(name, tmp_path / "repo"), find_method(name)
    if not method.repo:
        monkeypatch.setenv("PYTHONPATH", f"{repo}:{os.environ.get('PYTHONPATH', '')}")
    before = hashes(repo), hashes(square_bench.root)
    out = tmp_path / "out"
    result = run_double(name, repo, square_bench, out, python=python, track="self")
    assert result.failed == {}
    (case,) = square_bench.select("single", "self")
    driver, made = frames_of(square_bench.path(case.drivers[0])), frames_of(out / f"{case.case_id}.mp4")
    numbers = expected_numbers(method, 30, 25)
    assert [number_of(frame) for frame in made] == numbers
    assert np.mean([psnr(driver[n], frame) for n, frame in zip(numbers, made, strict=True)]) > 28
    assert (hashes(repo), hashes(square_bench.root)) == before
    record = load_run(out, case.case_id)
    assert (record.status, record.code) == ("ok", "")
    assert record.seed == (method.seed if method.takes_seed else None)
    assert record.normalization["coverage"] == len(made) / 30
    assert json.loads((out / "runs" / f"{case.case_id}.json").read_text())["prediction_sha256"]
