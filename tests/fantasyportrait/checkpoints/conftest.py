"""Small models with random weights, as files."""

import shutil

import pytest

from fantasyportrait.checkpoints.convert import convert


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    convert(out=folder, random="tiny", seed=3)
    return folder


@pytest.fixture
def copied(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "copied")


@pytest.fixture(scope="module")
def published(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("published")
    (out / "google/umt5-xxl").mkdir(parents=True)
    convert(out=out, base=tiny / "base", to="published")
    return out
