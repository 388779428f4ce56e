import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from exprbench import UserError, table
from exprbench.leaderboard import make_table
from exprbench.leaderboard.rendering import one_line
from exprbench.metrics import metric_ids
from exprbench.records import Aggregate, Group, ScoredBenchmark, ScoreRecord, load_record

IDS = metric_ids("mediapipe")


def group(split="single", track="self", *, detect_rate=1.0, coverage=1.0, unscored=None, **values):
    return Group(
        split=split,
        track=track,
        num_cases=3,
        num_scored=3,
        num_resized=0,
        coverage=coverage,
        detect_rate=detect_rate,
        errors={},
        aggregates={k: Aggregate(value=v, num_videos=3, low=v * 0.9, high=v * 1.1) for k, v in values.items()},
        unscored=unscored or {},
    )


def record(method, *groups, **changes):
    made = ScoreRecord(
        schema=1,
        method=method,
        benchmark=ScoredBenchmark(name="bench", sha256="ab" * 32, num_cases=3),
        profile="mediapipe",
        protocol={"fps": "25"},
        ids=IDS,
        weights={},
        versions={},
        device="cpu",
        groups=list(groups),
        cases=[],
    )
    return replace(made, **changes)


A = record("Alpha", group(psnr=30.0, lmd=0.00508, mae=6.97), group(track="cross", aed=0.3345, apd=0.02308, mae=14.55))
B = record("Beta", group(psnr=31.0, lmd=0.00421, mae=7.59), group(track="cross", aed=0.3691, apd=0.02427, mae=16.41))


def rows(text):
    return {row["method"]: row for row in csv.DictReader(io.StringIO(text))}


def test_the_layout_is_the_papers():
    head = table([A, B], format="csv").splitlines()[0].split(",")
    assert head[:8] == ["dataset", "method", "self_FID", "self_FVD", "self_PSNR", "self_SSIM", "self_LMD", "self_MAE"]
    assert head[8:] == ["cross_AED", "cross_APD", "cross_MAE"]


def test_numbers_are_scaled_and_printed_as_in_the_paper():
    printed = rows(table([A, B], format="csv"))["Alpha"]
    assert (printed["self_LMD"], printed["cross_AED"], printed["cross_APD"]) == ("5.08", "33.45", "23.08")
    assert (printed["self_MAE"], printed["cross_MAE"], printed["self_FID"]) == ("6.97", "14.55", "")


def best(records, **options):
    return {
        (row.method, key) for row in make_table(records, **options).rows for key, cell in row.cells.items() if cell.best
    }


def test_the_best_of_every_column_is_bold_whichever_way_is_better():
    assert best([A, B]) == {
        ("Beta", "self_PSNR"),
        ("Beta", "self_LMD"),
        ("Alpha", "self_MAE"),
        ("Alpha", "cross_AED"),
        ("Alpha", "cross_APD"),
        ("Alpha", "cross_MAE"),
    }
    assert "**31.00**" in table([A, B])
    assert r"\textbf{31.00}" in table([A, B], format="latex")


def test_what_is_printed_alike_is_equally_good_and_a_lone_method_has_no_best():
    twin = record("Twin", group(psnr=31.001))
    assert best([B, twin]) == {("Beta", "self_PSNR"), ("Twin", "self_PSNR")}
    assert best([A]) == set()


def test_datasets_have_their_own_best():
    multi = record("Gamma", group("multi", psnr=40.0))
    assert ("Gamma", "self_PSNR") not in best([A, B, multi])
    assert [r.dataset for r in make_table([multi, A, B]).rows] == ["Single", "Single", "Multi"]


def test_faces_that_are_not_found_cannot_win():
    blind = record("Blind", group(psnr=50.0, lmd=0.001, detect_rate=0.5))
    made = make_table([A, B, blind])
    cells = {row.method: row.cells for row in made.rows}
    assert cells["Blind"]["self_LMD"].notes == "d"
    assert not cells["Blind"]["self_LMD"].best
    assert cells["Beta"]["self_LMD"].best
    assert cells["Blind"]["self_PSNR"].best
    assert "1.00\u2020" in table([A, blind])
    assert "fewer than 95%" in table([A, blind])


def test_missing_frames_are_marked():
    partial = record("Partial", group(psnr=20.0, coverage=0.9))
    assert "20.00\u2021" in table([A, partial])
    assert "\u2021" not in table([A, B])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(B, ids={**IDS, "lmd": "lmd[other]"}), r"lmd\[mp478,unit\], one has lmd\[other\]"),
        (replace(B, protocol={"fps": "30"}), "fps is '25' in one and '30' in the other"),
        (replace(B, benchmark=replace(B.benchmark, sha256="cd" * 32)), "one is of benchmark bench"),
    ],
)
def test_rows_of_another_protocol_are_refused_unless_asked_for(other, message):
    with pytest.raises(UserError, match=message):
        table([A, other])
    mixed = table([A, other], mix=True)
    assert "\u00a7" in mixed
    assert ("Beta", "self_PSNR") not in best([A, other], mix=True)


def test_why_a_number_is_missing_is_said():
    blank = record("Blank", group(psnr=1.0, unscored={"fid": "weights_missing: put x into y"}))
    assert "No fid: weights_missing: put x into y (Blank, single self)" in table([blank])
    told = json.loads(table([blank], format="json"))
    assert told["rows"][0]["cells"]["self_FID"]["why"] == "weights_missing: put x into y"


def test_json_holds_what_was_measured():
    told = json.loads(table([A, B], format="json"))
    assert told["rows"][0]["cells"]["self_LMD"]["value"] == 0.00508
    assert told["rows"][0]["cells"]["self_LMD"]["low"] == pytest.approx(0.00508 * 0.9)
    assert {c["key"]: c["table_scale"] for c in told["columns"]}["self_LMD"] == 1000


def test_extras_are_columns_on_request():
    more = record("More", group(psnr=1.0, psnr_pooled=0.9, lmd_px=3.25))
    assert "lmd_px" not in table([more])
    assert rows(table([more], format="csv", extras=True))["More"]["self_lmd_px"] == "3.25"


NASTY = "<script>alert(1)</script> | **x** \\n $%&_#{}~^\\ \u202e\n% y"


def test_names_from_elsewhere_are_escaped():
    made = [record(NASTY, group(psnr=1.0)), A]
    page = table(made, format="html")
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    markdown = table(made)
    assert "<script>" not in markdown
    assert len({line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}) == 1
    latex = table(made, format="latex")
    assert r"\textbackslash{}n \$\%\&\_\#\{\}" in latex
    assert all(line.startswith("%") or "% y" not in line.replace(r"\%", "") for line in latex.splitlines())
    assert rows(table(made, format="csv"))[one_line(NASTY)]["self_PSNR"] == "1.00"


def test_a_page_says_the_interval_on_hover():
    assert 'title="95 % interval 27 to 33, unscaled; 3 videos"' in table([A, B], format="html")


def test_records_are_read_from_files():
    path = Path(__file__).parents[2] / "results" / "records" / "demo-jittery.json"
    assert table([path]) == table([load_record(path)])


def test_mistakes_are_told():
    with pytest.raises(UserError, match="did you mean 'latex'"):
        table([A], format="latx")
    with pytest.raises(UserError, match="at least one record"):
        table([])
