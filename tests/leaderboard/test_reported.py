"""The paper's numbers in the wheel, and in tables."""

import json

import pytest

from exprbench import UserError, paper_table, table
from exprbench.leaderboard.reported import FOLDER
from tests.leaderboard.test_table import A, B, rows

PRINTED = (
    "LivePortrait 79.32 438.27 23.38 0.789 6.90 9.29 45.13 39.79 17.09",
    "FantasyPortrait 64.66 358.08 25.76 0.818 5.08 6.97 33.45 23.08 14.55",
    "LivePortrait 120.43 416.39 21.98 0.7370 7.36 10.57 59.09 36.14 21.52",
)


def test_the_tables_are_in_the_package():
    assert [len(paper_table(n)) for n in (1, 2, 3)] == [8, 8, 10]
    assert {path.name for path in FOLDER.iterdir()} == {"table1.csv", "table2.csv", "table3.csv"}
    with pytest.raises(UserError, match="no results in Table 4; expected 1, 2 or 3"):
        paper_table(4)


def test_reported_numbers_are_printed_as_in_the_paper_marked_and_never_the_best():
    text = table([A, B], reported="paper")
    lines = [" ".join(line.replace("|", " ").split()[1:]) for line in text.splitlines() if "\u25cb" in line]
    for line in PRINTED:
        assert line in [found.replace("\u25cb", "") for found in lines]
    assert not any("**" in line for line in lines)
    assert "\u25cb reported in the paper, protocol unknown" in text
    assert "reported: LivePortrait, Skyreels-A1, HunyuanPortrait, X-Portrait, FollowYE, FantasyPortrait." in text
    assert "self-scored: Alpha, Beta;" in text


def test_reported_numbers_change_no_measured_cell():
    alone, beside = (json.loads(table([A, B], format="json", reported=r)) for r in (None, "paper"))
    assert [row for row in beside["rows"] if row["status"] != "reported"] == alone["rows"]


def test_every_format_has_the_status():
    found = rows(table([A], format="csv", reported="ablation"))
    assert (found["Alpha"]["status"], found["Ours (w/o EAL)"]["status"]) == ("self-scored", "reported")
    assert (found["Ours (w/o EAL)"]["cross_AED"], found["Ours (w/o EAL)"]["self_FID"]) == ("43.63", "")
    assert ">33.45\u25cb</td>" in table([A], format="html", reported="paper")
    assert r"33.45$^{\circ}$" in table([A], format="latex", reported="paper")


def test_an_unknown_source_is_an_error():
    with pytest.raises(UserError, match=r"expected paper .* or ablation"):
        table([A], reported="papers")
