"""Comparisons of two methods, and the variants panel."""

import csv
import io
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from exprbench import UserError, cli, compare, variants
from exprbench.leaderboard.pairwise import holm, sign_flip_p
from exprbench.records import CaseScore
from tests.leaderboard.test_table import group, record

RECORDS = Path(__file__).parents[2] / "results" / "records"
JITTERY, LATE, STILL = (RECORDS / f"demo-{name}.json" for name in ("jittery", "two-frames-late", "still-image"))


def with_cases(method, values):
    """A record of single self cases with these PSNRs."""
    cases = [
        CaseScore(case_id=f"single-self-{i:04d}", split="single", track="self", outcome="scored", values={"psnr": v})
        for i, v in enumerate(values, 1)
    ]
    return record(method, group(psnr=float(np.mean(values))), cases=cases)


def test_a_difference_is_paired_by_video():
    rng = np.random.default_rng(0)
    base, gain = rng.normal(30, 5, 20), rng.normal(1, 0.2, 20)
    (found,) = compare(with_cases("a", base), with_cases("b", base + gain))
    assert found.difference == pytest.approx(gain.mean())
    assert found.low < gain.mean() < found.high
    assert found.high - found.low < 0.3  # the videos differ by 5 dB, the methods by 1 dB on each
    assert (found.num_videos, found.better, found.p_corrected) == (20, "b", pytest.approx(1 / 20_001))


def test_equal_methods_have_no_better_one():
    values = np.random.default_rng(1).normal(30, 5, 20)
    noise = np.random.default_rng(2).normal(0, 1, 20)
    (found,) = compare(with_cases("a", values), with_cases("b", values + noise - noise.mean() / 2))
    assert found.better == ""
    (same,) = compare(with_cases("a", values), with_cases("b", values))
    assert (same.p, same.difference) == (1.0, 0.0)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_test_is_the_permutation_test_of_scipy(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    expected = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", alternative="two-sided"
    )
    assert sign_flip_p(values) == pytest.approx(expected.pvalue)


def test_the_test_holds_its_level():
    rng = np.random.default_rng(3)
    p_values = np.array([sign_flip_p(rng.normal(0, 1, 8)) for _ in range(1000)])
    assert 0.03 < (p_values <= 0.05).mean() < 0.07


def test_holms_correction_by_definition():
    for p_values in ([0.01, 0.04, 0.03], [0.2], [0.5, 0.5], [0.001, 0.001, 0.9, 0.02]):
        ordered = sorted(p_values)
        m = len(p_values)
        for p, corrected in zip(p_values, holm(p_values), strict=True):
            rank = ordered.index(p)
            assert corrected == pytest.approx(min(1.0, max((m - j) * ordered[j] for j in range(rank + 1))))


def test_records_that_have_nothing_in_common_are_not_compared():
    with pytest.raises(UserError, match="have no number in common; score the same columns"):
        compare(record("a", group(psnr=1.0)), record("b", group(lmd=1.0)))
    with pytest.raises(UserError, match="cannot be in one table"):
        compare(with_cases("a", [1.0, 2.0]), replace(with_cases("b", [1.0, 2.0]), protocol={"fps": "30"}))


def test_the_command_prints_every_format(capsys):
    assert cli.main(["compare", str(JITTERY), str(LATE)]) == 0
    text = capsys.readouterr().out
    assert "| Single  | Self PSNR \u2191 (dB)      |   25.42 |           28.10 |   2.69 |     1.40 to 7.67 |" in text
    assert cli.main(["compare", str(JITTERY), str(LATE), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert cli.main(["compare", str(JITTERY), str(LATE), "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(rows) == 18
    assert {row["metric"] for row in rows if row["p"] == ""} == {"fid", "fvd"}


def test_the_variants_panel_has_every_formula_and_says_where_the_order_changes(capsys):
    rows = variants([JITTERY, LATE, STILL])
    assert {(row.track, row.dataset) for row in rows} == set(product(("self", "cross"), ("Single", "Multi")))
    changed = {row.id for row in rows if row.changes}
    assert "aed[mp-bs52,rmse]" in changed
    assert all(row.order == ["two frames late", "jittery", "still image"] for row in rows if not row.changes)
    assert cli.main(["variants", str(JITTERY), str(LATE), str(STILL)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    num_changes = sum(row.changes for row in rows)
    assert last == f"The order of methods changes under {num_changes} of {len(rows)} formulas, as printed."


def test_one_method_has_no_variants_panel():
    with pytest.raises(UserError, match="expected records of two or more different methods"):
        variants([JITTERY])
