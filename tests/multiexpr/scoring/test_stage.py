import os
import shutil

import pytest

from multiexpr import index, score, select
from multiexpr.execution.executors import ExecutionConfig, run_stage
from multiexpr.models.detector import Models
from multiexpr.recipe import load_recipe
from multiexpr.scorers import make_scorers
from multiexpr.scoring.stage import ScoreStage, fingerprints
from multiexpr.storage.parquet import read_rows, shard_path
from multiexpr.storage.workspace import Workspace
from tests.killed import kill_workers_of_first_item

ONE = ExecutionConfig(workers=0)
pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def detector():
    from exprbench import UserError
    from multiexpr.models.detector import find_people_model

    try:
        find_people_model("yolov8n")
    except UserError:
        pytest.skip("needs a YOLOv8n model in EXPRBENCH_WEIGHTS")


@pytest.fixture
def indexed(tmp_path, drawn, detector, needs_weights):
    """Workspace of a copy of the drawn videos and a broken one, indexed but not scored."""
    needs_weights("face_landmarker")
    shutil.copytree(drawn, tmp_path / "root")
    (tmp_path / "root/text.mp4").write_text("no video")
    index(tmp_path / "root", tmp_path / "out", execution=ONE)
    return Workspace(tmp_path / "out")


def rows(workspace, scorer):
    return {row["clip_id"]: row for row in read_rows(shard_path(workspace.scores(scorer), 0))}


def states(workspace, scorer):
    return sorted(row["state"] for row in rows(workspace, scorer).values())


SMALL = ["keep.container.min_short_side=90", "keep.container.min_duration_s=1"]


def test_dropped_clips_skip_the_remaining_scorers(indexed):
    assert score(indexed.root, execution=ONE) == 5
    assert states(indexed, "container") == ["error", *["scored"] * 4]
    for name in ("people", "damage", "sharpness", "photomotion", "cuts", "motion"):
        assert states(indexed, name) == [""] * 5
    funnel = select(indexed.root)
    assert (funnel.dropped["small"], funnel.errors) == (4, {"open_failed": 1})


def test_a_looser_recipe_measures_only_what_is_missing(indexed):
    score(indexed.root, execution=ONE)
    before = rows(indexed, "container")
    recipe = load_recipe(None, SMALL)
    assert score(indexed.root, recipe=recipe, execution=ONE) == 4
    assert states(indexed, "people") == ["", *["scored"] * 4]
    assert states(indexed, "sharpness") == [""] * 5  # dropped: no people
    assert rows(indexed, "container") == before
    assert score(indexed.root, recipe=recipe, execution=ONE) == 0
    assert score(indexed.root, recipe=load_recipe(), execution=ONE) == 0  # stricter again: nothing to measure


def test_score_all_measures_everything_for_any_recipe(indexed):
    assert score(indexed.root, score_all=True, execution=ONE) == 5
    for name in ("people", "damage", "sharpness", "photomotion", "cuts", "motion"):
        assert states(indexed, name) == ["", *["scored"] * 4]
    assert score(indexed.root, recipe=load_recipe(None, SMALL), execution=ONE) == 0


def test_a_changed_setting_measures_only_the_affected_scores(indexed):
    score(indexed.root, score_all=True, execution=ONE)
    before = {name: rows(indexed, name) for name in ("container", "people", "damage", "sharpness", "cuts", "motion")}
    recipe = load_recipe(None, ["score.people.confidence=0.3"])
    stage = ScoreStage(indexed, recipe, score_all=True)
    needed = [request["needed"] for request in stage.tasks(0).values()]
    assert needed == [["people"]] * 4
    assert score(indexed.root, recipe=recipe, score_all=True, execution=ONE) == 4
    assert {name: rows(indexed, name) for name in before} == before


