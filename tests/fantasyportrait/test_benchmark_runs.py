"""Runs over a benchmark without a network: the cases, the settings, what is refused, and what is recorded."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import exprbench
from exprbench.core.errors import ItemError, UserError
from fantasyportrait import inputs as inputs_module
from fantasyportrait import pipeline as pipeline_module
from fantasyportrait import sampling, workload
from fantasyportrait.runtime.parallel import Ranks
from fantasyportrait.settings import PRESETS, RuntimeConfig, SamplingConfig
from tests.people import clip, person, still
from tests.writing import assert_atomic


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Four cases: a portrait of one person and one of two, each with itself and with another driver."""
    root = tmp_path_factory.mktemp("given")
    for name in ("p", "d", "mp", "md"):
        (root / name).mkdir()
    still(root / "p/one.png", person(1))
    clip(root / "d/a.mp4", 25, person(25, seed=3))
    still(root / "mp/two.png", person(1, x=0.3), person(1, x=0.7, seed=2))
    clip(root / "md/both.mp4", 25, person(25, x=0.3, seed=5), person(25, x=0.7, seed=6))
    given = {"portraits": root / "p", "driving": root / "d", "multi_portraits": root / "mp"}
    exprbench.build(**given, multi_driving=root / "md", out=root / "bench", clip_seconds=1, workers=0)
    return exprbench.Benchmark.open(root / "bench")


class Runs:
    """Runs into one folder, by a pipeline that generates no videos and records its arguments."""

    def __init__(self, bench, out):
        self.bench, self.out = bench, out
        self.made, self.planned, self.opened, self.failing = [], [], [], set()
        self.name, self.weights, self.loras, self.ranks = "a model", "bf16", [], Ranks()

    def load_pipeline(self, model, runtime, *, loras, landmark_detector):
        self.opened.append((model, runtime, landmark_detector))
        folder = SimpleNamespace(name=self.name)
        plan = lambda workload: SimpleNamespace(weights=self.weights)  # noqa: E731
        return SimpleNamespace(
            folder=folder, ranks=self.ranks, runtime=runtime, landmark_detector=landmark_detector, loras=self.loras,
            generate_video=self.generate_video, plan_memory=plan, check=lambda config: None,
        )  # fmt: skip

    def generate_video(self, given, options, out, *, watermark):
        if out.stem in self.failing:
            raise ItemError("not_finite", "no numbers")
        self.made.append((out.stem, given, options, watermark))
        out.write_bytes(b"a video")

    def __call__(self, **options):
        self.made.clear()
        return sampling.sample_benchmark(model="m", benchmark=self.bench.root, out=self.out, **options)


@pytest.fixture
def run(bench, tmp_path, monkeypatch):
    runs = Runs(bench, tmp_path / "out")
    monkeypatch.setattr(pipeline_module, "load_pipeline", runs.load_pipeline)
    monkeypatch.setattr(workload, "largest_workload", lambda *asked: runs.planned.append(asked))
    monkeypatch.setattr(inputs_module, "prepare_inputs", lambda *_, assignment, landmark_detector: assignment)
    monkeypatch.setattr("fantasyportrait.expression.onnx_faces.OnnxLandmarkDetector", lambda *paths: paths)
    monkeypatch.setattr(sampling, "check_model", lambda model, loras, face_models: None)  # tested in test_checks.py
    return runs


def ids(run):
    return [case_id for case_id, *_ in run.made]


def test_every_case_is_made_at_the_benchmarks_rate_with_its_own_faces(run, bench):
    found = run()
    assert found.generated == tuple(ids(run)) == tuple(case.case_id for case in bench.cases)
    assert [given for _, given, _, _ in run.made] == [case.face_map for case in bench.cases]
    assert {options for _, _, options, _ in run.made} == {SamplingConfig(fps=bench.fps)}
    assert {marked for *_, marked in run.made} == {False}
    assert run.opened == [("m", RuntimeConfig(), None)]


def test_what_is_asked_for_reaches_every_case(run):
    run(mark=True, preset="released", seed=3, fps=12.5, runtime={"vram": 9.0}, face_models=("d", "l"))
    expected = SamplingConfig(fps=12.5, seed=3, **PRESETS["released"])
    assert {options for _, _, options, _ in run.made} == {expected}
    assert {marked for *_, marked in run.made} == {True}
    assert run.opened == [("m", RuntimeConfig(vram=9.0), (Path("d"), Path("l")))]


