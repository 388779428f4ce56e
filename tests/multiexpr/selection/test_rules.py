import numpy as np
import pytest

from multiexpr.recipe import Keep, load_recipe
from multiexpr.scoring.stage import passes_rules
from multiexpr.selection.rules import READS, RULES, get_rule, scorer_rules
from multiexpr.storage.columns import ListColumn, from_row, from_table

KEEP = Keep()
USED = ["container", "people", "sharpness", "photomotion", "cuts", "motion"]


def rule(name):
    return get_rule(name, USED)


def measured(name, columns, keep=KEEP):
    return float(rule(name).measure(columns, keep)[0])


def failing(columns, keep=KEEP):
    rules = [r for scorer in USED for r in scorer_rules(scorer)]
    return [r.name for r in rules if r.fails(r.measure(columns, keep), keep)[0]]


def test_a_good_clip_passes_every_rule(scores):
    assert failing(scores()) == []


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"length_s": 1.9}, ["short"]),
        ({"length_s": 31}, ["long"]),
        ({"height": 350}, ["small"]),
        ({"fps": 10.0}, ["slow"]),
        ({"people_confidence": [0.9, 0.4] * 3}, ["few_people"]),
        ({"people_box": [0.1, 0.1, 0.2, 0.3] * 6}, ["few_people"]),
        ({"people_confidence": [], "people_box": [], "people_frame": []}, ["few_people"]),
        ({"luma": 0.01}, ["dark"]),
        ({"sharpness": 3.0}, ["blurred"]),
        ({"photomotion": 3.0}, ["unaesthetic"]),
        ({"cut": 40.0}, ["cut"]),
        ({"face_seen": [1.0, 0.5]}, ["few_faces"]),
        ({"face_seen": [1.0], "face_px": [200.0], "face_sharpness": [50.0], "face_head_deg": [5.0],
          "face_expression": [2.0]}, ["few_faces"]),
        ({"face_px": [200.0, 30.0]}, ["small_faces"]),
        ({"face_sharpness": [50.0, 3.0]}, ["blurred_faces"]),
        ({"face_sharpness": [50.0, None]}, ["blurred_faces"]),
        ({"face_head_deg": [0.1, 0.1], "face_expression": [0.1, 0.1]}, ["still", "inexpressive"]),
    ],
)  # fmt: skip
def test_each_rule_drops_a_clip_for_its_reason(scores, changes, reasons):
    assert failing(scores(**changes)) == reasons


def test_values_at_the_thresholds_pass(scores):
    assert failing(scores(length_s=2.0, luma=0.08, sharpness=8.0, cut=27.0, face_expression=[1.1, 1.1])) == []


def test_a_third_person_can_be_still(scores):
    third = {"face_seen": [1.0, 0.9, 1.0], "face_px": [200.0, 150.0, 20.0], "face_sharpness": [50.0, 40.0, 1.0],
             "face_head_deg": [5.0, 4.0, 0.0], "face_expression": [2.5, 2.2, 0.0]}  # fmt: skip
    assert failing(scores(**third)) == []


def test_people_visible_in_too_few_frames_do_not_count(scores):
    rarely_seen = {"face_seen": [1.0, 0.9, 0.3], "face_px": [200.0, 10.0, 300.0], "face_sharpness": [50.0, 40.0, 50.0],
              "face_head_deg": [5.0, 4.0, 9.0], "face_expression": [2.5, 2.2, 9.0]}  # fmt: skip
    assert failing(scores(**rarely_seen)) == ["small_faces"]


def test_the_share_of_frames_with_people(scores):
    columns = scores(people_counts=[3, 1, 2], people_frame=[0, 0, 0, 1, 2, 2])
    assert measured("few_people", columns) == pytest.approx(2 / 3)
    assert measured("many_people", columns) == 2


def test_the_number_of_people_can_be_limited(scores):
    keep = load_recipe(None, ["keep.people.max_people=4"]).keep
    five = {"people_counts": [5] * 3, "people_frame": [i for i in range(3) for _ in range(5)],
            "people_box": [0.1, 0.1, 0.3, 0.9] * 15, "people_confidence": [0.9] * 15}  # fmt: skip
    assert failing(scores(**five)) == []
    assert failing(scores(**five), keep) == ["many_people"]


def test_zero_disables_a_limit(scores):
    assert failing(scores(length_s=500.0), load_recipe(None, ["keep.container.max_duration_s=0"]).keep) == []


def test_every_threshold_of_the_recipe_belongs_to_a_rule():
    thresholds = {r.threshold for r in RULES} | {"people.min_people", "people.min_confidence", "people.min_height"}
    from dataclasses import asdict

    assert thresholds == {f"{section}.{key}" for section, keys in asdict(KEEP).items() for key in keys}


def test_a_verdict_does_not_depend_on_other_clips(scores):
    import pyarrow as pa

    from tests.multiexpr.made import random_clips

    clips = [{k: v for values in clip.values() for k, v in values.items()} for clip in random_clips(60)]
    table = from_table(pa.Table.from_pylist(clips))
    for scorer in USED:
        for r in scorer_rules(scorer):
            batch = r.fails(r.measure(table, KEEP), KEEP)
            single = [r.fails(r.measure(from_row(clip), KEEP), KEEP)[0] for clip in clips]
            assert batch.tolist() == single, r.name


def test_rules_on_one_scorer_need_only_its_columns(recipe):
    assert not passes_rules({"length_s": 1.0, "width": 640, "height": 480, "fps": 25.0}, "container", recipe)
    assert passes_rules({"sharpness": 9.0, "luma": 0.5}, "sharpness", recipe)


def test_nth_largest():
    lists = ListColumn(np.array([3.0, 1.0, 2.0, 5.0, np.nan, 7.0]), np.array([0, 3, 3, 5, 6]))
    mask = np.ones(6, bool)
    assert np.array_equal(lists.nth_largest(1, mask), [3, np.nan, 5, 7], equal_nan=True)
    assert np.array_equal(lists.nth_largest(2, mask), [2, np.nan, np.nan, np.nan], equal_nan=True)
    assert lists.count(mask).tolist() == [3, 0, 2, 1]


def test_rules_read_exactly_the_columns_that_are_loaded_for_them(scores):
    class RecordingDict(dict):
        def __getitem__(self, name):
            names.add(name)
            return super().__getitem__(name)

    for scorer in READS:
        names = set()
        for r in scorer_rules(scorer):
            r.measure(RecordingDict({**scores(), "laion": np.array([5.0])}), KEEP)
        assert names == set(READS[scorer])
