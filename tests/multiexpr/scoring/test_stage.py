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


def made(folder, drawn):
    """Return the workspace of a copy of the drawn videos and a broken one, indexed but not scored."""
    shutil.copytree(drawn, folder / "root")
    (folder / "root/text.mp4").write_text("no video")
    index(folder / "root", folder / "out", execution=ONE)
    return Workspace(folder / "out")


def copied(workspace, folder):
    return Workspace(shutil.copytree(workspace.root, folder / "out"))


@pytest.fixture(scope="module")
def indexed_once(tmp_path_factory, drawn, detector, needs_weights):
    needs_weights("face_landmarker")
    return made(tmp_path_factory.mktemp("indexed"), drawn)


@pytest.fixture(scope="module")
def scored_once(indexed_once, tmp_path_factory):
    workspace = copied(indexed_once, tmp_path_factory.mktemp("scored"))
    assert score(workspace.root, execution=ONE) == 5
    return workspace


@pytest.fixture(scope="module")
def scored_all_once(indexed_once, tmp_path_factory):
    workspace = copied(indexed_once, tmp_path_factory.mktemp("scored_all"))
    assert score(workspace.root, score_all=True, execution=ONE) == 5
    return workspace


@pytest.fixture
def indexed(indexed_once, tmp_path):
    """A workspace for this test; its collection is shared."""
    return copied(indexed_once, tmp_path)


@pytest.fixture
def scored(scored_once, tmp_path):
    """The same with the scores of a run."""
    return copied(scored_once, tmp_path)


@pytest.fixture
def scored_all(scored_all_once, tmp_path):
    """The same with the scores of a run of all scorers."""
    return copied(scored_all_once, tmp_path)


@pytest.fixture
def of_own_collection(tmp_path, drawn, detector, needs_weights):
    """An indexed workspace whose collection the test may change."""
    needs_weights("face_landmarker")
    return made(tmp_path, drawn)


def rows(workspace, scorer):
    return {row["clip_id"]: row for row in read_rows(shard_path(workspace.scores(scorer), 0))}


def states(workspace, scorer):
    return sorted(row["state"] for row in rows(workspace, scorer).values())


SMALL = ["keep.container.min_short_side=90", "keep.container.min_duration_s=1"]


def test_dropped_clips_skip_the_remaining_scorers(scored):
    assert states(scored, "container") == ["error", *["scored"] * 4]
    for name in ("people", "damage", "sharpness", "photomotion", "cuts", "motion"):
        assert states(scored, name) == [""] * 5
    funnel = select(scored.root)
    assert (funnel.dropped["small"], funnel.errors) == (4, {"open_failed": 1})


def test_a_looser_recipe_measures_only_what_is_missing(scored):
    before = rows(scored, "container")
    recipe = load_recipe(None, SMALL)
    assert score(scored.root, recipe=recipe, execution=ONE) == 4
    assert states(scored, "people") == ["", *["scored"] * 4]
    assert states(scored, "sharpness") == [""] * 5  # dropped: no people
    assert rows(scored, "container") == before
    assert score(scored.root, recipe=recipe, execution=ONE) == 0
    assert score(scored.root, recipe=load_recipe(), execution=ONE) == 0  # stricter again: nothing to measure


def test_score_all_measures_everything_for_any_recipe(scored_all):
    for name in ("people", "damage", "sharpness", "photomotion", "cuts", "motion"):
        assert states(scored_all, name) == ["", *["scored"] * 4]
    assert score(scored_all.root, recipe=load_recipe(None, SMALL), execution=ONE) == 0


def test_a_changed_setting_measures_only_the_affected_scores(scored_all):
    before = {name: rows(scored_all, name) for name in ("container", "people", "damage", "sharpness", "cuts", "motion")}
    recipe = load_recipe(None, ["score.people.confidence=0.3"])
    stage = ScoreStage(scored_all, recipe, score_all=True)
    needed = [request["needed"] for request in stage.tasks(0).values()]
    assert needed == [["people"]] * 4
    assert score(scored_all.root, recipe=recipe, score_all=True, execution=ONE) == 4
    assert {name: rows(scored_all, name) for name in before} == before