def test_memory_is_planned_for_the_case_with_most_people_and_all_its_frames(run):
    run(runtime={"context_parallel": 1})
    run(frames=9, overwrite=True)
    assert [asked[2:] for asked in run.planned] == [(25, 2, 1), (9, 2, 1)]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"split": "single"}, ["single-self-0001", "single-cross-0001"]),
        ({"track": "self"}, ["single-self-0001", "multi-self-0001"]),
        ({"split": "multi", "track": "cross"}, ["multi-cross-0001"]),
        ({"shard": (1, 3)}, ["single-self-0001", "multi-cross-0001"]),
        ({"shard": (3, 3)}, ["multi-self-0001"]),
        ({"shard": (2, 2), "split": "single"}, ["single-cross-0001"]),
    ],
)
def test_some_cases_alone(run, chosen, expected):
    run(**chosen)
    assert ids(run) == expected


def test_processes_that_share_the_cases_out_take_every_other_one(run):
    run.ranks = Ranks(case=1, num_cases=2)
    run()
    assert ids(run) == ["single-cross-0001", "multi-cross-0001"]


def test_what_a_folder_was_made_with_is_written_down(run, bench):
    run.loras = ["a.safetensors:0.5"]
    run(seed=3)
    assert json.loads((run.out / "run.json").read_text()) == {
        "benchmark": bench.sha256,
        "checkpoint": "a model",
        "faces": "mediapipe",
        "loras": ["a.safetensors:0.5"],
        "marked": False,
        "options": SamplingConfig(seed=3, fps=bench.fps).as_dict(),
        "weights": "bf16",
    }


@pytest.mark.parametrize(
    ("trait", "value", "difference"),
    [
        ("name", "another", "checkpoint 'a model', not 'another'"),
        ("weights", "int8", "weights 'bf16', not 'int8'"),
        ("loras", ["b:1"], r"loras \[\], not \['b:1'\]"),
    ],
)
def test_a_folder_holds_videos_of_one_model(run, trait, value, difference):
    run()
    setattr(run, trait, value)
    with pytest.raises(UserError, match=f"holds videos of other settings .{difference}"):
        run()
    run(overwrite=True)
    assert len(run.made) == 4
    run()  # now it is a folder of these


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"mark": True}, "marked False, not True"),
        ({"face_models": ("d", "l")}, "faces 'mediapipe', not 'released'"),
        ({"steps": 4, "mouth": 0.5}, "steps 30, not 4, mouth 1.0, not 0.5"),
    ],
)
def test_a_folder_holds_videos_of_one_way_to_make_them(run, options, difference):
    run()
    with pytest.raises(UserError, match=f"holds videos of other settings .{difference}"):
        run(**options)


def test_a_folder_holds_videos_of_one_benchmark(run):
    run()
    before = json.loads((run.out / "run.json").read_text())
    (run.out / "run.json").write_text(json.dumps({**before, "benchmark": "another"}))
    with pytest.raises(UserError, match="benchmark 'another'"):
        run()


def test_how_a_folder_was_made_is_written_whole_or_not_at_all(run, monkeypatch):
    run()
    assert_atomic(run, run.out / "run.json", monkeypatch)


def test_what_is_there_is_skipped_unless_it_is_to_be_made_again(run):
    run(split="single")
    assert run().skipped == ("single-self-0001", "single-cross-0001")
    assert ids(run) == ["multi-self-0001", "multi-cross-0001"]
    assert run(overwrite=True).skipped == ()
    assert len(run.made) == 4


def failures(run):
    path = run.out / "failed-1-of-1.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_what_failed_is_noted_until_it_goes_well(run):
    run.failing = {"single-self-0001", "multi-self-0001"}
    found = run()
    assert found.failed == failures(run) == dict.fromkeys(run.failing, "not_finite: no numbers")
    assert len(found.generated) == 2
    run.failing = {"multi-self-0001"}
    run(split="single")
    assert set(failures(run)) == {"multi-self-0001"}  # the other split's is still noted
    run.failing = set()
    run()
    assert failures(run) is None
    run(shard=(2, 4))
    assert not list(run.out.glob("failed-*"))


def test_a_case_that_cannot_be_prepared_fails_alone(run, monkeypatch):
    def prepare_inputs(portrait, drivers, config, *, assignment, landmark_detector):
        if "two" in portrait.name:
            raise UserError("it shows no face")
        return assignment

    monkeypatch.setattr(inputs_module, "prepare_inputs", prepare_inputs)
    assert run().failed == {"multi-cross-0001": "case_unusable: it shows no face"}
    assert ids(run) == ["single-self-0001", "single-cross-0001", "multi-self-0001"]