@pytest.mark.parametrize(
    ("setting", "affected"),
    [
        ("score.people.num_frames=3", {"people"}),
        ("score.people.image_size=960", {"people", "damage", "sharpness", "photomotion"}),  # one decode for all
        ("score.damage.num_frames=3", {"damage"}),
        ("score.sharpness.percentile=50", {"sharpness", "motion"}),  # which measures the sharpness of faces
        ("score.aesthetics.pair_s=0.2", {"photomotion"}),
        ("score.cuts.ratio=2.5", {"cuts"}),
        ("score.motion.fps=25", {"motion"}),
        ("score.motion.short_side=720", {"motion", "cuts"}),
        ("keep.people.min_share=0.5", set()),
        ("export.fps=30", set()),
    ],
)
def test_fingerprints_change_with_the_settings_of_a_scorer(setting, affected, detector, needs_weights):
    needs_weights("face_landmarker")
    base, changed = (
        load_recipe(None, ["score.aesthetics.method=photomotion"]),
        load_recipe(None, [setting, "score.aesthetics.method=photomotion"]),
    )
    before, after = (fingerprints(make_scorers(recipe, Models(recipe))) for recipe in (base, changed))
    assert {name for name in before if before[name] != after[name]} == affected


def test_errors_stay_until_they_are_retried(indexed):
    score(indexed.root, execution=ONE)
    assert score(indexed.root, execution=ONE) == 0
    assert score(indexed.root, retry_errors=True, execution=ONE) == 1
    assert states(indexed, "container") == ["error", *["scored"] * 4]


def test_clips_whose_processes_were_killed_are_measured_again(indexed, monkeypatch):
    with monkeypatch.context() as patch:
        kill_workers_of_first_item(patch)
        score(indexed.root, execution=ONE)
    assert [row["error"] for row in rows(indexed, "container").values()].count("worker_killed") == 1
    assert sum(select(indexed.root).errors.values()) == 2
    assert score(indexed.root, execution=ONE) == 1
    assert states(indexed, "container") == ["error", *["scored"] * 4]
    assert score(indexed.root, execution=ONE) == 0


def test_changed_and_missing_files_are_errors(indexed, tmp_path):
    os.utime(tmp_path / "root/a.mp4", ns=(1, 1))
    (tmp_path / "root/b.mp4").unlink()
    score(indexed.root, execution=ONE)
    funnel = select(indexed.root)
    assert funnel.errors == {"open_failed": 1, "source_changed": 1, "missing_file": 1}
    index(tmp_path / "root", indexed.root, execution=ONE)  # unchanged files are not measured again
    assert score(indexed.root, execution=ONE) == 2
    assert select(indexed.root).errors == {"open_failed": 1, "missing_file": 1}


def test_a_damaged_file_of_scores_is_written_again(indexed):
    score(indexed.root, execution=ONE)
    path = shard_path(indexed.scores("container"), 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    score(indexed.root, execution=ONE)
    assert path.read_bytes() == whole


def test_a_moved_collection_keeps_its_scores(indexed, tmp_path):
    score(indexed.root, execution=ONE)
    shutil.move(tmp_path / "root", tmp_path / "elsewhere")
    index(tmp_path / "elsewhere", indexed.root, execution=ONE)
    assert score(indexed.root, execution=ONE) == 0


def test_a_missing_model_is_an_error_before_scoring_starts(indexed, monkeypatch, tmp_path):
    from exprbench import UserError

    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="exprbench weights fetch yolov8n"):
        score(indexed.root, execution=ONE)
    assert not (indexed.root / "scores").exists()


def test_gpu_servers_give_the_same_scores(indexed, tmp_path):
    """Score with two GPU servers on CPUs: frames of several clips are sent to them and results come back."""
    score(indexed.root, score_all=True, execution=ONE)
    other = Workspace(tmp_path / "other")
    index(tmp_path / "root", other.root, execution=ONE)
    run_stage(
        _score_all,
        other,
        load_recipe(None, ["score.aesthetics.method=photomotion"]),
        ExecutionConfig(workers=2, devices=("cpu", "cpu")),
    )
    for name in ("container", "people", "damage", "sharpness", "photomotion", "cuts", "motion"):
        assert shard_path(other.scores(name), 0).read_bytes() == shard_path(indexed.scores(name), 0).read_bytes()


def _score_all(workspace, recipe):
    return ScoreStage(workspace, recipe, score_all=True)
