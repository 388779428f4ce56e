import csv
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from exprbench import UserError, table
from exprbench.leaderboard import make_table
from exprbench.leaderboard.latex import escape
from exprbench.leaderboard.rendering import one_line
from exprbench.metrics import metric_ids
from exprbench.records import SCHEMA, Aggregate, Group, ScoredBenchmark, ScoreRecord, load_record

IDS = metric_ids("mediapipe")
WEIGHTS = {"inception": "a" * 64}
VERSIONS = {"exprbench": "0.1.0", "mediapipe": "0.10.21", "numpy": "2.0"}
COUNTS = ("num_resized", "num_other_aspect", "num_extra_faces")


def group(split="single", track="self", *, detect_rate=1.0, coverage=1.0, unscored=None, counts=None, **values):
    return Group(
        split=split,
        track=track,
        **{**dict.fromkeys(COUNTS, 0), "num_cases": 3, "num_cases_benchmark": 3, "num_scored": 3, **(counts or {})},
        coverage=coverage,
        detect_rate=detect_rate,
        errors={},
        aggregates={k: Aggregate(value=v, num_videos=3, low=v * 0.9, high=v * 1.1) for k, v in values.items()},
        unscored=unscored or {},
    )


def record(method, *groups, **changes):
    made = ScoreRecord(
        schema=SCHEMA,
        method=method,
        benchmark=ScoredBenchmark(name="bench", sha256="ab" * 32, num_cases=3),
        profile="mediapipe",
        protocol={"fps": "25"},
        ids=IDS,
        weights=WEIGHTS,
        versions=VERSIONS,
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
    assert head[8:] == ["cross_AED", "cross_APD", "cross_MAE", "notes", "status"]


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


@pytest.mark.parametrize(
    ("changes", "symbol", "latex"),
    [
        ({"coverage": 0.9999}, "\u2021", r"\ddagger"),
        ({"counts": {"num_cases_benchmark": 6}}, "\u00b6", r"\P"),
        ({"counts": {"num_other_aspect": 1}}, "\u2016", r"\|"),
        ({"counts": {"num_extra_faces": 1}}, "\u25c7", r"\diamond"),
        ({"counts": {"num_videos": 2}}, "\u2021", r"\ddagger"),
    ],
)
def test_a_number_of_less_than_the_whole_reference_is_marked_in_every_format_and_never_wins(changes, symbol, latex):
    counts = dict(changes.get("counts", {}))
    num_videos = counts.pop("num_videos", 3)
    made = group(psnr=50.0, **{**changes, "counts": counts})
    made.aggregates["psnr"] = replace(made.aggregates["psnr"], num_videos=num_videos)
    records = [A, B, record("Partial", made)]
    (note,) = make_table(records).notes.values()
    assert best(records) == best([A, B])
    assert f"| 50.00{symbol} |" in re.sub(" +", " ", table(records))
    assert f"{symbol} {note}." in table(records)
    assert f"50.00$^{{{latex}}}$" in table(records, format="latex")
    assert f"${latex}$: {escape(note)}." in table(records, format="latex")
    assert f">50.00{symbol}</td>" in table(records, format="html")
    assert f"{symbol} {html.escape(note)}." in table(records, format="html")
    assert rows(table(records, format="csv"))["Partial"]["notes"] == f"self_PSNR: {note}"
    content = json.loads(table(records, format="json"))
    assert content["notes"][content["rows"][2]["cells"]["self_PSNR"]["notes"]] == note
    assert not content["rows"][2]["cells"]["self_PSNR"]["best"]
    assert symbol not in table([A, B])


def test_a_few_extra_faces_among_many_videos_are_not_marked():
    counts = {"num_cases": 40, "num_cases_benchmark": 40, "num_scored": 40}
    assert make_table([record("M", group(psnr=1.0, counts={**counts, "num_extra_faces": 2}))]).notes == {}
    assert set(make_table([record("M", group(psnr=1.0, counts={**counts, "num_extra_faces": 3}))]).notes) == {"e"}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(B, ids={**IDS, "lmd": "lmd[other]"}), r"lmd\[mp478,unit,center\], one has lmd\[other\]"),
        (replace(B, protocol={"fps": "30"}), "fps is '25' in one and '30' in the other"),
        (replace(B, benchmark=replace(B.benchmark, sha256="cd" * 32)), "one is of benchmark bench"),
        (
            replace(B, weights={**WEIGHTS, "inception": "b" * 64}),
            "inception are aaaaaaaaaaaa in one and bbbb",
        ),
        (replace(B, versions={**VERSIONS, "exprbench": "0.2.0"}), "scored with exprbench 0.1, one with 0.2"),
        (replace(B, versions={**VERSIONS, "exprbench": "1.1.0"}), "scored with exprbench 0.1, one with 1.1"),
        (replace(B, versions={**VERSIONS, "mediapipe": "0.10.22"}), "mediapipe is 0.10.21 in one and 0.10.22 in the"),
        (replace(B, versions={**VERSIONS, "ultralytics": "8.3"}), "ultralytics is None in one and 8.3 in the other"),
    ],
)
def test_rows_of_another_protocol_are_refused_unless_asked_for(other, message):
    with pytest.raises(UserError, match=message):
        table([A, other])
    mixed = table([A, other], mix=True)
    assert "\u00a7" in mixed
    assert ("Beta", "self_PSNR") not in best([A, other], mix=True)


