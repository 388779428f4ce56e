"""Where tests find media and models, and a cache that is theirs alone."""

import os
import resource
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        return  # a worker shares the cache of the process that started it
    config.stash_cache = tempfile.mkdtemp(prefix="exprbench-tests-")
    os.environ["EXPRBENCH_CACHE"] = config.stash_cache
    os.environ["YOLO_CONFIG_DIR"] = config.stash_cache
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the cores are shared by the processes that test
    if not os.environ.get("EXPRBENCH_WEIGHTS") and (SHARED / "weights").is_dir():
        os.environ["EXPRBENCH_WEIGHTS"] = str(SHARED / "weights")


def pytest_unconfigure(config):
    if hasattr(config, "stash_cache"):
        shutil.rmtree(config.stash_cache, ignore_errors=True)


@pytest.fixture(scope="session")
def shared():
    """`shared("driving/d20.mp4")` is a file of ../shared/data; the test is skipped, by name, where it is not there."""

    def path(name):
        found = SHARED / "data" / name
        if not found.exists():
            pytest.skip(f"needs ../shared/data/{name}")
        return found

    return path


@pytest.fixture(scope="session")
def needs_weights():
    """`needs_weights("face_landmarker")` skips the test, by name, where the model file is not there."""
    from exprbench import weights

    def require(name):
        if weights.locate(name) is None:
            pytest.skip(f"needs the model file {weights.get(name).filename} in EXPRBENCH_WEIGHTS")
        return weights.require(name)

    return require


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EXPRBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def small_disk():
    """No file can grow beyond 2000 bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
