"""Aggregation of cases."""

import pytest

from exprbench.metrics import COLUMNS
from exprbench.records import Aggregate, CaseScore
from exprbench.scoring.groups import make_group


def case(number, outcome="scored", *, num_frames=40, **fields):
    return CaseScore(
        case_id=f"single-self-{number:04d}",
        split="single",
        track="self",
        outcome=outcome,
        num_frames=num_frames,
        num_frames_reference=40,
        **fields,
    )


def group_of(*cases, columns=("psnr", "lmd"), sets=None):
    return make_group("single", "self", cases, [COLUMNS[name] for name in columns], sets or {}, num_cases_benchmark=9)


def test_errors_lower_the_coverage_and_nothing_else():
    made = group_of(
        case(1, values={"psnr": 30.0}, detect_rate=1.0, resized=True),
        case(2, values={"psnr": 20.0}, detect_rate=0.5, num_frames=20),
        case(3, "error", code="truncated", num_frames=0),
        case(4, "error", code="missing_file", num_frames=0),
        case(5, "error", code="truncated", num_frames=0),
    )
    assert (made.num_cases, made.num_scored, made.num_resized, made.num_cases_benchmark) == (5, 2, 1, 9)
    assert made.coverage == pytest.approx((1 + 0.5) / 5)
    assert made.detect_rate == 0.75
    assert list(made.errors.items()) == [("missing_file", 1), ("truncated", 2)]
    assert (made.aggregates["psnr"].value, made.aggregates["psnr"].num_videos) == (25, 2)


def test_a_mean_is_over_the_cases_that_have_a_value():
    made = group_of(case(1, values={"lmd": 1.0}), case(2, unscored={"lmd": "no_face"}), case(3, values={"lmd": 4.0}))
    assert (made.aggregates["lmd"].value, made.aggregates["lmd"].num_videos) == (2.5, 2)
    assert made.detect_rate is None  # no face column was scored


def test_without_a_value_the_most_common_reason_is_given():
    reasons = ["no_face", "weights_missing", "weights_missing"]
    made = group_of(*(case(i, unscored={"lmd": why}) for i, why in enumerate(reasons)))
    assert made.unscored == {"lmd": "weights_missing", "psnr": "no case was scored"}
    nothing = group_of(case(1, "error", code="truncated", num_frames=0))
    assert (nothing.coverage, nothing.detect_rate, nothing.num_scored) == (0, None, 0)
    assert nothing.unscored == dict.fromkeys(("psnr", "lmd"), "no case was scored")


def test_set_distances_are_unchanged():
    found = Aggregate(value=7.0, num_videos=9, low=6.0, high=8.0)
    made = group_of(case(1), columns=("fid", "fvd"), sets={"fid": found, "fvd": "too_few_samples"})
    assert made.aggregates == {"fid": found}
    assert made.unscored == {"fvd": "too_few_samples"}


def test_which_columns_are_distances_between_sets():
    names = ("fid", "fid_pytorch", "fvd", "fvd_cdfvd", "fid_video_mean", "psnr", "lmd")
    assert [name for name in names if COLUMNS[name].per == "group"] == ["fid", "fid_pytorch", "fvd", "fvd_cdfvd"]
