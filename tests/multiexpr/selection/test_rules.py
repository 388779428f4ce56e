import numpy as np
import pyarrow as pa
import pytest

from multiexpr.recipe import Keep, load_recipe
from multiexpr.scoring.stage import passes_rules
from multiexpr.selection.rules import READS, RULES, get_rule, people_that_count, person_number, scorer_rules
from multiexpr.storage.columns import ListColumn, from_row, from_table
from tests.multiexpr.made import of_people

KEEP = Keep()
USED = ["container", "people", "damage", "sharpness", "photomotion", "cuts", "motion"]


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
        ({"people_height": [0.2] * 6}, ["few_people"]),
        ({"people_confidence": [], "people_height": [], "people_frame": []}, ["few_people"]),
        ({"luma": 0.01}, ["dark"]),
        ({"contrast": 0.2}, ["low_contrast"]),
        ({"posterisation": 1.0}, ["posterised"]),
        ({"effective_px": 30.0}, ["blurred"]),
        ({"noise": 20.0}, ["noisy"]),
        ({"grain": 1.5}, ["grainy"]),
        ({"halos": 0.2}, ["oversharpened"]),
        ({"source_px": 80.0}, ["enlarged"]),
        ({"halos": 0.2, "enlargement": 3.0, "source_px": 240.0}, []),  # the halos of the kernel
        ({"halos": 0.2, "enlargement": 6.0, "source_px": 120.0}, ["oversharpened", "enlarged"]),
        ({"blockiness": 0.5}, ["blocky"]),
        ({"combing": 0.001}, ["interlaced"]),
        ({"photomotion": 3.0}, ["unaesthetic"]),
        ({"cut": 40.0}, ["cut"]),
        ({"jump": 0.3}, ["jump_cut"]),
        ({"gradual": 0.6}, ["gradual_cut"]),
        ({"face_seen": [1.0, 0.5]}, ["few_faces"]),
        (of_people(1), ["few_faces"]),
        ({"face_px": [200.0, 30.0]}, ["small_faces"]),
        ({"face_effective_px": [50.0, 30.0]}, ["blurred_faces"]),
        ({"face_clipped": [0.0, 0.5]}, ["burnt_out_faces"]),
        ({"face_clipped": [0.0, None]}, ["burnt_out_faces"]),
        ({"face_crushed": [0.0, 0.5]}, ["crushed_faces"]),
        ({"face_luma": [0.05, 0.3]}, ["dark_faces"]),
        ({"face_effective_px": [50.0, None]}, ["blurred_faces"]),
        ({"face_expression": [0.1, 0.1]}, ["inexpressive"]),
    ],
)  # fmt: skip
def test_each_rule_drops_a_clip_for_its_reason(scores, changes, reasons):
    assert failing(scores(**changes)) == reasons


def with_people(num_people, height):
    """Columns of a clip with the given number of people in each frame."""
    frames = [i for i, count in enumerate(num_people) for _ in range(count)]
    return {"people_counts": num_people, "people_frame": frames, "people_height": [height] * len(frames),
            "people_confidence": [0.9] * len(frames)}  # fmt: skip


TALL = 0.8


