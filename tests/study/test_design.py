"""Who sees what: balance, order and independence of the machine."""

from collections import Counter
from itertools import pairwise

import pytest

from exprbench.benchmark import Case
from exprbench.study.design import assign, conditions_of, draw_cases, num_cases_for, order, orient
from exprbench.study.study_key import Trial


def cases(count, split="single"):
    return [
        Case(case_id=f"{split}-cross-{i:04d}", split=split, track="cross", source="s", drivers=("d",), face_map=())
        for i in range(count)
    ]


SIZES = [(1, 2, 1, 1), (3, 4, 8, 5), (8, 6, 32, 24), (25, 6, 32, 24), (5, 3, 7, 100), (10, 5, 9, 7), (2, 7, 30, 5)]


@pytest.mark.parametrize("mode", ["rating", "pairs"])
@pytest.mark.parametrize(("num_cases", "num_methods", "num_raters", "per_rater"), SIZES)
def test_raters_stimuli_and_conditions_are_balanced(num_cases, num_methods, num_raters, per_rater, mode):
    conditions = conditions_of([f"m{i}" for i in range(num_methods)], mode)
    picks = assign(cases(num_cases), conditions, num_raters, per_rater, seed=3)
    stimuli = [(case.case_id, methods) for session in picks for case, methods in session]
    votes = Counter(stimuli)
    counts = [votes[c.case_id, m] for c in cases(num_cases) for m in conditions]
    assert max(counts) - min(counts) <= 1
    for session in picks:
        assert len(session) == min(per_rater, num_cases * len(conditions))
        assert len({(c.case_id, m) for c, m in session}) == len(session)
        uses = Counter(methods for _, methods in session)
        assert max(uses[m] for m in conditions) - min(uses[m] for m in conditions) <= 1


def test_the_seed_changes_the_draw_and_nothing_else_does():
    conditions = conditions_of(["a", "b"], "rating")
    first, again, other = (assign(cases(6), conditions, 3, 5, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_each_pair_is_shown_both_ways_round():
    conditions = conditions_of(["a", "b", "c"], "pairs")
    sessions = orient(assign(cases(6), conditions, 10, 9, 0), 0)
    sides = Counter((t.left, t.right) for session in sessions for t in session)
    assert len(sides) == 6
    assert set(sides.values()) == {15}


def scored(case_id, method):
    return Trial(kind="scored", case_id=case_id, split="single", left=method)


@pytest.mark.parametrize("rater", range(20))
def test_neighbours_have_different_sources_and_repeats_come_late(rater):
    trials = [scored(f"c{i}", m) for i in range(4) for m in "abcd"]
    extra = [Trial(kind="trap", case_id="trap-0", left="trap"), Trial(kind="gold", case_id="c0", left="low")]
    ordered = order(trials, extra, 2, (0, rater))
    ids = [t.case_id for t in ordered]
    assert all(a != b for a, b in pairwise(ids))
    assert Counter(t.kind for t in ordered) == {"scored": 16, "repeat": 2, "trap": 1, "gold": 1}
    for i, trial in enumerate(ordered):
        if trial.kind == "repeat":
            first = ordered.index(scored(trial.case_id, trial.left))
            assert first < len(ordered) / 3
            assert i > len(ordered) / 2


def test_a_single_source_is_shown_in_spite_of_equal_neighbours():
    ordered = order([scored("c", m) for m in "abc"], [], 1, (0, 0))
    assert [t.kind for t in ordered] == ["scored"] * 3 + ["repeat"]


def test_cases_are_drawn_evenly_from_the_splits():
    drawn = draw_cases([*cases(50), *cases(10, "multi")], 12, seed=0)
    assert Counter(c.split for c in drawn) == {"single": 6, "multi": 6}
    assert draw_cases(cases(3), 9, seed=0) == cases(3)


def test_the_number_of_cases_gives_each_video_five_ratings():
    assert num_cases_for(6, 32, 24) == 25
    assert num_cases_for(4, 2, 10) == 3  # fewer than five, but as many trials as asked for
