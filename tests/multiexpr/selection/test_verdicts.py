import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exprbench import UserError
from multiexpr import select, why
from multiexpr.curation import propose_thresholds
from multiexpr.recipe import load_recipe
from multiexpr.scoring.stage import STATE
from multiexpr.selection import thresholds as targets
from multiexpr.selection import verdicts as judging
from multiexpr.selection.verdicts import active_scorers
from multiexpr.storage.parquet import read_rows, read_table, shard_path, write_rows
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.made import COLUMNS, change_index, dropped_at, failed_at, fill, good, random_clips
from tests.writing import assert_atomic


def verdicts(workspace):
    return [(row["outcome"], row["reason"], row["reasons"], row["error"]) for row in read_rows(workspace.verdicts)]


def test_clips_are_kept_dropped_errors_or_pending(workspace, recipe):
    fill(workspace, [[
        good(),
        dropped_at("people", people_confidence=[0.1] * 10),
        good(luma=0.01, effective_px=1.0, cut=99.0),
        failed_at("container", "truncated"),
        failed_at("motion"),
        dropped_at("sharpness"),
        {**failed_at("cuts"), **dropped_at("sharpness", luma=0.0)},
    ]])  # fmt: skip
    funnel = select(workspace.root, recipe=recipe)
    assert verdicts(workspace) == [
        ("kept", "", [], ""),
        ("dropped", "few_people", ["few_people"], ""),
        ("dropped", "dark", ["dark", "cut"], ""),
        ("error", "", [], "truncated"),
        ("error", "", [], "decode_errors"),
        ("pending", "", [], ""),
        ("dropped", "dark", ["dark"], ""),
    ]
    assert (funnel.num_clips, funnel.num_kept, funnel.num_pending) == (7, 1, 1)
    assert funnel.errors == {"truncated": 1, "decode_errors": 1}
    assert sum(funnel.dropped.values()) == 3
    assert json.loads((workspace.root / "funnel.json").read_text()) == funnel.as_dict()


def test_an_error_is_never_counted_as_a_verdict(workspace, recipe):
    fill(workspace, [[failed_at("people")] * 5 + [good()] * 5])
    funnel = select(workspace.root, recipe=recipe)
    assert funnel.reached["few_people"] == 5
    assert funnel.dropped.total() == 0


def outcomes(workspace):
    return [row["outcome"] for row in read_rows(workspace.verdicts)]


def test_a_clip_whose_file_changed_is_pending(workspace, recipe):
    fill(workspace, [[good(), good(), failed_at("people")]])
    change_index(workspace, 0, lambda rows: [{**rows[0], "stamp": "2:2"}, rows[1], {**rows[2], "stamp": "2:2"}])
    funnel = select(workspace.root, recipe=recipe)
    assert outcomes(workspace) == ["pending", "kept", "pending"]
    assert not funnel.errors


def test_scores_of_other_clips_do_not_count(workspace, recipe):
    fill(workspace, [[good(), good()]])
    change_index(workspace, 0, lambda rows: [rows[0], {**rows[1], "clip_id": "another one"}])
    select(workspace.root, recipe=recipe)
    assert outcomes(workspace) == ["kept", "pending"]


def test_a_shard_that_has_grown_since_it_was_scored_is_pending_as_a_whole(workspace, recipe):
    fill(workspace, [[good()], [good(), good(luma=0.0)]])
    change_index(workspace, 0, lambda rows: [*rows, {**rows[0], "clip_id": "a new one"}])
    change_index(workspace, 1, lambda rows: rows[:1])
    select(workspace.root, recipe=recipe)
    assert outcomes(workspace) == ["pending"] * 3


def test_shards_that_are_not_indexed_yet_are_counted(workspace, recipe):
    fill(workspace, [[good()], [good()], [good()]])
    shard_path(workspace.index, 1).unlink()
    with pytest.raises(UserError, match=r"1 shards of .* are not indexed yet"):
        select(workspace.root, recipe=recipe)


def test_an_index_shard_without_entries_is_not_judged(workspace, recipe):
    fill(workspace, [[good()], [good()]])
    shutil.copy(shard_path(workspace.index, 0), shard_path(workspace.index, 2))
    assert select(workspace.root, recipe=recipe).num_clips == 2


def test_verdicts_name_the_shard_of_their_clip(workspace, recipe):
    fill(workspace, [[good()], [good(), good()], [good()]])
    for folder in (workspace.entries, workspace.index, *(workspace.scores(name) for name in COLUMNS)):
        shard_path(folder, 0).rename(shard_path(folder, 7))
    select(workspace.root, recipe=recipe)
    assert [row["shard"] for row in read_rows(workspace.verdicts)] == [1, 1, 2, 7]


def test_former_verdicts_stay_where_judging_fails(workspace, recipe, monkeypatch):
    fill(workspace, [[good()]])
    select(workspace.root, recipe=recipe)
    assert_atomic(lambda: select(workspace.root, recipe=recipe), workspace.verdicts, monkeypatch)
    before = workspace.verdicts.read_bytes()
    shard_path(workspace.scores("people"), 0).write_bytes(b"damaged")
    with pytest.raises(UserError, match="is damaged"):
        select(workspace.root, recipe=recipe)
    assert workspace.verdicts.read_bytes() == before


