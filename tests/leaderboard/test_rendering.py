"""The output formats of a table."""

import json
from dataclasses import replace

import pytest

from exprbench import table
from exprbench.records import Aggregate
from tests.leaderboard.test_table import UNSEEN, A, B, group, record

MARKED = [record("Some", *(replace(g, coverage=0.5) for g in UNSEEN)), replace(A, protocol={"fps": "30"})]


@pytest.mark.parametrize(
    ("format", "texts"),
    [
        ("md", ["5.00\u2020\u2021", "30.00\u2021", "6.97\u00a7", " \u2013 |"]),
        ("latex", [r"5.00$^{\dagger\ddagger}$", r"30.00$^{\ddagger}$", r"6.97$^{\S}$", " & -- & "]),
        ("html", ["5.00\u2020\u2021</td>", "30.00\u2021</td>", "6.97\u00a7</td>", ">\u2013</td>"]),
    ],
)
def test_every_format_marks_numbers_with_their_notes(format, texts):
    text = table(MARKED, mix=True, format=format)
    assert [t for t in texts if t not in text] == []
    for note in (
        "fewer than 95%",
        "frames or whole videos are missing",
        "than the first row (--mix)",
    ):
        assert note in text.replace(r"\%", "%")


def test_html_and_json_mark_the_best_value():
    assert '<td class="best" title="95 % interval 27.9 to 34.1, unscaled; 3 videos">31.00</td>' in table(
        [A, B], format="html"
    )
    rows = json.loads(table([A, B], format="json"))["rows"]
    assert [row["cells"]["self_PSNR"]["best"] for row in rows] == [False, True]
    assert [row["cells"]["self_MAE"]["best"] for row in rows] == [True, False]


def test_columns_are_described():
    more = record("More", group(psnr=1.0, lmd_px=3.25))
    columns = {c["key"]: c for c in json.loads(table([more], format="json", extras=True))["columns"]}
    assert columns["self_PSNR"] == {
        "key": "self_PSNR",
        "track": "self",
        "metric": "psnr",
        "unit": "dB",
        "kind": "metric",
        "table_scale": 1.0,
        "higher_is_better": True,
    }
    assert (columns["self_lmd_px"]["kind"], columns["self_lmd_px"]["higher_is_better"]) == ("extra", False)


def test_heads_span_their_tracks():
    assert '<th class="group" colspan="6">Self Reenactment</th><th class="group" colspan="3">' in table(
        [A], format="html"
    )
    assert r"\multicolumn{6}{c}{Self Reenactment} & \multicolumn{3}{c}{Cross Reenactment}" in table([A], format="latex")


def test_intervals_can_start_at_zero_or_be_missing():
    zero = replace(group(psnr=1.0), aggregates={"psnr": Aggregate(value=1.0, num_videos=2, low=0.0, high=2.0)})
    alone = replace(group(psnr=1.0), aggregates={"psnr": Aggregate(value=1.0, num_videos=1)})
    assert 'title="95 % interval 0 to 2, unscaled; 2 videos"' in table([record("Zero", zero)], format="html")
    assert 'title="1 videos"' in table([record("Alone", alone)], format="html")


def test_texts_of_records_are_escaped():
    odd = record("A", group(psnr=1.0, unscored={"fid": '<i>\n"why"'}), protocol={"fps": "<b>25\nlines"})
    page = table([odd], format="html")
    assert "<i>" not in page
    assert "<b>" not in page
    assert "&quot;why&quot;" in page
    latex = table([odd], format="latex")
    assert [line for line in latex.splitlines() if line.startswith(("lines", '"why'))] == []
