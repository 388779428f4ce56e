"""Reference numbers made with the released code, and tiny models."""

import json

import numpy as np
import pytest
import torch

from tests.conftest import SHARED


@pytest.fixture(autouse=True, scope="session")
def _few_threads():
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session")
def official():
    """`official("dit.npz")` is a dict of arrays, `official("x.json")` parsed; skips, by name, where it is not there."""
    cache = {}

    def read(name):
        path = SHARED / "fixtures" / name
        if not path.exists():
            pytest.skip(f"needs ../shared/fixtures/{name}")
        if name not in cache:
            cache[name] = json.loads(path.read_text()) if path.suffix == ".json" else dict(np.load(path))
        return cache[name]

    return read
