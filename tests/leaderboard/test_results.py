"""What is stored under results/, and the pages made of it."""

import csv
import re
from pathlib import Path

import pytest

from exprbench.leaderboard.results import pages

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    "name", [*(f"paper/table{i}.csv" for i in (1, 2, 3)), "LEADERBOARD.md", "leaderboard.tex", "leaderboard.csv"]
)
def test_the_pages_are_up_to_date(name):
    assert (RESULTS / name).read_text(encoding="utf-8") == pages(RESULTS)[name], "stale: run make tables"


def read(name):
    with (RESULTS / "paper" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_papers_tables_are_whole():
    sizes = {name: (len(read(name)), len(read(name)[0])) for name in ("table1", "table2", "table3")}
    assert sizes == {"table1": (8, 11), "table2": (8, 6), "table3": (10, 5)}
    numbers = [v for name in sizes for row in read(name) for k, v in row.items() if k not in ("dataset", "method")]
    assert len(numbers) == 72 + 32 + 30
    assert all(re.fullmatch(r"\d+\.\d+", n) for n in numbers)


def test_tables_of_the_paper_agree_where_they_overlap():
    ours = {(r["dataset"]): r for r in read("table3") if r["method"] == "Ours"}
    for row in read("table1"):
        if row["method"] == "FantasyPortrait":
            assert all(row[c] == ours[row["dataset"]][c] for c in ("cross_AED", "cross_APD", "cross_MAE"))


def test_the_page_says_what_is_reported_and_what_is_measured():
    page = pages(RESULTS)["LEADERBOARD.md"]
    assert page.index("## Measured") < page.index("## Reported") < page.index("79.32")
    assert "Reported, protocol unknown" in page
