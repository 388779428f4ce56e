"""What the report's numbers are computed from: which shards, which clips, which values, which times."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exprbench.core.files import write_json
from multiexpr import select
from multiexpr.recipe import load_recipe
from multiexpr.reporting import numbers
from multiexpr.reporting.numbers import _union_s, examples, failures, histograms, mismatch_counts, time_spent
from multiexpr.storage import parquet
from multiexpr.storage.parquet import write_rows
from tests.multiexpr.made import change_index, dropped_at, failed_at, fill, good, of_people


def histogram(workspace, name, *changes):
    plots, _ = histograms(workspace, load_recipe(None, list(changes)))
    return next((plot for plot in plots if plot.rule.name == name), None)


@pytest.mark.parametrize(
    ("num_shards", "most", "chosen"), [(9, 3, [0, 4, 8]), (3, 3, [0, 1, 2]), (2, 3, [0, 1]), (4, 3, [0, 2, 3])]
)
def test_histograms_are_drawn_from_shards_chosen_evenly_up_to_the_last(
    workspace, monkeypatch, num_shards, most, chosen
):
    fill(workspace, [[good(luma=0.1 * (i + 1))] * 2 for i in range(num_shards)])
    monkeypatch.setattr(numbers, "MAX_SHARDS", most)
    monkeypatch.setattr(numbers, "SHARDS_PER_BATCH", 2)
    plots, num_clips = histograms(workspace, load_recipe())
    (plot,) = [p for p in plots if p.rule.name == "dark"]
    assert num_clips == plot.num_clips == 2 * len(chosen)
    middles = (plot.edges[1:] + plot.edges[:-1]) / 2
    np.testing.assert_allclose(middles[plot.counts > 0], [0.1 * (i + 1) for i in chosen], atol=plot.edges[1])


def test_at_most_four_hundred_shards_are_read():
    assert numbers.MAX_SHARDS == 400


def test_only_clips_that_a_rule_was_measured_of_are_counted(workspace):
    clips = [good(), failed_at("sharpness"), dropped_at("people"), good(luma=0.0, people_confidence=[0.0] * 10)]
    fill(workspace, [clips])
    counts = {name: histogram(workspace, name).num_clips for name in ("short", "dark", "cut", "inexpressive")}
    assert counts == {"short": 4, "dark": 2, "cut": 2, "inexpressive": 2}
    assert (histogram(workspace, "dark").num_failing, histogram(workspace, "few_people").num_failing) == (1, 1)


def test_a_rule_that_applies_to_no_clip_has_no_histogram(workspace):
    fill(workspace, [[good(**of_people(0)), failed_at("sharpness")]])
    assert histogram(workspace, "small_faces") is None  # there is no face
    assert histogram(workspace, "few_faces") is not None


def test_an_axis_begins_at_zero_and_ends_beyond_all_but_the_largest_values(workspace):
    values = [*np.linspace(10, 400, 999), 1e6]
    fill(workspace, [[good(effective_px=float(v)) for v in values]])
    plot = histogram(workspace, "blurred")
    assert (len(plot.counts), plot.edges[0]) == (40, 0)
    assert plot.edges[-1] == pytest.approx(np.quantile(values, 0.995))
    assert plot.counts.sum() == 1000  # values beyond the end are counted in the last bin
    assert plot.counts[-1] > plot.counts[-2]
    plot = histogram(workspace, "blurred", "keep.sharpness.min_effective_px=500")
    assert (plot.edges[-1], plot.limit, plot.num_failing) == (500, 500, 999)


def test_an_axis_reaches_below_zero_where_values_do(workspace):
    fill(workspace, [[good(photomotion=float(v)) for v in np.linspace(-2, 8, 201)]])
    plot = histogram(workspace, "unaesthetic")
    assert plot.edges[0] == pytest.approx(-1.95)
    assert plot.counts[0] > plot.counts[1]  # with the values below


def test_a_rule_that_is_off_fails_nothing_and_has_no_place_on_the_axis(workspace):
    fill(workspace, [[good(length_s=float(v)) for v in (4, 5, 6)]])
    plot = histogram(workspace, "long", "keep.container.max_duration_s=0")
    assert (plot.limit, plot.num_failing) == (0, 0)
    plot = histogram(workspace, "long", "keep.container.max_duration_s=50")
    assert (plot.edges[-1], plot.num_failing) == (50, 0)


def test_values_that_are_all_zero_have_an_axis(workspace):
    fill(workspace, [[good(cut=0.0, luma=0.0)]])
    plot = histogram(workspace, "dark", "keep.sharpness.min_luma=0")
    assert (plot.edges[0], plot.edges[-1], plot.counts[0], plot.num_failing) == (0, 1, 1, 0)


# Examples


def test_the_first_twelve_of_every_outcome_are_shown_by_id(workspace, recipe):
    shards = [[good(luma=0.0)] * 9 + [failed_at("people")], [good()] * 5 + [dropped_at("container", length_s=0.1)] * 15]
    fill(workspace, shards)
    change_index(workspace, 0, lambda rows: [{**row, "caption": f"of {row['clip_id']}"} for row in rows])
    select(workspace.root, recipe=recipe)
    found = examples(workspace)
    assert list(found) == ["kept", "dark", "short"]
    ids = {name: [(clip["clip_id"], clip["shard"]) for clip in clips] for name, clips in found.items()}
    assert ids["dark"] == [(f"0000{i:016d}", 0) for i in range(9)]
    assert ids["short"] == [(f"0001{i:016d}", 1) for i in range(5, 17)]
    assert ids["kept"] == [(f"0001{i:016d}", 1) for i in range(5)]
    assert found["dark"][3]["caption"] == "of 0000" + "3".zfill(16)


def test_examples_are_sorted_by_id_whatever_the_order_of_the_table(workspace, recipe):
    fill(workspace, [[good()] * 3])
    select(workspace.root, recipe=recipe)
    rows = pq.read_table(workspace.verdicts)
    pq.write_table(rows.take([2, 0, 1]), workspace.verdicts)
    assert [clip["clip_id"][-1] for clip in examples(workspace)["kept"]] == ["0", "1", "2"]


def test_examples_and_failures_are_the_first_of_all_parts_of_the_table(workspace, recipe, monkeypatch):
    fill(workspace, [[good(), good(luma=0.0), failed_at("people")] * 6 for _ in range(2)])
    select(workspace.root, recipe=recipe)
    whole = examples(workspace), failures(workspace)
    assert [len(rows) for rows in (whole[0]["kept"], whole[0]["dark"], whole[1])] == [12, 12, 12]
    rows = pq.read_table(workspace.verdicts)
    pq.write_table(rows.take(np.random.default_rng(0).permutation(len(rows))), workspace.verdicts)
    monkeypatch.setattr(parquet, "ROW_GROUP", 5)
    assert (examples(workspace), failures(workspace)) == whole


def test_some_failures_are_listed_with_their_code_detail_and_path(workspace, recipe):
    fill(workspace, [[good(), *[failed_at("people")] * 3], [failed_at("container", "truncated")]])
    change_index(workspace, 1, lambda rows: [{**row, "path": "a.zip", "member": "b/c.mp4"} for row in rows])
    select(workspace.root, recipe=recipe)
    found = failures(workspace)
    assert [row["clip_id"][:4] + row["clip_id"][-1] for row in found] == ["00001", "00002", "00003", "00010"]
    assert [row["error"] for row in found] == ["decode_errors"] * 3 + ["truncated"]
    assert {row["detail"] for row in found} == {"synthetic"}
    assert (found[0]["path"], found[-1]["path"]) == (f"{found[0]['clip_id']}.mp4", "a.zip/b/c.mp4")
    assert [row["clip_id"] for row in failures(workspace, 2)] == [row["clip_id"] for row in found[:2]]


def test_twenty_failures_at_most(workspace, recipe):
    fill(workspace, [[failed_at("people")] * 25])
    select(workspace.root, recipe=recipe)
    assert len(failures(workspace)) == 20


# Times and mismatches


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([(0, 10), (2, 3)], 10),  # one inside another
        ([(2, 3), (0, 10), (11, 1)], 11),  # in any order
        ([(0, 5), (5, 5)], 10),
        ([(0, 5), (4, 5), (20, 2)], 11),
        ([(-10, 5)], 5),
        ([], 0),
    ],
)
def test_seconds_are_counted_once_however_many_shards_were_open(spans, seconds):
    assert _union_s([{"started": float(start), "wall_s": float(wall)} for start, wall in spans]) == seconds


def test_stages_are_listed_in_order_and_those_without_timings_left_out(workspace):
    note = {"started": 0.0, "wall_s": 2.0, "clips": 4, "errors": 0}
    write_json(workspace.timings("score") / "00000.json", {**note, "spent_s": {"people": 1.0, "cuts": 2.0}})
    write_json(workspace.timings("score") / "00001.json", {**note, "spent_s": {"cuts": 0.5}})
    write_json(workspace.timings("caption") / "00000.json", {**note, "spent_s": {}})
    workspace.timings("empty").mkdir()
    found = {spent.stage: spent for spent in time_spent(workspace)}
    assert list(found) == ["caption", "score"]
    assert found["score"].by_scorer_s == {"people": 1.0, "cuts": 2.5}
    assert (found["score"].num_clips, found["score"].wall_s) == (8, 2)


def test_mismatches_are_counted_by_kind(tmp_path):
    assert mismatch_counts(tmp_path / "m.parquet") == {}
    rows = [{"kind": kind} for kind in ("duplicate", "unreadable", "duplicate")]
    write_rows(tmp_path / "m.parquet", rows, pa.schema([("kind", pa.string())]))
    assert mismatch_counts(tmp_path / "m.parquet") == {"duplicate": 2, "unreadable": 1}
