"""One video as the prediction of several cases."""

import pytest

from exprbench import build
from tests.people import clip, person, still
from tests.scoring.conftest import Method, without_timing
from tests.scoring.world import SETS


@pytest.fixture
def same_everywhere(tmp_path):
    """Drivers of 40, 30, 40 and 30 frames, and one video that is the prediction for all of them."""
    for name in ("portraits", "driving"):
        (tmp_path / name).mkdir()
    for i, (name, length) in enumerate(zip("abcd", (40, 30, 40, 30), strict=True)):
        clip(tmp_path / "driving" / f"{name}.mp4", length, person(length, seed=i), start=100 * i)
    still(tmp_path / "portraits" / "e.png", person(1))
    folders = {name: tmp_path / name for name in ("portraits", "driving")}
    method = Method(build(**folders, out=tmp_path / "bench", workers=0), tmp_path / "predictions")
    method.folder.mkdir()
    for c in method.bench.cases:
        clip(method.path(c.case_id), 40, person(40), start=7)
    return method


def test_one_video_for_references_of_two_lengths(same_everywhere, toy_models, monkeypatch, tmp_path):
    options = {**SETS, "metrics": [*SETS["metrics"], "fvd_common_metrics", "psnr"]}
    same_everywhere.score(**options, shard=(1, 2))
    warm = same_everywhere.score(**options, shard=(2, 2), out=tmp_path / "second.json")
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "empty"))
    cold = same_everywhere.score(**options, shard=(2, 2), out=tmp_path / "second.json")
    assert without_timing(warm) == without_timing(cold)
    assert {c.num_frames for c in cold.cases} == {30}


def test_one_video_for_two_cases_has_clips_drawn_for_each(same_everywhere, toy_models):
    options = {**SETS, "metrics": ["fvd_cdfvd", "fvd"], "shard": (1, 2)}
    found = same_everywhere.score(**options).groups[0].aggregates
    assert found["fvd_cdfvd"].num_samples == 2
    assert found["fvd_cdfvd"].rank == 1  # 0 where both clips are of the same frames