@pytest.mark.parametrize(
    ("name", "at_the_threshold", "beyond_it"),
    [
        ("short", {"length_s": 2.0}, {"length_s": 1.999}),
        ("long", {"length_s": 30.0}, {"length_s": 30.001}),
        ("small", {"height": 360}, {"height": 359}),
        ("small", {"width": 360}, {"width": 359}),
        ("slow", {"fps": 12.0}, {"fps": 11.99}),
        ("few_people", with_people([2, 2, 2, 2, 0], TALL), with_people([2, 2, 2, 1, 1], TALL)),
        ("few_people", {"people_confidence": [0.5] * 6}, {"people_confidence": [0.499] * 6}),
        ("few_people", {"people_height": [0.25] * 6}, {"people_height": [0.24] * 6}),
        ("dark", {"luma": 0.08}, {"luma": 0.079}),
        ("blurred", {"effective_px": 128.0}, {"effective_px": 127.9}),
        ("low_contrast", {"contrast": 0.25}, {"contrast": 0.249}),
        ("posterised", {"posterisation": 0.9}, {"posterisation": 0.91}),
        ("noisy", {"noise": 12.7}, {"noise": 12.8}),
        ("grainy", {"grain": 1.0}, {"grain": 1.01}),
        ("oversharpened", {"halos": 0.1}, {"halos": 0.11}),
        ("enlarged", {"source_px": 144.0}, {"source_px": 143.9}),
        ("blocky", {"blockiness": 0.4}, {"blockiness": 0.41}),
        ("interlaced", {"combing": 0.0005}, {"combing": 0.0006}),
        ("unaesthetic", {"photomotion": 4.0}, {"photomotion": 3.99}),
        ("cut", {"cut": 27.0}, {"cut": 27.01}),
        ("jump_cut", {"jump": 0.1}, {"jump": 0.101}),
        ("gradual_cut", {"gradual": 0.5}, {"gradual": 0.501}),
        ("few_faces", {"face_seen": [1.0, 0.8]}, {"face_seen": [1.0, 0.79]}),
        ("small_faces", {"face_px": [200.0, 64.0]}, {"face_px": [200.0, 63.9]}),
        ("small_faces", {"face_px": [200.0, 64.0], "face_seen": [1.0, 0.8]}, {"face_px": [200.0, 63.0],
                                                                             "face_seen": [1.0, 0.8]}),
        ("blurred_faces", {"face_effective_px": [50.0, 36.0]}, {"face_effective_px": [50.0, 35.9]}),
        ("burnt_out_faces", {"face_clipped": [0.33, 0.33]}, {"face_clipped": [0.33, 0.34]}),
        ("crushed_faces", {"face_crushed": [0.33, 0.33]}, {"face_crushed": [0.33, 0.34]}),
        ("dark_faces", {"face_luma": [0.08, 0.5]}, {"face_luma": [0.079, 0.5]}),
        ("inexpressive", {"face_expression": [2.0, 1.1]}, {"face_expression": [2.0, 1.09]}),
    ],
)  # fmt: skip
def test_a_clip_at_a_threshold_passes_and_one_beyond_it_fails(scores, name, at_the_threshold, beyond_it):
    assert failing(scores(**at_the_threshold)) == []
    assert failing(scores(**beyond_it)) == [name]


def test_the_limit_of_people_passes_and_one_more_fails(scores):
    keep = load_recipe(None, ["keep.people.max_people=3"]).keep
    assert failing(scores(**with_people([3] * 5, TALL)), keep) == []
    assert failing(scores(**with_people([4] * 5, TALL)), keep) == ["many_people"]


def test_the_score_of_laion_has_a_threshold_of_its_own(scores):
    laion = get_rule("unaesthetic", ["laion"])
    columns = {**scores(), "laion": np.array([4.5, 4.49])}
    assert laion.fails(laion.measure(columns, KEEP), KEEP).tolist() == [False, True]


def test_more_people_may_be_asked_for(scores):
    keep = load_recipe(None, ["keep.people.min_people=3"]).keep
    assert failing(scores(**with_people([2] * 5, TALL)), keep) == ["few_people", "few_faces"]
    three = of_people(3)
    assert failing(scores(**with_people([3] * 5, TALL), **three), keep) == []
    assert failing(scores(**with_people([3] * 5, TALL), **of_people(3, px=[200.0, 200.0, 20.0])), keep) == [
        "small_faces"
    ]


@pytest.mark.parametrize(
    ("counts", "usual"), [([3, 1], 3), ([4, 2, 1, 1], 2), ([1, 5, 1], 1), ([0, 0, 4], 0), ([2], 2)]
)
def test_the_usual_number_of_people_is_that_of_at_least_half_of_the_frames(scores, counts, usual):
    assert measured("many_people", scores(**with_people(counts, TALL))) == usual


