"""The verbs' order, what they hand on, and what several ranks share; what each of them does is tested on its own."""

import json

import pytest

from exprbench import UserError, face_engine
from multiexpr import curation
from multiexpr.curation import curate, index, propose_thresholds, resolve_methods, score, select, unfinished
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.recipe import load_recipe, save_recipe
from multiexpr.sources import SourceOptions
from tests.multiexpr.made import fill, good

ENGINES = ["score.motion.engine=mediapipe", "export.engine=mediapipe"]
STRICT = load_recipe(
    None, ["keep.sharpness.min_luma=0.9", "score.aesthetics.method=photomotion", "shots.cut=never", *ENGINES]
)
SLURM = ExecutionConfig(executor="slurm")


@pytest.fixture
def source(tmp_path):
    """Six files that look like videos, two of them the same, and one that a table names."""
    (tmp_path / "source").mkdir()
    for i in range(5):
        (tmp_path / f"source/{i}.mp4").write_bytes(b"x" * (i + 1))
    (tmp_path / "source/same.mp4").write_bytes(b"x")
    return tmp_path / "source"


@pytest.fixture
def steps(monkeypatch, model_files):
    """The steps taken, in order, none of which does anything: (name, recipe, other arguments)."""
    taken = []

    def stage(make_stage, workspace, recipe, execution):
        made = getattr(make_stage, "keywords", {})
        taken.append((getattr(make_stage, "func", make_stage).__name__, recipe, {**made, "execution": execution}))
        return 7

    def verb(name):
        return lambda root, *, recipe, **options: taken.append((name, recipe, options)) or f"result of {name}"

    monkeypatch.setattr(curation, "run_stage", stage)
    for name in ("caption", "export", "report"):
        monkeypatch.setattr(curation, name, verb(name))
    record = lambda workspace, recipe, *, save: taken.append(("select", recipe, {}))  # noqa: E731
    monkeypatch.setattr(curation.verdicts, "select", record)
    return taken


def names(steps):
    return [name for name, _, _ in steps]


WHOLE = ["index_stage", "ScoreStage", "select", "caption", "export", "report"]


def test_a_curation_is_all_verbs_in_order_with_one_recipe(source, workspace, steps):
    execution = ExecutionConfig(workers=3)
    curate(source, workspace.root, recipe=STRICT, execution=execution, score_all=True, retry_errors=True)
    assert names(steps) == WHOLE
    assert {recipe for _, recipe, _ in steps} == {STRICT}
    options = {name: options for name, _, options in steps}
    assert options["ScoreStage"].pop("retry_before") > 1.7e9
    assert options["ScoreStage"] == {"score_all": True, "execution": execution}
    assert options["index_stage"] == options["report"] == {"execution": execution}
    assert options["export"] == {"execution": execution, "to": None}
    assert load_recipe(workspace.recipe) == STRICT


def test_scoring_alone_measures_no_more_than_it_must(workspace, steps):
    fill(workspace, [[good()]])
    assert score(workspace.root) == 7
    assert steps[0][2] == {"score_all": False, "retry_before": 0.0, "execution": ExecutionConfig()}


def batch(workspace):
    return json.loads((workspace.root / "batch.json").read_text())


def test_a_curation_that_was_interrupted_finishes_its_limit_first_and_then_takes_up_more(source, workspace, steps):
    index(source, workspace.root, limit=2)
    curate(source, workspace.root, limit=2)
    assert batch(workspace)["upto"] == 2
    curate(source, workspace.root, limit=2)
    assert batch(workspace)["upto"] == 4


def test_what_is_said_of_the_collection_is_handed_on(source, workspace, steps, capsys):
    assert index(source, workspace.root).num_new == 5
    said = capsys.readouterr().err.splitlines()
    assert said == ["index: 5 videos, 5 new", f"index: 1 duplicate; see {workspace.mismatches}"]
    (source / "0.mp4").unlink()
    (source / "1.mp4").write_bytes(b"another")
    listed = index(source, workspace.root, check_content=False, limit=1)
    assert capsys.readouterr().err.splitlines() == ["index: 6 videos, 1 new, 1 changed, 1 missing"]
    assert (listed.num_new, listed.num_changed, listed.num_missing) == (1, 1, 1)
    curate(source, workspace.root.parent / "curated", check_content=False, limit=3)
    assert capsys.readouterr().err.splitlines()[0] == "index: 3 videos, 3 new, 2 not listed yet (--limit)"


