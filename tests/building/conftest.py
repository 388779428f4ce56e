"""Input folders of a small benchmark, and a built one."""

import shutil

import pytest

from exprbench import build
from tests.people import clip, person, still


def filled(root):
    """Portraits and drivers of one and of two people, with their track files."""
    made = {name: root / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    for folder in made.values():
        folder.mkdir()
    for i, name in enumerate(["ada", "bo", "cy"]):
        still(made["portraits"] / f"{name}.png", person(1, seed=i), number=i)
    for i, name in enumerate(["ada", "dee"]):
        clip(made["driving"] / f"{name}.mp4", 40, person(40, seed=i), start=100 * i)
    pair = person(1, x=0.3), person(1, x=0.7)
    still(made["multi_portraits"] / "pair.png", *pair)
    clip(made["multi_driving"] / "duo.mp4", 30, person(30, x=0.3, seed=5), person(30, x=0.7, seed=6), start=300)
    return made


@pytest.fixture
def folders(tmp_path):
    return filled(tmp_path)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("built")
    return build(**filled(root), out=root / "bench", workers=0).root


@pytest.fixture
def built(built_once, tmp_path):
    """A copy of a built benchmark, which the test may change."""
    return shutil.copytree(built_once, tmp_path / "built")
