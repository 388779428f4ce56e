"""Reference numbers made with the released code, and tiny models."""

import json
import os

import numpy as np
import pytest
import torch

from tests.conftest import SHARED


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Threads that wait for each other on busy cores cost tiny models ten times their work."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


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
