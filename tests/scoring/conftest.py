"""A small benchmark whose faces are given as tracks, and predictions to score on it."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exprbench import Benchmark, build, score, weights
from exprbench.faces.tracks import load_tracks
from exprbench.faces.video_tracks import given_path
from exprbench.media import read_clip, write_video
from exprbench.metrics import COLUMNS, face_readers
from exprbench.scoring import computations
from tests.people import clip, give, person, still
from tests.toys import ClipBits, FrameBits

NUM_FRAMES = 40
LOADED = (computations.load_network, face_readers.loaded)


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Two single drivers, two portraits, a driver and a portrait of two people: 7 cases."""
    root = tmp_path_factory.mktemp("bench")
    folders = {name: root / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    for folder in folders.values():
        folder.mkdir()
    for i, name in enumerate(["bo", "cy"]):
        still(folders["portraits"] / f"{name}.png", person(1, seed=10 + i), number=i)
    for i, name in enumerate(["ada", "dee"]):
        clip(folders["driving"] / f"{name}.mp4", NUM_FRAMES, person(NUM_FRAMES, seed=i), start=100 * i)
    still(folders["multi_portraits"] / "pair.png", person(1, x=0.3), person(1, x=0.7))
    duo = person(NUM_FRAMES, x=0.3, seed=5), person(NUM_FRAMES, x=0.7, seed=6)
    clip(folders["multi_driving"] / "duo.mp4", NUM_FRAMES, *duo, start=300)
    return build(**folders, out=root / "bench", workers=0)


@dataclass
class Method:
    """A folder of predictions, and how to spoil them."""

    bench: Benchmark
    folder: Path

    def path(self, case_id):
        return self.folder / f"{case_id}.mp4"

    def tracks_path(self, case_id):
        return given_path(self.path(case_id))

    def tracks(self, case_id):
        return load_tracks(self.tracks_path(case_id))

    def give(self, case_id, tracks):
        give(self.path(case_id), replace(tracks, video_sha256=""))

    def frames(self, case_id):
        return read_clip(self.path(case_id))[0]

    def write(self, case_id, frames, **options):
        """Other pictures, the faces as they were (as far as there are frames)."""
        tracks = self.tracks(case_id)
        write_video(self.path(case_id), frames, **options)
        self.give(case_id, tracks)

    def score(self, **options):
        options = {"metrics": ["psnr", "ssim", "lmd", "mae", "aed", "apd"], "workers": 0, **options}
        out = options.pop("out", self.folder.with_suffix(".json"))
        folders = {"benchmark": self.bench.root, "predictions": self.folder}
        return score(**folders, method=options.pop("method", "m"), out=out, **options)


@pytest.fixture
def method(bench, tmp_path):
    """Predictions without any error: the drivers themselves, for cross cases too."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for case in bench.cases:
        driver = bench.path(case.drivers[0])
        shutil.copyfile(driver, folder / f"{case.case_id}.mp4")
        shutil.copyfile(given_path(driver), folder / f"{case.case_id}.tracks.npz")
    return Method(bench, folder)


@pytest.fixture(autouse=True)
def cache_of_this_test(own_cache):
    """Every test starts without anything computed before."""


@pytest.fixture
def model_file(tmp_path, monkeypatch):
    """`model_file("i3d", write)` puts a file where the registry looks for it, under the hash it has."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(folder))
    for kept in LOADED:
        kept.cache_clear()

    def put(name, write):
        path = folder / weights.get(name).filename
        write(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(weights.ALL, name, replace(weights.get(name), sha256=sha256))
        return path

    yield put
    for kept in LOADED:
        kept.cache_clear()


@pytest.fixture
def toy_models(model_file, monkeypatch):
    """Model files of Inception and I3D, which load as the toy networks."""
    kinds = {"fid": FrameBits, "fvd": ClipBits}
    for name in ("inception", "i3d"):
        model_file(name, lambda path: path.write_bytes(b"a model"))
    monkeypatch.setattr(computations, "load_network", lambda name, _: kinds[COLUMNS[name].parent]())


def case_of(record, case_id):
    return next(case for case in record.cases if case.case_id == case_id)


def without_timing(record):
    return replace(record, timing={})
