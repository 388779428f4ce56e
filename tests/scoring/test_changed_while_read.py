"""A file that changes during a run: nothing read from it is kept under the hash of the original."""

import shutil
from dataclasses import replace

import pytest

from exprbench import Benchmark, UserError
from exprbench.core.cache import cache_root
from exprbench.scoring import run as run_module
from exprbench.scoring.single_pass import VideoInput
from tests.scoring.conftest import case_of

OWN = "single-self-0001"
OPTIONS = {"metrics": ["psnr", "lmd"], "split": "single", "track": "self"}


@pytest.fixture
def own(method, tmp_path):
    """Return predictions for a benchmark that the test may spoil."""
    shutil.copytree(method.bench.root, tmp_path / "copy")
    return replace(method, bench=Benchmark.open(tmp_path / "copy"))


@pytest.fixture
def change(monkeypatch):
    """`change(path)` appends to a file once its first frame was read; `change(None)` stops that."""

    def do(path):
        def frames(video, clip):
            for frame in read(video, clip):
                if video.path == path:
                    with path.open("ab") as file:
                        file.write(b"\0")
                yield frame

        monkeypatch.setattr(VideoInput, "frames", frames)

    read = VideoInput.frames
    return do


def test_a_prediction_that_changes_is_an_error_and_is_not_cached(own, change):
    whole = own.path(OWN).read_bytes()
    change(own.path(OWN))
    case = case_of(own.score(**OPTIONS), OWN)
    assert (case.outcome, case.code) == ("error", "decode_errors")
    assert "changed while it was read" in case.detail
    change(None)
    own.path(OWN).write_bytes(whole)
    assert case_of(own.score(**OPTIONS), OWN).values["psnr"] == 100


def test_a_driver_that_changes_ends_the_run_and_is_not_cached(own, change):
    driver = own.bench.path("driving/ada.mp4")
    whole = driver.read_bytes()
    change(driver)
    with pytest.raises(UserError, match="has changed since the benchmark was built"):
        own.score(**OPTIONS)
    assert not own.folder.with_suffix(".json").exists()
    assert not list((cache_root() / "pixels").rglob("*"))
    change(None)
    driver.write_bytes(whole)
    assert case_of(own.score(**OPTIONS), OWN).values["psnr"] == 100


@pytest.mark.parametrize(
    "change", [lambda path: path.write_bytes(path.read_bytes() + b"\0"), lambda path: path.unlink()]
)
def test_a_driver_that_changes_after_it_was_read_is_noticed_before_the_record_is_written(own, monkeypatch, change):
    def score_then_change(plan, cases, workers):
        scores = score_all(plan, cases, workers)
        change(own.bench.path("driving/ada.mp4"))
        return scores

    score_all = run_module._score_all
    monkeypatch.setattr(run_module, "_score_all", score_then_change)
    with pytest.raises(UserError, match="has changed since the benchmark was built"):
        own.score(**OPTIONS)
    assert not own.folder.with_suffix(".json").exists()