def test_every_step_of_the_funnel_begins_with_what_the_one_before_left(workspace, recipe):
    fill(
        workspace, [random_clips(60), [failed_at("people", "timeout"), failed_at("cuts", "crash"), good(length_s=1.0)]]
    )
    found = select(workspace.root, recipe=recipe).as_dict()
    reached = [step["came"] for step in found["steps"]]
    left = [step["came"] - step["dropped"] for step in found["steps"]]
    lost = {"few_people": 1, "cut": 1}  # before these the two errors end
    assert reached[0] == found["clips"] == 63
    names = [step["reason"] for step in found["steps"]]
    assert reached[1:] == [count - lost.get(name, 0) for count, name in zip(left, names[1:], strict=False)]
    assert left[-1] == found["kept"]
    assert sum(step["dropped"] for step in found["steps"]) == found["dropped"]
    assert list(found["errors"]) == ["crash", "timeout"]


@pytest.mark.parametrize(("method", "is_scored", "used"), [
    ("auto", False, "photomotion"), ("auto", True, "laion"), ("photomotion", True, "photomotion"),
    ("laion", False, "laion"),
])  # fmt: skip
def test_which_aesthetic_score_is_judged(workspace, method, is_scored, used):
    fill(workspace, [[good()]])
    if is_scored:
        schema = pa.schema([*STATE, ("laion", pa.float64())])
        write_rows(shard_path(workspace.scores("laion"), 0), [], schema)
    recipe = load_recipe(None, [f"score.aesthetics.method={method}"])
    assert active_scorers(workspace, recipe) == ["container", "people", "damage", "sharpness", used, "cuts", "motion"]


@pytest.mark.parametrize("at_a_time", [100, 2, 1])
def test_verdicts_do_not_depend_on_shards(tmp_path, recipe, monkeypatch, at_a_time):
    monkeypatch.setattr(judging, "SHARDS_PER_BATCH", at_a_time)
    monkeypatch.setattr(targets, "SHARDS_PER_BATCH", at_a_time)
    clips = random_clips(90)
    one, many = Workspace(tmp_path / "one"), Workspace(tmp_path / "many")
    fill(one, [clips])
    fill(many, [clips[:30], clips[30:31], clips[31:]])
    funnels = [select(w.root, recipe=recipe).as_dict() for w in (one, many)]
    assert funnels[0] == funnels[1]
    assert verdicts(one) == verdicts(many)
    assert funnels[0] == json.loads((many.root / "funnel.json").read_text())
    assert propose_thresholds(one.root, 5, recipe=recipe) == propose_thresholds(many.root, 5, recipe=recipe)


def test_a_shard_that_was_not_scored_is_pending(workspace, recipe):
    fill(workspace, [[good()], [good()], [good()]])
    for name in ("motion", "cuts"):
        shard_path(workspace.scores(name), 1).unlink()
    shard_path(workspace.scores("people"), 2).unlink()
    select(workspace.root, recipe=recipe)
    assert [outcome for outcome, *_ in verdicts(workspace)] == ["kept", "pending", "pending"]


def test_the_same_scores_and_recipe_give_the_same_bytes(workspace, recipe):
    fill(workspace, [random_clips(40)])
    select(workspace.root, recipe=recipe)
    before = workspace.verdicts.read_bytes()
    select(workspace.root, recipe=load_recipe(None, ["keep.people.min_share=0.1"]))
    select(workspace.root, recipe=recipe)
    assert workspace.verdicts.read_bytes() == before


def test_a_workspace_without_an_index_is_an_error(workspace, recipe):
    with pytest.raises(UserError, match=r"there is no index in .*; create one with: multiexpr index SOURCE --out"):
        select(workspace.root, recipe=recipe)


def test_a_damaged_file_of_scores_is_named(workspace, recipe):
    fill(workspace, [[good()]])
    path = shard_path(workspace.scores("people"), 0)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"people.00000.parquet is damaged"):
        select(workspace.root, recipe=recipe)


@pytest.mark.parametrize("shard", [0, 1])
def test_scores_of_an_earlier_version_without_a_column_are_named(workspace, recipe, shard):
    fill(workspace, [[good()], [good()]])
    path = shard_path(workspace.scores("cuts"), shard)
    pq.write_table(pq.read_table(path).drop_columns(["gradual"]), path)
    with pytest.raises(UserError, match=rf"{shard}.parquet is of an earlier version, without gradual;"):
        select(workspace.root, recipe=recipe)


def test_why_lists_every_rule_and_agrees_with_select(workspace, recipe):
    clips = [*random_clips(30), failed_at("people", "timeout"), dropped_at("sharpness"), good()]
    fill(workspace, [clips])
    select(workspace.root, recipe=recipe)
    for row in read_rows(workspace.verdicts):
        explanation = why(workspace.root, row["clip_id"])
        assert explanation.outcome == row["outcome"]
        assert [result.rule.name for result in explanation.rules if result.passed is False] == row["reasons"]
        if row["outcome"] != "pending":
            assert explanation.summary.startswith(row["reason"] or row["error"] or "it passes")
    text = str(why(workspace.root, read_rows(workspace.verdicts)[0]["clip_id"]))
    assert "keep.motion.min_expression" in text
    assert "face_expression = [" in text