@pytest.mark.parametrize("name", ["few_people", "many_people"])
def test_a_clip_of_which_no_frame_was_seen_is_judged_by_no_rule_about_people(scores, name):
    assert np.isnan(measured(name, scores(**with_people([], TALL))))


def test_rules_about_faces_apply_to_all_people_where_too_few_faces_are_seen(scores):
    """The clip is dropped anyway; its other reasons are those of all people in it."""
    assert failing(scores(face_seen=[1.0, 0.79])) == ["few_faces"]
    assert failing(scores(face_seen=[1.0, 0.79], face_expression=[0.1, 2.0])) == ["few_faces", "inexpressive"]
    assert failing(scores(**of_people(1))) == ["few_faces"]
    assert failing(scores(**of_people(1, effective_px=[20.0]))) == ["few_faces", "blurred_faces"]


def test_a_threshold_of_zero_switches_off_only_the_rules_that_say_so(scores):
    assert {r.name for r in RULES if r.off_at is not None} == {"long", "many_people"}
    assert failing(scores(cut=0.1), load_recipe(None, ["keep.cuts.max_cut=0"]).keep) == ["cut"]
    assert failing(scores(**with_people([9] * 5, TALL)), load_recipe(None, ["keep.people.max_people=0"]).keep) == []


def test_which_rules_a_target_may_move():
    movable = {r.name for r in RULES if r.tunable}
    assert movable == {"blurred", "unaesthetic", "small_faces", "blurred_faces", "inexpressive"}


def test_a_third_person_can_be_still(scores):
    third = of_people(3, px=[200.0, 150.0, 20.0], effective_px=[80.0, 70.0, 10.0], expression=[2.5, 2.2, 0.0])
    assert failing(scores(**third)) == []


def test_people_visible_in_too_few_frames_do_not_count(scores):
    rarely_seen = of_people(3, seen=[1.0, 0.9, 0.3], px=[200.0, 10.0, 300.0])
    assert failing(scores(**rarely_seen)) == ["small_faces"]


def test_the_share_of_frames_with_people(scores):
    columns = scores(people_counts=[3, 1, 2], people_frame=[0, 0, 0, 1, 2, 2])
    assert measured("few_people", columns) == pytest.approx(2 / 3)
    assert measured("many_people", columns) == 2


def test_the_number_of_people_can_be_limited(scores):
    keep = load_recipe(None, ["keep.people.max_people=4"]).keep
    five = {"people_counts": [5] * 3, "people_frame": [i for i in range(3) for _ in range(5)],
            "people_height": [0.8] * 15, "people_confidence": [0.9] * 15}  # fmt: skip
    assert failing(scores(**five)) == []
    assert failing(scores(**five), keep) == ["many_people"]


def test_zero_disables_a_limit(scores):
    assert failing(scores(length_s=500.0), load_recipe(None, ["keep.container.max_duration_s=0"]).keep) == []


def test_every_threshold_of_the_recipe_belongs_to_a_rule():
    thresholds = {r.threshold for r in RULES} | {"people.min_people", "people.min_confidence", "people.min_height"}
    thresholds |= {"copies.max_hash_distance", "copies.max_embedding_distance"}  # a rule on pairs of clips
    from dataclasses import asdict

    assert thresholds == {f"{section}.{key}" for section, keys in asdict(KEEP).items() for key in keys}


def test_a_verdict_does_not_depend_on_other_clips(scores):
    from tests.multiexpr.made import random_clips

    clips = [{k: v for values in clip.values() for k, v in values.items()} for clip in random_clips(60)]
    for clip, num_people in zip(clips, ([], [0], [3, 1], [1, 2, 3, 4], [2, 0, 2, 2], [5] * 7), strict=False):
        clip.update(with_people(num_people, TALL))
    table = from_table(pa.Table.from_pylist(clips))
    for scorer in USED:
        for r in scorer_rules(scorer):
            batch = r.fails(r.measure(table, KEEP), KEEP)
            single = [r.fails(r.measure(from_row(clip), KEEP), KEEP)[0] for clip in clips]
            assert batch.tolist() == single, r.name


