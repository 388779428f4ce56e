"""MUSIQ: the loader is tested on the network of pyiqa with random weights."""

import numpy as np
import pytest

from exprbench import UserError
from multiexpr.models.detector import Models
from multiexpr.models.musiq_network import FILE, find_musiq_weights, load_musiq
from multiexpr.recipe import Recipe, ScoreAesthetics, load_recipe
from multiexpr.scorers import make_scorers
from multiexpr.scorers.musiq import MusiqScorer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    return tmp_path


def test_the_weights_of_a_file_are_those_of_the_network(folder):
    import torch

    pyiqa = pytest.importorskip("pyiqa")
    torch.manual_seed(0)
    metric = pyiqa.create_metric("musiq", pretrained=False, device=torch.device("cpu"))
    torch.save({"params": {f"module.{k}": v for k, v in metric.net.state_dict().items()}}, folder / FILE)
    frame = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    with torch.inference_mode():
        expected = float(metric(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255))
    assert load_musiq("cpu")([frame, frame]) == pytest.approx([expected] * 2, rel=1e-4)


def test_weights_of_another_network_are_refused(folder):
    import torch

    pytest.importorskip("pyiqa")
    torch.save({"params": {"weight": torch.zeros(3)}}, folder / FILE)
    with pytest.raises(UserError, match="is not MUSIQ for KonIQ-10k"):
        load_musiq("cpu")


def test_missing_weights_are_named_with_the_remedy(folder):
    with pytest.raises(UserError, match=f"there is no {FILE}"):
        find_musiq_weights()


def test_the_score_is_the_mean_over_frames_and_that_of_the_worst():
    class Network(Models):
        def musiq(self, frames):
            assert {min(frame.shape[:2]) for frame in frames} == {360}
            return np.array([60.0, 40.0])

    running = MusiqScorer(ScoreAesthetics(), Network(Recipe())).start({})
    for value in (50, 150):
        frame = np.full((720, 1280, 3), value, np.uint8)
        frame[::2] += 50  # no letterbox bar
        frame[:, ::3] += 20
        running.update(frame, 0.0)
    assert running.compute() == {"musiq": 50.0, "musiq_min": 40.0}


def test_the_recipe_chooses_the_method():
    recipe = load_recipe(None, ["score.aesthetics.method=musiq"])
    names = [scorer.name for scorer in make_scorers(recipe, Models(recipe))]
    assert "musiq" in names
    assert "photomotion" not in names
