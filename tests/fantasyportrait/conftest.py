"""Fixtures computed with the released code, and settings for tiny models."""

import json
import os

import numpy as np
import pytest
import torch

from fantasyportrait.expression import driver as driver_module
from tests.conftest import SHARED
from tests.people import clip, person, still


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Use one thread: on busy cores, synchronisation costs tiny models ten times their computation."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def official():
    """Return a reader: `official("dit.npz")` is a dict of arrays, `official("x.json")` parsed JSON."""
    cache = {}

    def read(name):
        path = SHARED / "fixtures" / name
        if not path.exists():
            pytest.skip(f"needs ../shared/fixtures/{name}")
        if name not in cache:
            cache[name] = json.loads(path.read_text()) if path.suffix == ".json" else dict(np.load(path))
        return cache[name]

    return read


@pytest.fixture
def files(tmp_path):
    """Write a portrait of three people, and three drivers of one, one and two people."""
    still(tmp_path / "three.png", person(1, x=0.2), person(1, x=0.5, seed=1), person(1, x=0.8, seed=2))
    clip(tmp_path / "a.mp4", 12, person(12, x=0.4))
    clip(tmp_path / "b.mp4", 9, person(9, x=0.6, seed=4, hidden=(3, 4)))
    clip(tmp_path / "two.mp4", 14, person(14, x=0.3, seed=5), person(14, x=0.7, seed=6))
    return tmp_path


@pytest.fixture
def counted(monkeypatch):
    """Return a list of the batch sizes given to the encoder."""
    counts = []

    def encode(_encoder, crops):
        counts.append(len(crops))
        return np.repeat(crops.mean((1, 2, 3))[:, None], 554, 1).astype(np.float32)

    monkeypatch.setattr(driver_module, "encode_crops", encode)
    return counts