def test_rules_on_one_scorer_need_only_its_columns(recipe):
    assert not passes_rules({"length_s": 1.0, "width": 640, "height": 480, "fps": 25.0}, "container", recipe)
    assert passes_rules({"effective_px": 150.0, "luma": 0.5, "contrast": 0.7}, "sharpness", recipe)


def test_tables_become_columns_of_numbers_and_lists():
    lists = pa.array([[9.0], [1.0, None], None, [], [3.0]])[1:]  # a slice: what is before it does not count
    table = pa.table(
        {"number": [1, None, 3, 4], "flag": [True, False, None, True], "list": lists, "text": list("abcd")}
    )
    table = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    columns = from_table(table)
    assert set(columns) == {"number", "flag", "list"}
    np.testing.assert_array_equal(columns["number"], [1, np.nan, 3, 4])
    np.testing.assert_array_equal(columns["flag"], [1, 0, np.nan, 1])
    np.testing.assert_array_equal(columns["list"].values, [1, np.nan, 3])
    assert columns["list"].starts.tolist() == [0, 2, 2, 2, 3]


def test_nth_largest():
    lists = ListColumn(np.array([3.0, 1.0, 2.0, 5.0, np.nan, 7.0]), np.array([0, 3, 3, 5, 6]))
    mask = np.ones(6, bool)
    assert np.array_equal(lists.nth_largest(1, mask), [3, np.nan, 5, 7], equal_nan=True)
    assert np.array_equal(lists.nth_largest(2, mask), [2, np.nan, np.nan, np.nan], equal_nan=True)
    assert lists.nth_largest_index(np.array([3, 1, 1, 0]), mask).tolist() == [1, -1, 3, -1]
    assert lists.count(mask).tolist() == [3, 0, 2, 1]


def test_rules_read_exactly_the_columns_that_are_loaded_for_them(scores):
    class RecordingDict(dict):
        def __getitem__(self, name):
            names.add(name)
            return super().__getitem__(name)

    for scorer in READS:
        names = set()
        for r in scorer_rules(scorer):
            r.measure(RecordingDict({**scores(), "laion": np.array([5.0]), "musiq": np.array([60.0])}), KEEP)
        assert names == {*READS[scorer]}


def test_columns_of_a_part_of_a_table_are_those_of_its_rows():
    lists, counts = [[9.0], [1.0, 2.0], None, [3.0]], [7, 1, None, 3]
    table = pa.table({"face_px": pa.array(lists, pa.list_(pa.float32())), "width": counts, "path": list("abcd")})
    columns = from_table(table.slice(1))
    assert columns["face_px"].values.tolist() == [1, 2, 3]
    assert columns["face_px"].starts.tolist() == [0, 2, 2, 3]
    np.testing.assert_array_equal(columns["width"], [1, np.nan, 3])
    assert set(columns) == {"face_px", "width"}


def test_people_are_judged_one_by_one(scores):
    """A photograph, a blurred face and a live one: each rule has two people who pass it, but one person passes all."""
    mixed = of_people(3, effective_px=[100.0, 20.0, 100.0], expression=[0.1, 3.0, 3.0])
    assert failing(scores(**mixed)) == ["blurred_faces"]  # two are live, and one of them is blurred
    assert people_that_count(scores(**mixed), KEEP) == [[3]]


def test_the_reason_names_the_person_at_which_the_clip_fails(scores):
    mixed = of_people(3, seen=[1.0, 0.1, 1.0], px=[200.0, 400.0, 20.0])
    rule = get_rule("small_faces", ["motion"])
    assert measured("small_faces", scores(**mixed)) == 20.0
    assert person_number(rule, scores(**mixed), KEEP).tolist() == [3]
    assert person_number(get_rule("few_faces", ["motion"]), scores(**of_people(1)), KEEP).tolist() == [0]


def test_no_face_is_too_few_faces(scores):
    assert failing(scores(**of_people(0))) == ["few_faces", "inexpressive"]
    assert people_that_count(scores(**of_people(0)), KEEP) == [[]]
