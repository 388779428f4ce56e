"""Model of the `tiny` recipe: an autoencoder of the clips, and expression features that are normalised over them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fantasyportrait.checkpoints.layout import check_model_files
from fantasyportrait.checkpoints.loading import load_expression_encoder
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.expression.driver import FaceMotion
from fantasyportrait.training import tiny_run
from fantasyportrait.training.clip_encoder import ClipEncoder
from fantasyportrait.training.clip_sources import list_clips
from fantasyportrait.training.recipes import tiny
from fantasyportrait.training.tiny_run import normalise_expressions, write_tiny_model


@pytest.fixture
def crops():
    return torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_features_get_mean_0_and_variance_1_over_the_clips(tmp_path, crops, clips, monkeypatch):
    write_random_model(tmp_path / "m", "tiny")
    folder = ModelFolder(tmp_path / "m")
    before = folder.manifest["expression"]["sha256"]
    with torch.no_grad():
        plain = load_expression_encoder(folder)(crops).numpy()
    motion = FaceMotion(features=plain, boxes=np.zeros((3, 4), np.float32), num_filled=0)
    monkeypatch.setattr(ClipEncoder, "motions", lambda self, clip: [motion])
    normalise_expressions(folder, list_clips("s", clips)[:1], tiny())
    changed = ModelFolder(tmp_path / "m")
    assert changed.manifest["expression"]["sha256"] != before
    with torch.no_grad():
        features = load_expression_encoder(changed)(crops).numpy()
    np.testing.assert_allclose(features.mean(0), 0, atol=0.01)  # float32 weights, divided by small deviations
    np.testing.assert_allclose(features.std(0), 1, atol=0.01)


def test_a_model_that_was_begun_is_written_again(tmp_path, clips, quick_features, own_cache, monkeypatch):
    config = replace(tiny(), size="tiny", sizes=((64, 48),))
    listed = list_clips("s", clips)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(tiny_run, "normalise_expressions", stop)
        with pytest.raises(KeyboardInterrupt):
            write_tiny_model(tmp_path / "m", listed, config)
    assert not (tmp_path / "m").exists()
    write_tiny_model(tmp_path / "m", listed, config)
    check_model_files(tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir() if "m" in path.name and path.name.startswith(".")] == []
    assert ModelFolder(tmp_path / "m").base.config("VAE") == {"_class_name": "PatchAutoencoder"}
