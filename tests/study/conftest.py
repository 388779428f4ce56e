"""A small benchmark, four methods of known order, and raters whose preferences are known."""

import json
import shutil

import numpy as np
import pytest

from exprbench import build
from exprbench.benchmark import Benchmark
from exprbench.study import study_key
from exprbench.study.questionnaire import StudySettings, build_study
from exprbench.study.questions import IDS
from exprbench.study.study_key import HIGH, LOW, load_key
from tests.building.conftest import filled

METHODS = ("worst-method", "fair-method", "good-method", "best-method")
QUALITY = {"worst-method": 3.0, "fair-method": 4.5, "good-method": 6.0, "best-method": 8.0, LOW: 1.0, HIGH: 9.0}
SLOPE = {"VQ": 1.0, "ES": 0.8, "MN": 0.6, "ER": -0.5}  # ER prefers the opposite order


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("study-bench")
    return Benchmark.open(build(**filled(root), out=root / "bench", workers=0).root)


@pytest.fixture(scope="session")
def predictions(bench, tmp_path_factory):
    """The first driver of each case, under the name of each method."""
    root = tmp_path_factory.mktemp("predictions")
    for method in METHODS:
        (root / method).mkdir()
        for case in bench.cases:
            shutil.copy(bench.path(case.drivers[0]), root / method / f"{case.case_id}.mp4")
    return {method: root / method for method in METHODS}


@pytest.fixture
def make_study(bench, predictions, tmp_path):
    """`make_study(mode="pairs")` builds a study and returns it."""

    def make(out="study", methods=METHODS, key=None, **settings):
        return build_study(
            benchmark=bench.root,
            predictions={method: predictions[method] for method in methods},
            out=tmp_path / out,
            key=key,
            settings=StudySettings(**settings),
            workers=0,
        )

    return make


def expected_score(name, question):
    return 5 + SLOPE[question] * (QUALITY[name] - 5)


def answers_of(key, rater, seed, *, noise=1.0):
    """The content of an honest rater's file: an offset of their own, and noise."""
    rng = np.random.default_rng(seed)
    offset = rng.normal(0, 0.7)
    answers = []
    for name in key.raters[rater]:
        trial = key.trials[name]
        scores = {q: scored(trial, q, rng, offset, noise, key.mode) for q in IDS}
        answers.append({"trial": name, "scores": scores, "plays": 1, "watched_s": trial.duration_s, "time_s": 9.5})
    return {
        "schema": 1, "study": key.study, "rater": rater, "mode": key.mode, "started": "2026-01-01T10:00:00Z",
        "saved": f"2026-01-01T11:00:{seed % 60:02d}Z", "screen": [1280, 720], "answers": answers,
    }  # fmt: skip


def scored(trial, question, rng, offset, noise, mode):
    if trial.kind == "trap":
        return trial.expected
    known = trial.kind == "gold"
    names = [trial.left, trial.right] if mode == "pairs" else [trial.left]
    values = [QUALITY[n] if known else expected_score(n, question) + rng.normal(0, noise) for n in names]
    if mode == "pairs":
        return int(values[1] > values[0])
    return int(np.clip(round(values[0] + (0 if known else offset)), 0, 10))


@pytest.fixture(scope="session")
def keys(bench, predictions, tmp_path_factory):
    """`keys(raters=3)` returns the key file of a study that was built once for all tests."""
    files = {}

    def key_of(**settings):
        name = str(sorted(settings.items()))
        if name not in files:
            root = tmp_path_factory.mktemp("built") / "study"
            options = {"benchmark": bench.root, "predictions": predictions, "out": root, "workers": 0}
            with pytest.MonkeyPatch.context() as patch:  # the same raters, and so the same answers, in every run
                patch.setattr(study_key.secrets, "token_hex", lambda _: "0" * 32)
                files[name] = build_study(**options, settings=StudySettings(**settings)).key
        return files[name]

    return key_of


@pytest.fixture
def rated(keys, tmp_path):
    """`rated(mode="pairs")` returns the key of a study; its file and the answers of all raters are in `tmp_path`."""

    def rate(**settings):
        key = load_key(shutil.copy(keys(**settings), tmp_path / "study.key.json"))
        folder = tmp_path / "answers"
        folder.mkdir()
        for seed, rater in enumerate(key.raters):
            (folder / f"{rater}.json").write_text(json.dumps(answers_of(key, rater, seed)))
        return key, folder

    return rate