@pytest.mark.parametrize(
    ("setting", "affected"),
    [
        ("score.people.num_frames=3", {"people"}),
        ("score.people.image_size=960", {"people", "damage", "sharpness", "photomotion"}),  # one decode for all
        ("score.damage.num_frames=3", {"damage"}),
        ("score.sharpness.percentile=50", {"sharpness"}),
        ("score.sharpness.face_side=96", {"motion"}),
        ("score.aesthetics.pair_s=0.2", {"photomotion"}),
        ("score.cuts.ratio=2.5", {"cuts"}),
        ("score.motion.fps=25", {"motion"}),
        ("score.motion.short_side=720", {"motion"}),
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


def test_errors_stay_until_they_are_retried(scored):
    assert score(scored.root, execution=ONE) == 0
    assert score(scored.root, retry_errors=True, execution=ONE) == 1
    assert states(scored, "container") == ["error", *["scored"] * 4]


def test_clips_whose_processes_were_killed_are_measured_again(indexed, monkeypatch):
    with monkeypatch.context() as patch:
        kill_workers_of_first_item(patch)
        score(indexed.root, execution=ONE)
    assert [row["error"] for row in rows(indexed, "container").values()].count("worker_killed") == 1
    assert sum(select(indexed.root).errors.values()) == 2
    assert score(indexed.root, execution=ONE) == 1
    assert states(indexed, "container") == ["error", *["scored"] * 4]
    assert score(indexed.root, execution=ONE) == 0


def test_changed_and_missing_files_are_errors(of_own_collection, tmp_path):
    os.utime(tmp_path / "root/a.mp4", ns=(1, 1))
    (tmp_path / "root/b.mp4").unlink()
    score(of_own_collection.root, execution=ONE)
    funnel = select(of_own_collection.root)
    assert funnel.errors == {"open_failed": 1, "source_changed": 1, "missing_file": 1}
    index(tmp_path / "root", of_own_collection.root, execution=ONE)  # unchanged files are not measured again
    assert score(of_own_collection.root, execution=ONE) == 2
    assert select(of_own_collection.root).errors == {"open_failed": 1, "missing_file": 1}


def test_a_damaged_file_of_scores_is_written_again(scored):
    path = shard_path(scored.scores("container"), 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    score(scored.root, execution=ONE)
    assert path.read_bytes() == whole


def test_a_moved_collection_keeps_its_scores(of_own_collection, tmp_path):
    score(of_own_collection.root, execution=ONE)
    shutil.move(tmp_path / "root", tmp_path / "elsewhere")
    index(tmp_path / "elsewhere", of_own_collection.root, execution=ONE)
    assert score(of_own_collection.root, execution=ONE) == 0


def test_a_missing_model_is_an_error_before_scoring_starts(indexed, monkeypatch, tmp_path):
    from exprbench import UserError

    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="exprbench weights fetch yolov8n"):
        score(indexed.root, execution=ONE)
    assert not (indexed.root / "scores").exists()


@pytest.mark.slow
def test_gpu_servers_give_the_same_scores(scored_all, indexed_once, tmp_path):
    """Score with two GPU servers on CPUs: frames of several clips are sent to them and results come back."""
    other = copied(indexed_once, tmp_path / "other")
    run_stage(
        _score_all,
        other,
        load_recipe(None, ["score.aesthetics.method=photomotion"]),
        ExecutionConfig(workers=2, devices=("cpu", "cpu")),
    )
    for name in ("container", "people", "damage", "sharpness", "photomotion", "cuts", "motion"):
        assert shard_path(other.scores(name), 0).read_bytes() == shard_path(scored_all.scores(name), 0).read_bytes()


def _score_all(workspace, recipe):
    return ScoreStage(workspace, recipe, score_all=True)