@pytest.mark.parametrize(
    "other",
    [
        replace(B, versions={**VERSIONS, "exprbench": "0.1.7"}),
        replace(B, versions={**VERSIONS, "numpy": "3.0"}),
        replace(B, weights={}),
        replace(B, weights={"i3d": "c" * 64}),
    ],
)
def test_what_cannot_change_a_number_is_not_a_difference(other):
    assert "\u00a7" not in table([A, other], mix=True)
    assert table([A, other]) == table([A, other], mix=True)


def test_versions_of_face_models_do_not_matter_if_no_face_model_ran():
    given = [replace(r, protocol={"fps": "25", "faces": "given"}) for r in (A, B)]
    other = replace(given[1], versions={**VERSIONS, "mediapipe": "0.10.22"})
    assert table([given[0], other]) == table(given)


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


@pytest.mark.parametrize(
    ("detect_rate", "coverage", "notes"),
    [(0.95, 1.0, ""), (0.9499, 1.0, "d"), (None, 1.0, ""), (1.0, 0.9999, "c"), (0.9, 0.9, "dc")],
)
def test_notes_start_at_their_thresholds(detect_rate, coverage, notes):
    some = record("Some", group(lmd=0.005, psnr=30.0, detect_rate=detect_rate, coverage=coverage))
    (row,) = make_table([some]).rows
    assert row.cells["self_LMD"].notes == notes
    assert row.cells["self_PSNR"].notes == notes.replace("d", "")


EVERY_FACE = (
    group(lmd=0.005, mae=7.0, lmd_px=1.0, psnr=30.0, psnr_pooled=29.0),
    group(track="cross", aed=0.3, apd=0.02),
)
UNSEEN = tuple(replace(g, detect_rate=0.9) for g in EVERY_FACE)


def test_only_numbers_that_depend_on_faces_are_marked():
    (row,) = make_table([record("Some", *UNSEEN)], extras=True).rows
    marked = {key for key, cell in row.cells.items() if cell.notes}
    assert marked == {"self_LMD", "self_MAE", "self_lmd_px", "cross_AED", "cross_APD"}


def test_only_the_records_unlike_the_first_are_marked_when_mixed():
    other = replace(B, protocol={"fps": "30"})
    made = make_table([A, other, replace(A, method="Gamma")], mix=True)
    assert {row.method: row.cells["self_PSNR"].notes for row in made.rows} == {"Alpha": "t", "Beta": "m", "Gamma": "t"}


def test_records_with_different_columns_can_be_compared_but_not_different_protocols():
    fewer = replace(B, ids={"lmd": IDS["lmd"], "aed": IDS["aed"]})
    assert len(make_table([A, fewer]).rows) == 2
    for records in ([A, replace(B, protocol={})], [replace(A, protocol={}), B]):
        with pytest.raises(UserError, match="fps is"):
            make_table(records)


def test_a_record_of_one_track_only_has_its_row():
    for track, key in (("self", "self_PSNR"), ("cross", "cross_MAE")):
        (row,) = make_table([record("One", group(track=track, psnr=30.0, mae=7.0))]).rows
        assert row.cells[key].text


def test_the_text_below_a_table_names_benchmark_protocol_and_devices():
    gpu = replace(B, device="a GPU", ids={**IDS, "mae": "mae[other]"})
    about = "\n".join(make_table([A, gpu], mix=True).about)
    assert f"Benchmark bench, 3 cases, sha256 {'ab' * 8}." in about
    assert "mae[mp-iris]" in about
    assert "mae[other]" in about
    assert "Protocol: fps 25." in about
    assert "Scored on different devices" in about
    assert "a GPU, cpu" in about
    assert "different devices" not in "\n".join(make_table([A, B]).about)


def test_missing_values_are_explained_for_the_tracks_that_show_the_column():
    why = {"fid": "weights_missing"}
    gaps = [group(unscored=why), group(track="cross", unscored=why), group("multi", unscored=why)]
    about = make_table([record("Some", *gaps)]).about
    assert [line for line in about if line.startswith("No ")] == [
        "No fid: weights_missing (Some, single self; Some, multi self)."
    ]
