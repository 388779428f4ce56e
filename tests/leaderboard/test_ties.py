"""Differences that the data do not show are ties."""

from dataclasses import replace

import numpy as np
import pytest

from exprbench import table
from exprbench.leaderboard import make_table
from exprbench.leaderboard.ties import is_tie
from exprbench.metrics import COLUMNS
from exprbench.metrics.set_distance import set_distance
from exprbench.records import Aggregate, CaseScore
from exprbench.scoring.groups import make_group
from tests.leaderboard.test_table import record

DIFFICULTY = np.linspace(20, 40, 12)
NOISE = np.tile([-0.5, 0.5, -0.25, 0.25], 3)


def made(method, psnr, fid=None):
    cases = [
        CaseScore(
            case_id=f"single-self-{i:04d}",
            split="single",
            track="self",
            outcome="scored",
            num_frames=10,
            num_frames_reference=10,
            values={"psnr": float(value)},
        )
        for i, value in enumerate(psnr)
    ]
    names = ["psnr", *(["fid"] if fid else [])]
    group = make_group("single", "self", cases, [COLUMNS[n] for n in names], {"fid": fid} if fid else {}, len(cases))
    return record(method, group, cases=cases, ids={n: COLUMNS[n].ids["mediapipe"] for n in names})


def shown(*records, column="self_PSNR", **options):
    rows = make_table(records, **options).rows
    return {row.method: (row.cells[column].best, row.cells[column].notes) for row in rows}


def test_a_difference_inside_the_paired_interval_is_a_tie():
    first, second = made("first", DIFFICULTY), made("second", DIFFICULTY - 0.05 + NOISE)
    assert shown(first, second) == {"first": (True, "t"), "second": (False, "t")}


def test_pairing_shows_a_difference_that_is_small_compared_with_the_intervals_of_the_means():
    first, second = made("first", DIFFICULTY), made("second", DIFFICULTY - 0.5 + NOISE)
    assert shown(first, second) == {"first": (True, ""), "second": (False, "")}
    numbers = [r.groups[0].aggregates["psnr"] for r in (first, second)]
    assert numbers[0].low < numbers[1].value < numbers[0].high


def test_ties_are_with_the_best_only():
    values = {"best": 0.0, "near": -0.05, "far": -5.0, "farther": -5.05}
    records = [made(name, DIFFICULTY + shift + (NOISE if shift else 0)) for name, shift in values.items()]
    assert shown(*records) == {"best": (True, "t"), "near": (False, "t"), "far": (False, ""), "farther": (False, "")}


def test_a_marked_number_is_neither_best_nor_tied():
    first, second, third = (made(name, DIFFICULTY) for name in ("first", "second", "third"))
    third = replace(third, groups=[replace(third.groups[0], num_cases_benchmark=24)])
    assert shown(first, second, third) == {"first": (True, "t"), "second": (True, "t"), "third": (False, "s")}


def test_a_single_video_shows_no_difference():
    assert shown(made("first", [30.0]), made("second", [20.0])) == {"first": (True, "t"), "second": (False, "t")}


def test_equal_values_are_both_the_best_and_tied():
    assert shown(made("first", DIFFICULTY), made("second", DIFFICULTY)) == {
        "first": (True, "t"),
        "second": (True, "t"),
    }


def test_the_formats_show_ties():
    records = [made("first", DIFFICULTY), made("second", DIFFICULTY - 0.05 + NOISE)]
    assert "**30.00**\u2248" in table(records)
    assert "\u2248 tied: the 95 % interval of its difference from the best value, paired by video" in table(records)
    assert r"\textbf{30.00}$^{\approx}$" in table(records, format="latex")
    assert "self_PSNR: tied: " in table(records, format="csv")
    assert 'class="best"' in table(records, format="html")
    assert '"influence"' not in table(records, format="json")


def test_ties_of_common_cases_are_those_of_these_cases():
    near, far = DIFFICULTY[:6] - 0.05 + NOISE[:6], DIFFICULTY[6:] - 9
    first, second, part = made("first", DIFFICULTY), made("second", [*near, *far]), made("part", DIFFICULTY[:6] - 9)
    assert shown(first, second, part)["second"] == (False, "")
    assert shown(first, second, part, common=True)["second"] == (False, "t")


def features(rng, shift=0.0):
    return {f"single-self-{i:04d}": rng.normal(shift, 1, (20, 4)).astype(np.float32) for i in range(12)}


def distance(reference, predicted):
    found = set_distance(reference, predicted)
    return Aggregate(value=found.value, num_videos=12, influence=found.influence)


@pytest.mark.parametrize(("shift", "expected"), [(0.0, True), (2.0, False)])
def test_distances_between_sets_are_tied_by_the_influences_of_their_videos(shift, expected):
    rng = np.random.default_rng(0)
    reference = features(rng)
    first, second = (distance(reference, features(rng, s)) for s in (1.0, 1.0 + shift))
    records = [made("first", DIFFICULTY, first), made("second", DIFFICULTY, second)]
    assert is_tie(*records, "single", "self", COLUMNS["fid"]) == expected
    notes = shown(*records, column="self_FID")
    assert [notes[name][1] for name in ("first", "second")] == (["t", "t"] if expected else ["", ""])


def test_records_without_values_of_videos_have_no_ties():
    plain = [replace(made(name, DIFFICULTY - i), cases=[]) for i, name in enumerate(("first", "second"))]
    assert shown(*plain) == {"first": (True, ""), "second": (False, "")}


def with_floor(made_record, floor):
    (group,) = made_record.groups
    aggregates = {name: replace(a, floor=floor) for name, a in group.aggregates.items()}
    return replace(made_record, groups=[replace(group, aggregates=aggregates)])


@pytest.mark.parametrize(("floor", "expected"), [(None, False), (0.4, False), (0.6, True)])
def test_a_difference_below_the_noise_floor_is_a_tie(floor, expected):
    metric = replace(COLUMNS["psnr"], higher_is_better=False)
    records = [with_floor(made(name, DIFFICULTY + shift), floor) for name, shift in (("a", 0.0), ("b", 0.5))]
    assert is_tie(*records, "single", "self", metric) == expected
    assert not is_tie(*records, "single", "self", COLUMNS["psnr"])  # its best value is no error of 0
