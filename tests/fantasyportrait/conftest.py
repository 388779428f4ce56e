"""Fixtures computed with the released code, and settings for tiny models."""

import json
import os

import numpy as np
import pytest
import torch

from tests.conftest import SHARED


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
