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
    "people": (0, ("few_people", "many_people", "few_faces")),
    "sharp": (0, ("blurred", "blurred_faces", "small_faces")),
    "quality": (0, ("noisy", "blocky", "interlaced", "dark", "unaesthetic", "burnt_out_faces", "dark_faces")),
    "cut": (1, ("cut", "jump_cut", "gradual_cut")),
    "live": (0, ("inexpressive",)),
}


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
def test_each_stage_drops_what_its_label_says(labelled, label):
    """A stage decides on the clips that earlier stages pass: those it drops are to be dropped, and none escapes."""
    labels, verdicts, _ = labelled
    faulty, reasons = STAGES[label]
    dropped = {name for name, row in verdicts.items() if row["reason"] in reasons}
    precision = sum(not labels[name]["keep"] for name in dropped) / len(dropped)
    with_fault = {name for name in labels if labels[name][label] == faulty}
    escaped = {name for name in with_fault if verdicts[name]["outcome"] == "kept"}
    assert precision >= 0.9
    assert 1 - len(escaped) / len(with_fault) >= 0.9, escaped


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
