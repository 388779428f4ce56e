"""The default recipe on 35 clips labelled by eye: live, photographed, blurred, damaged and cut people."""

import json
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

import multiexpr
from exprbench import weights
from multiexpr.execution.executors import ExecutionConfig
from tests.conftest import SHARED

STAGES = {  # a label, its value for a fault, and the rules that look for the fault
    "people": (0, ("few_people", "many_people")),
    "sharp": (0, ("blurred", "blurred_faces", "small_faces")),
    "quality": (0, ("noisy", "grainy", "blocky", "interlaced", "oversharpened", "dark", "unaesthetic",
                    "burnt_out_faces", "crushed_faces", "dark_faces")),
    "cut": (1, ("cut", "jump_cut", "gradual_cut")),
    "expressive": (0, ("inexpressive",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Return labels, verdicts and photomotion scores by clip."""
    tool = SHARED / "tools/curation_set.py"
    if not tool.exists() or not shutil.which("ffmpeg") or weights.locate("face_landmarker") is None:
        pytest.skip("needs ../shared/tools/curation_set.py, ffmpeg and the model files")
    clips, out = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("curation")
    subprocess.run([sys.executable, str(tool), str(clips)], check=True, capture_output=True)
    recipe = multiexpr.load_recipe(settings=["score.aesthetics.method=photomotion", "shots.cut=never"])
    one = ExecutionConfig(workers=2, devices=("cpu",))
    multiexpr.index(clips, out, recipe=recipe, execution=one)
    multiexpr.score(out, recipe=recipe, score_all=True, execution=one)
    multiexpr.select(out, recipe=recipe)
    names = {row["clip_id"]: row["key"].removesuffix(".mp4") for row in pq.read_table(out / "index").to_pylist()}
    verdicts = {names[row["clip_id"]]: row for row in pq.read_table(out / "verdicts.parquet").to_pylist()}
    scores = pq.read_table(out / "scores/photomotion", columns=["clip_id", "photomotion"]).to_pylist()
    return (
        json.loads((clips / "labels.json").read_text()),
        verdicts,
        {names[row["clip_id"]]: row["photomotion"] for row in scores},
    )


@pytest.mark.slow
@pytest.mark.shared
def test_the_clips_to_keep_are_kept_and_no_others(labelled):
    labels, verdicts, _ = labelled
    kept = {name for name, row in verdicts.items() if row["outcome"] == "kept"}
    expected = {name for name, label in labels.items() if label["keep"]}
    assert len(kept & expected) / len(kept) >= 0.95, kept - expected
    assert len(kept & expected) / len(expected) >= 0.95, expected - kept


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("label", STAGES)
def test_each_stage_fails_the_clips_with_its_fault_and_no_others(labelled, label):
    """All rules are judged on all clips, whichever of them is the reason: `reasons` names every fault."""
    labels, verdicts, _ = labelled
    faulty, rules = STAGES[label]
    failed = {name for name, row in verdicts.items() if set(row["reasons"]) & set(rules)}
    with_fault = {name for name in labels if labels[name][label] == faulty}
    assert len(failed & with_fault) / len(failed) >= 0.9, failed - with_fault
    assert len(failed & with_fault) / len(with_fault) >= 0.9, with_fault - failed


@pytest.mark.slow
@pytest.mark.shared
def test_too_few_faces_are_those_of_no_people_or_of_people_who_leave_the_picture_or_the_shot(labelled):
    labels, verdicts, _ = labelled
    failed = {name for name, row in verdicts.items() if "few_faces" in row["reasons"]}
    expected = {name for name, label in labels.items() if not label["people"] or label["cut"]} | {"panned_photo"}
    assert failed == expected - {"jump_cut"}  # after it, the people are in the same places


@pytest.mark.slow
@pytest.mark.shared
def test_the_tracks_of_a_photograph_do_not_count(labelled):
    _, verdicts, _ = labelled
    assert verdicts["two_live_one_photo"]["people"] == [1, 2]
    assert verdicts["beside_grainy_photo"]["people"] == [1]
    assert verdicts["beside_grainy_photo"]["person"] == 2


@pytest.mark.slow
@pytest.mark.shared
def test_the_aesthetic_score_ranks_clean_clips_above_degraded_ones(labelled):
    labels, _, scores = labelled
    clean = [scores[name] for name, label in labels.items() if label["keep"]]
    degraded = [scores[name] for name, label in labels.items() if not label["quality"]]
    wins = sum((a > b) + 0.5 * (a == b) for a in clean for b in degraded)
    assert wins / (len(clean) * len(degraded)) > 0.95
