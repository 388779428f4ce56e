"""Benchmarks of numbered frames, and no models."""

import sys

import pytest

from tests.baselines.bench import numbered_bench

collect_ignore = ["doubles"]  # scripts of other environments; one is named like a test


@pytest.fixture(autouse=True)
def private(tmp_path, monkeypatch):
    """A cache and environments of this test's own, no models, and jobs that do not see this checkout's path."""
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EXPRBENCH_BASELINES", str(tmp_path / "environments"))
    monkeypatch.delenv("EXPRBENCH_METHODS", raising=False)


@pytest.fixture
def no_models(tmp_path, monkeypatch):
    (tmp_path / "no-weights").mkdir()
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path / "no-weights"))


@pytest.fixture(scope="session")
def square_bench(tmp_path_factory):
    """A square benchmark of two cases, self and cross, of 30 frames at 25 frames per second."""
    return numbered_bench(tmp_path_factory.mktemp("square"))


@pytest.fixture
def python():
    """The interpreter of doubles: this one."""
    return sys.executable