def test_the_recipe_in_use_is_applied_again_where_none_is_given(workspace):
    fill(workspace, [[good(luma=0.5), good()]])
    strict = load_recipe(None, ["keep.sharpness.min_luma=0.45"])
    assert select(workspace.root, recipe=strict).num_kept == 1
    assert select(workspace.root).num_kept == 1
    assert propose_thresholds(workspace.root, 2).recipe.keep.sharpness.min_luma == 0.45


def test_why_finds_clips_by_path_and_under_another_recipe(workspace, recipe):
    fill(workspace, [[good(face_expression=[2.0, 2.0])]])
    name = read_rows(shard_path(workspace.index, 0))[0]["path"]
    assert why(workspace.root, name).outcome == "kept"
    strict = load_recipe(None, ["keep.motion.min_expression=3"])
    assert "expected at least 3" in why(workspace.root, name, recipe=strict).summary
    with pytest.raises(UserError, match="there is no clip 'nothing'"):
        why(workspace.root, "nothing")


@pytest.mark.parametrize("target", [1, 40, 150, 400])
def test_the_proposed_recipe_keeps_about_the_target(workspace, recipe, target):
    clips = [
        good(**{k: v for values in clip.values() for k, v in values.items() if k in TUNED})
        for clip in random_clips(600)
    ]
    fill(workspace, [clips])
    proposal = propose_thresholds(workspace.root, target, recipe=recipe)
    expected = min(target, proposal.num_reachable)
    assert abs(proposal.num_kept - expected) <= max(2, 0.02 * expected)
    assert select(workspace.root, recipe=proposal.recipe).num_kept == proposal.num_kept


TUNED = ("effective_px", "photomotion", "face_px", "face_effective_px", "face_expression", "face_seen", "face_clipped",
         "face_crushed", "face_luma", "face_speaking")  # fmt: skip


def test_rules_stay_in_proportion(workspace, recipe):
    rng = np.random.default_rng(0)
    clips = [
        good(effective_px=16 * float(s), photomotion=float(p))
        for s, p in zip(rng.uniform(0, 80, 4000), rng.uniform(0, 10, 4000), strict=True)
    ]
    fill(workspace, [clips])  # of 4000, sharpness drops a tenth, photomotion four tenths of the rest
    loose = propose_thresholds(workspace.root, 3000, recipe=recipe)
    assert loose.num_kept == pytest.approx(3000, abs=3)
    sharpness, photomotion = (
        loose.changes[f"keep.{name}"][1] for name in ("sharpness.min_effective_px", "aesthetics.min_photomotion")
    )
    shares = 1 - sharpness / 1280, 1 - photomotion / 10
    assert np.log(shares[1]) / np.log(shares[0]) == pytest.approx(np.log(0.6) / np.log(0.9), rel=0.15)
    assert "keep.motion.min_expression" not in loose.changes


def test_a_target_of_the_recipes_own_number_keeps_that_number(workspace, recipe):
    fill(workspace, [random_clips(1500)])
    kept = select(workspace.root, recipe=recipe).num_kept
    proposal = propose_thresholds(workspace.root, kept, recipe=recipe)
    assert proposal.num_kept == kept


def test_a_target_beyond_reach_keeps_all_reachable_clips(workspace, recipe):
    fill(workspace, [[good()] * 3 + [good(luma=0.0)] * 4 + [dropped_at("sharpness", effective_px=1.0)] * 2])
    proposal = propose_thresholds(workspace.root, 1000, recipe=recipe)
    assert (proposal.num_kept, proposal.num_reachable, proposal.num_unknown) == (3, 3, 2)
    with pytest.raises(UserError, match="--target is 0"):
        propose_thresholds(workspace.root, 0)


def test_clips_without_scores_of_the_method_are_pending(workspace):
    fill(workspace, [[good()], [good()]])
    recipe = load_recipe(None, ["score.aesthetics.method=laion"])
    assert select(workspace.root, recipe=recipe).num_pending == 2


def test_scores_of_two_engines_in_one_workspace_are_not_mixed_in_silence(workspace, recipe, capsys):
    fill(workspace, [[good()], [good()]])
    select(workspace.root, recipe=recipe)
    assert "mixed" not in capsys.readouterr().err
    paths = [shard_path(workspace.scores("motion"), shard) for shard in (0, 1)]
    for path, fingerprint in zip(paths, ("mediapipe", "openvino"), strict=True):
        write_rows(path, read_rows(path), read_table(path).schema, {"fingerprint": fingerprint})
    assert select(workspace.root, recipe=recipe).num_kept == 2
    line = "select: scores of different settings are mixed (motion); make them equal with: multiexpr score"
    assert capsys.readouterr().err == f"{line} {workspace.root}\n"
