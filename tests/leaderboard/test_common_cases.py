"""Tables over the cases that all records have."""

import csv
import io
from dataclasses import replace

import pytest

from exprbench import UserError, table
from exprbench.leaderboard import make_table
from exprbench.metrics import COLUMNS
from exprbench.records import Aggregate, CaseScore
from exprbench.scoring.groups import make_group
from tests.leaderboard.test_table import record

NAMES = ("fid", "psnr", "lmd")


def case(number, psnr=None, lmd=None, **changes):
    values = {name: value for name, value in (("psnr", psnr), ("lmd", lmd)) if value is not None}
    options = {"outcome": "scored" if values else "error", "num_frames": 50, "num_frames_reference": 50, **changes}
    return CaseScore(case_id=f"single-self-{number:04d}", split="single", track="self", values=values, **options)


def made(method, *cases, total=4, **changes):
    sets = {"fid": Aggregate(value=12.0, num_videos=len(cases))}
    group = make_group("single", "self", cases, [COLUMNS[name] for name in NAMES], sets, total)
    ids = {name: COLUMNS[name].ids["mediapipe"] for name in NAMES}
    return record(method, group, cases=list(cases), ids=ids, **changes)


WHOLE = made("whole", case(1, 20, 0.1), case(2, 30, 0.2), case(3, 10, 0.4), case(4, 5, 0.6))
SHARD = made("shard", case(1, 24, 0.1), case(3, 16, 0.2))
FAILED = made("failed", case(1, 21, 0.3), case(2, 40), case(3, 15), case(4, code="missing_file"))


def printed(records, **options):
    return {row["method"]: row for row in csv.DictReader(io.StringIO(table(records, format="csv", **options)))}


def test_means_are_over_the_cases_that_all_records_have():
    rows = printed([WHOLE, SHARD], common=True)
    assert (rows["whole"]["self_PSNR"], rows["shard"]["self_PSNR"]) == ("15.00", "20.00")  # of the cases 1 and 3
    assert (rows["whole"]["self_LMD"], rows["shard"]["self_LMD"]) == ("250.00", "150.00")
    assert printed([WHOLE, SHARD])["whole"]["self_PSNR"] == "16.25"


def test_failed_cases_and_missing_values_are_left_out_for_all():
    rows = printed([WHOLE, FAILED], common=True)
    assert rows["whole"]["self_PSNR"] == "20.00"  # of the cases 1, 2 and 3
    assert rows["failed"]["self_PSNR"] == "25.33"
    assert (rows["whole"]["self_LMD"], rows["failed"]["self_LMD"]) == ("100.00", "300.00")  # of the case 1


def test_the_best_of_the_common_cases_is_bold_and_a_line_says_which_they_are():
    text = table([WHOLE, SHARD], common=True)
    assert "**20.00**" in text
    assert "\u00b6" not in text
    assert "Means over the cases that all methods have (--common): single self 2 of 4." in text
    assert "\u00b6" in table([WHOLE, SHARD])


def test_missing_frames_stay_marked():
    short = made("short", case(1, 50, 0.1, num_frames=25), case(2, 50, 0.1), total=2)
    cells = {row.method: row.cells for row in make_table([WHOLE, short], common=True).rows}
    assert (cells["short"]["self_PSNR"].notes, cells["short"]["self_PSNR"].best) == ("c", False)


def test_a_distance_between_sets_stays_only_where_its_cases_are_the_common_ones():
    made_table = make_table([WHOLE, SHARD], common=True)
    cells = {row.method: row.cells["self_FID"] for row in made_table.rows}
    assert (cells["shard"].text, cells["whole"].text) == ("12.00", "")
    assert cells["whole"].why == (
        "a distance between sets cannot be recomputed for the 2 common cases, because a record does not hold features;"
        " this one covers 4 cases"
    )
    assert f"No fid: {cells['whole'].why} (whole, single self)." in made_table.about


def test_a_column_that_a_record_lacks_does_not_empty_that_of_the_others():
    cases = [replace(case(i, 20.0), unscored={"lmd": "weights_missing"}) for i in (1, 2)]
    rows = printed([WHOLE, made("plain", *cases, total=2)], common=True)
    assert (rows["whole"]["self_LMD"], rows["plain"]["self_LMD"]) == ("150.00", "")


def test_records_without_a_common_case():
    with pytest.raises(UserError, match="no case is scored in all records"):
        table([SHARD, made("other", case(2, 1, 1))], common=True)


def test_the_same_cases_give_the_same_table():
    again = replace(WHOLE, method="again")
    plain, common = table([WHOLE, again], format="csv"), table([WHOLE, again], format="csv", common=True)
    assert plain == common
