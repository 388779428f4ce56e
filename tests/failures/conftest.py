"""A small benchmark that is scored by the real command, and the record it should end in."""

import os
import random
import subprocess

import pytest

from tests.failures.runs import Scoring
from tests.scoring.conftest import bench, method

__all__ = ["bench", "method"]

TIMES = int(os.environ.get("EXPRBENCH_FAILURES", "1"))
SEED = os.environ.get("EXPRBENCH_FAILURES_SEED", "0")


def pytest_generate_tests(metafunc):
    if "rng" in metafunc.fixturenames:
        metafunc.parametrize("rng", range(TIMES), indirect=True)


@pytest.fixture
def rng(request):
    """Of this test alone, whatever runs before it."""
    return random.Random(f"{SEED}-{request.node.name}")


@pytest.fixture(autouse=True)
def cache_of_this_test(own_cache):
    """Every test starts without anything computed before."""


@pytest.fixture(scope="session")
def expected(bench, tmp_path_factory):
    """The record of a run in which nothing goes wrong, and how long it takes."""
    folder = tmp_path_factory.mktemp("expected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPRBENCH_CACHE", str(folder / "cache"))
        made = Scoring.of(bench, folder / "predictions", folder / "m.json")
        made.run()
    return made


@pytest.fixture
def scoring(expected, tmp_path):
    """The same command for a record that is not there yet."""
    return expected.into(tmp_path / "m.json")


@pytest.fixture
def mounted():
    """`mounted(folder, "size=1m")` puts a small file system there; the test is skipped where that is not allowed."""
    places = []

    def mount(folder, options):
        folder.mkdir(exist_ok=True)
        again = f"remount,{options}" if folder in places else options
        line = ["mount", "-t", "tmpfs", "-o", again, "tmpfs", str(folder)]
        try:
            done = subprocess.run(line, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("needs the command mount")
        if done.returncode:
            pytest.skip(f"needs the right to mount a tmpfs: {done.stderr.strip()}")
        if folder not in places:
            places.append(folder)
        return folder

    yield mount
    for folder in places:
        subprocess.run(["umount", str(folder)], check=True)