@pytest.mark.parametrize("verb", [index, curate])
def test_names_of_columns_are_handed_on(source, workspace, steps, verb):
    (source / "t.csv").write_text("file\n1.mp4\n")
    verb(source, workspace.root, kind="multiexpr", options=SourceOptions(columns={"path": "file"}))
    assert batch(workspace)["listed"]
    assert json.loads(workspace.source.read_text())["options"]["columns"] == {"path": "file"}


def test_a_collection_of_nothing_but_problems_has_no_index(source, workspace, steps):
    for path in source.iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="there is no readable video in"):
        index(source, workspace.root)
    assert steps == []


def test_every_verb_applies_the_recipe_in_use(source, workspace, steps):
    fill(workspace, [[good()]])
    workspace.root.mkdir(exist_ok=True)
    save_recipe(workspace.recipe, STRICT)
    score(workspace.root)
    select(workspace.root)
    index(source, workspace.root)
    assert [recipe for _, recipe, _ in steps] == [STRICT] * 3


@pytest.mark.parametrize("verb", [score, select])
def test_a_recipe_that_was_given_is_the_one_in_use_from_then_on(workspace, steps, verb):
    fill(workspace, [[good()]])
    verb(workspace.root, recipe=STRICT)
    assert load_recipe(workspace.recipe) == STRICT


def test_a_target_is_sought_around_the_recipe_in_use(workspace):
    fill(workspace, [[good()]])
    save_recipe(workspace.recipe, STRICT)
    assert propose_thresholds(workspace.root, 1).recipe.keep.sharpness.min_luma == 0.9
    with pytest.raises(UserError, match="--target is 0"):
        propose_thresholds(workspace.root, 0)


def test_auto_is_replaced_by_what_it_means_here(monkeypatch):
    for method in ("laion", "photomotion"):
        monkeypatch.setattr(curation, "aesthetics_method", lambda recipe, method=method: method)
        assert resolve_methods(load_recipe()).score.aesthetics.method == method
    for installed, engine in ((True, "openvino"), (False, "mediapipe")):
        monkeypatch.setattr(face_engine, "find_spec", lambda name, installed=installed: installed or None)
        recipe = resolve_methods(load_recipe())
        assert (recipe.score.motion.engine, recipe.export.engine) == (engine, engine)
        assert resolve_methods(load_recipe(None, ["export.engine=torch"])).export.engine == "torch"
    with pytest.raises(UserError, match="the face engine openvino needs OpenVINO"):
        resolve_methods(load_recipe(None, ["score.motion.engine=openvino"]))


def test_one_rank_of_a_job_lists_for_all(source, workspace, steps, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert index(source, workspace.root, execution=SLURM).num_new == 5
    (source / "new.mp4").write_bytes(b"new")
    assert index(source, workspace.root, execution=SLURM).num_new == 0
    assert index(source, workspace.root).num_new == 1  # alone, it lists each time


def test_ranks_of_a_job_share_every_stage_and_one_takes_the_steps_for_all(source, workspace, steps, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    curate(source, workspace.root, execution=SLURM)
    assert names(steps) == WHOLE
    assert {options["execution"] for _, _, options in steps if "execution" in options} == {SLURM}
    steps.clear()
    assert curate(source, workspace.root, execution=SLURM) is None  # a rank that comes late
    assert names(steps) == ["index_stage", "ScoreStage", "caption", "export"]
    steps.clear()
    curate(source, workspace.root, recipe=STRICT, execution=SLURM)  # another command in the same allocation
    assert names(steps) == WHOLE
    steps.clear()
    monkeypatch.setenv("SLURM_JOB_ID", "6")  # resubmitted
    curate(source, workspace.root, execution=SLURM)
    assert names(steps) == WHOLE


def test_ranks_without_a_job_id_take_every_step_each(source, workspace, steps):
    for _ in range(2):
        curate(source, workspace.root, execution=SLURM)
    assert names(steps) == 2 * WHOLE


def test_errors_are_retried_once_by_all_ranks_of_a_job(workspace, steps, monkeypatch):
    fill(workspace, [[good()]])
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    for _ in range(2):
        score(workspace.root, retry_errors=True, execution=SLURM)
    times = [options["retry_before"] for _, _, options in steps]
    assert times[0] == times[1] > 1.7e9


def test_what_is_left_is_said_with_how_to_go_on(workspace, model_files):
    fill(workspace, [[good()] * 2, [good()] * 3])
    assert unfinished(workspace.root) == ["score: 2 shards are not complete; the same command processes the rest"]
    select(workspace.root)
    assert [line.partition(":")[0] for line in unfinished(workspace.root)] == ["score", "caption", "export"]
    assert unfinished(workspace.root, stages=["caption"]) == [
        "caption: 2 shards are not complete; the same command processes the rest"
    ]
