"""A tiny model folder and clips of made-up people."""

import pytest
import torch

from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.expression import driver as driver_module
from fantasyportrait.training.clip_encoder import ClipEncoder, EncodingConfig
from tests.people import clip, person


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_random_model(folder, "tiny")
    return ModelFolder(folder)


@pytest.fixture
def quick_features(monkeypatch):
    """Features are colours of crops: the real encoder would take seconds."""
    monkeypatch.setattr(
        driver_module, "encode_crops", lambda _, crops: crops.mean((1, 2, 3))[:, None].repeat(554, 1).astype("float32")
    )


@pytest.fixture
def clips(tmp_path):
    """A folder like Hallo3's: one person for 20 frames, two for 9, one for 5, and a video without a face."""
    folder = tmp_path / "hallo3"
    (folder / "videos").mkdir(parents=True)
    (folder / "caption").mkdir()
    clip(folder / "videos/one.mp4", 20, person(20))
    clip(folder / "videos/two.mp4", 9, person(9, x=0.3), person(9, x=0.7, seed=1), start=40)
    clip(folder / "videos/short.mp4", 5, person(5), start=60)
    clip(folder / "videos/faceless.mp4", 9, start=80)
    return folder


@pytest.fixture
def encoder(tiny_folder):
    torch.manual_seed(0)
    return ClipEncoder(tiny_folder, EncodingConfig(sizes=((64, 48), (48, 64)), num_frames=9, fps=25.0))
