"""The table of the cases of three and more people."""

import csv
import io
import json
import math

import pytest

from exprbench import table
from exprbench.leaderboard import make_table
from exprbench.metrics import COLUMNS
from exprbench.metrics.intervals import mean_interval
from exprbench.records import CaseScore
from exprbench.scoring.groups import make_group
from tests.leaderboard.test_table import record

NAMES = ("aed", "swap", "swap_margin")
IDS = {name: COLUMNS[name].ids["mediapipe"] for name in NAMES}


def case(number, num_faces, swap=None, margin=None, **changes):
    values = {} if swap is None else {"aed": 0.1, "swap": swap, "swap_margin": margin}
    options = {"outcome": "scored" if values else "error", "num_frames": 50, "num_frames_reference": 50, **changes}
    ids = {"case_id": f"multi-cross-{number:04d}", "split": "multi", "track": "cross"}
    return CaseScore(**ids, num_faces=num_faces, values=values, **options)


def made(method, *cases, total=None, **changes):
    group = make_group("multi", "cross", cases, [COLUMNS[name] for name in NAMES], {}, total or len(cases))
    return record(method, group, cases=list(cases), ids=IDS, **changes)


ALPHA = made("Alpha", case(1, 2, 0.5, 0.1), case(2, 3, 0.1, 0.8), case(3, 3, 0.2, 0.6), case(4, 4, 0.3, 0.7))
BETA = made("Beta", case(1, 2, 0.0, 0.9), case(2, 3, 0.5, 0.1), case(3, 3, 0.7, 0.0), case(4, 4, 0.6, 0.2))
SWAP, MARGIN = mean_interval([0.1, 0.2, 0.3]), mean_interval([0.8, 0.6, 0.7])


def cells(*records, **options):
    (further,) = make_table(records, extras=True, **options).further
    return {row.method: row.cells for row in further.rows}


def test_means_and_intervals_are_over_the_cases_of_three_and_more_people():
    alpha = cells(ALPHA, BETA)["Alpha"]
    assert list(alpha) == ["cross_cases", "cross_swap", "cross_swap_margin"]
    assert alpha["cross_cases"].text == "3"
    swap = alpha["cross_swap"].aggregate
    assert (swap.value, swap.low, swap.high) == pytest.approx((0.2, *SWAP))
    assert alpha["cross_swap"].best
    assert not any(row["cross_cases"].best for row in cells(ALPHA, BETA).values())
    (row,) = [row for row in make_table([ALPHA, BETA], extras=True).rows if row.method == "Alpha"]
    assert row.cells["cross_swap"].text == "0.275"  # of all four cases


def test_every_format_has_it():
    interval = f"[{SWAP[0]:.3f}, {SWAP[1]:.3f}]"
    markdown = table([ALPHA, BETA], extras=True)
    assert "| Dataset   | Method | Cross cases |" in markdown
    assert f"| **0.200** {interval} |" in markdown
    assert "Means over the cases of 3 and more people, with 95 % intervals." in markdown
    latex = table([ALPHA, BETA], extras=True, format="latex")
    assert rf"3+ people & Alpha & 3 & \textbf{{0.200}}\,$_{{{SWAP[0]:.3f}}}^{{{SWAP[1]:.3f}}}$ &" in latex
    assert latex.count(r"\end{table*}") == 2
    page = table([ALPHA, BETA], extras=True, format="html")
    assert page.count("</table>") == 2
    assert f">0.200 {interval}</td>" in page
    content = json.loads(table([ALPHA, BETA], extras=True, format="json"))
    (further,) = content["further"]
    assert [c["kind"] for c in further["columns"]] == ["count", "extra", "extra"]
    assert further["rows"][0]["cells"]["cross_swap_margin"]["value"] == pytest.approx(0.7)
    assert further["rows"][0]["cells"]["cross_swap_margin"]["low"] == pytest.approx(MARGIN[0])
    rows = list(csv.DictReader(io.StringIO(table([ALPHA, BETA], extras=True, format="csv"))))
    (row,) = [row for row in rows if (row["dataset"], row["method"]) == ("3+ people", "Alpha")]
    assert (row["cross_cases"], row["cross_swap"], row["cross_swap_interval"]) == ("3", "0.200", interval)
    assert (row["cross_AED"], rows[0]["cross_swap_interval"]) == ("", "")


@pytest.mark.parametrize("format", ["md", "latex", "csv", "json", "html"])
def test_there_is_none_without_extras_or_such_cases(format):
    pairs = made("Pairs", case(1, 2, 0.5, 0.1), case(2, 2, 0.1, 0.8))
    assert "3+ people" not in table([pairs], extras=True, format=format)
    assert "3+ people" not in table([ALPHA], format=format)
    assert make_table([made("No swap", case(1, 3, math.nan, math.nan))]).further == ()


def test_failed_cases_and_shards_are_marked_and_do_not_win():
    failed = made("Failed", case(2, 3, 0.0, 1.0), case(3, 3, 0.0, 1.0), case(4, 0, code="missing_file"))
    found = cells(ALPHA, BETA, failed)
    assert (found["Failed"]["cross_swap"].notes, found["Failed"]["cross_cases"].text) == ("c", "2")
    assert found["Alpha"]["cross_swap"].best
    shard = made("Shard", case(2, 3, 0.0, 1.0), total=4)
    assert cells(ALPHA, shard)["Shard"]["cross_swap"].notes == "s"
    assert cells(ALPHA, failed, common=True)["Alpha"]["cross_swap"].text == "0.150"


def test_a_record_without_swap_has_no_row():
    plain = record("Plain", ALPHA.groups[0], cases=ALPHA.cases, ids={"aed": IDS["aed"]})
    assert cells(ALPHA, plain).keys() == {"Alpha"}
