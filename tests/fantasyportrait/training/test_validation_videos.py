"""Validation videos are sampled with the weights in training and scored."""

from types import SimpleNamespace

import pytest
import torch

import exprbench
from exprbench.benchmark import Benchmark
from fantasyportrait.settings import SamplingConfig
from fantasyportrait.training import validation_videos
from fantasyportrait.training.initial_weights import build_model
from fantasyportrait.training.sharding import TrainingRanks
from fantasyportrait.training.validation_videos import validate_with_benchmark
from tests.fantasyportrait.training.runs import CONFIG
from tests.people import clip, person, still

CPU = torch.device("cpu")
SAMPLING = SamplingConfig(size="64x48", steps=2, frames=5, expression_guidance=1.0)


@pytest.fixture
def bench(tmp_path):
    for name in ("p", "d"):
        (tmp_path / name).mkdir()
    still(tmp_path / "p/one.png", person(1))
    clip(tmp_path / "d/a.mp4", 25, person(25, seed=3))
    exprbench.build(portraits=tmp_path / "p", driving=tmp_path / "d", out=tmp_path / "bench", clip_seconds=1, workers=0)
    return tmp_path / "bench"


def test_cases_of_both_tracks_are_sampled_and_averaged(
    bench, tiny_folder, tmp_path, monkeypatch, quick_features, own_cache, capsys
):
    scored = []

    def score(**options):
        scored.append(options)
        values = {"single-self-0001": {"aed": 1.0}, "single-cross-0001": {"aed": 3.0, "apd": 2.0}}
        cases = [SimpleNamespace(track=name.split("-")[1], values=found) for name, found in values.items()]
        return SimpleNamespace(cases=cases)

    monkeypatch.setattr(validation_videos, "score", score)
    model = build_model(CONFIG, tiny_folder, tiny_folder.adapter, CPU, continue_adapter=True)
    trained = {name: p.detach().clone() for name, p in model.named_parameters()}
    options = {"device": CPU, "ranks": TrainingRanks(), "precision": "fp32", "limit": 1}
    found = validate_with_benchmark(model, tiny_folder, Benchmark.open(bench), tmp_path / "out", SAMPLING, **options)
    assert found == {"videos": {"self/aed": 1.0, "cross/aed": 3.0, "cross/apd": 2.0}}
    line = "validation videos: self/aed 1.0000, cross/aed 3.0000, cross/apd 2.0000"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert sorted(p.name for p in (tmp_path / "out").glob("*.mp4")) == ["single-cross-0001.mp4", "single-self-0001.mp4"]
    assert scored[0]["metrics"] == ("aed", "apd", "csim")
    for name, p in model.named_parameters():
        assert torch.equal(p, trained[name])
        assert p.requires_grad  # the model trains on
