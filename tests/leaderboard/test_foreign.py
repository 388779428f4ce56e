"""Records of strangers: their numbers follow from their cases, and their texts stay texts in every format."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from exprbench import UserError, frame, table
from exprbench.leaderboard.rendering import csv_cell
from exprbench.leaderboard.results import pages
from tests.leaderboard.test_results import RESULTS
from tests.leaderboard.test_table import A

JITTERY = RESULTS / "records" / "demo-jittery.json"


@pytest.fixture
def changed(tmp_path):
    """`changed(function)` is the path of a stored record after the function has changed its JSON."""

    def change(function):
        content = json.loads(JITTERY.read_text(encoding="utf-8"))
        function(content)
        (tmp_path / "m.json").write_text(json.dumps(content), encoding="utf-8")
        return tmp_path / "m.json"

    return change


def first(content, name="psnr"):
    return content["groups"][0]["aggregates"][name]


def test_stored_records_agree_with_their_cases(changed):
    for path in (RESULTS / "records").glob("*.json"):
        table([path], extras=True)
    assert table([changed(lambda _: None)]) == table([JITTERY])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: first(c).update(value=99.0),
            r"m\.json: psnr of \w+ \w+ is 99\.0, but its cases give \d+\.\d+; score",
        ),
        (lambda c: first(c).update(value=first(c)["value"] * (1 + 1e-6)), "psnr of .* but its cases give"),
        (lambda c: first(c, "lmd").update(num_videos=99), "num_videos of lmd of .* is 99, but its cases give"),
        (lambda c: first(c, "fid").update(num_videos=99), "num_videos of fid of .* is 99, but its cases give"),
        (lambda c: c["groups"][0].update(coverage=1.5), "coverage of .* is 1.5, but its cases give 1.0"),
        (lambda c: c["groups"][0].update(detect_rate=0.1), "detect_rate of .* is 0.1, but its cases give"),
        (lambda c: c["groups"][0].update(num_scored=99), "num_scored of .* is 99, but its cases give"),
        (
            lambda c: c["groups"][0].update(errors={"timeout": 1}),
            r"the number of errors of .* is \{'timeout': 1\}, but",
        ),
        (lambda c: c["groups"].pop(), "its groups are not those of its cases"),
        (lambda c: c["groups"].append(c["groups"][0]), "its groups are not those of its cases"),
        (lambda c: c["cases"].clear(), "its groups are not those of its cases"),
    ],
)
def test_numbers_that_do_not_follow_from_the_cases_are_refused(changed, change, message):
    path = changed(change)
    for read in (table, frame):
        with pytest.raises(UserError, match=message) as error:
            read([path])
        assert "\n" not in str(error.value)


BREAKS = ["\n", "\r", "\r\n", "\u2028", "\x85", "\x0b", "\x0c"]
ACTIVE = [r"\input{/etc/passwd}", "<script>alert(1)</script>", "# heading", "| cell |", "](http://a.b)"]


@pytest.mark.parametrize("line_break", BREAKS)
def test_texts_of_a_record_stay_on_their_line(line_break):
    text = line_break.join(["a", *ACTIVE])
    evil = replace(A, device=text, benchmark=replace(A.benchmark, name=text), protocol={"fps": text})
    groups = [replace(group, unscored={"fid": text}) for group in evil.groups]
    records = [replace(evil, groups=groups), replace(A, device="cpu", method="B", benchmark=evil.benchmark)]
    for kind in ("md", "latex", "html", "csv"):
        shown = table(records, format=kind, mix=True)
        if kind == "latex":
            assert all(line.startswith("%") for line in re.split("[\n\r]", shown) if "input" in line)
        if kind in ("md", "html"):
            assert "<script>" not in shown
        if kind == "md":
            assert not any(re.match(r"\s*(#|\| cell)", line) for line in re.split("[\n\r]", shown))


@pytest.mark.parametrize("name", ['=HYPERLINK("http://a.b")', "+1+1", "-2+3", "@SUM(A1)", " =1", "\uff1d1"])
def test_a_name_is_no_formula(name):
    (row, *_) = csv.DictReader(io.StringIO(table([replace(A, method=name)], format="csv")))
    assert row["method"] == f"'{name}"
    assert csv_cell("a=1") == "a=1"


def test_the_name_of_a_benchmark_is_no_text_of_the_pages(tmp_path, changed):
    evil = changed(lambda c: c["benchmark"].update(name="=1+1\n\\input{x}\r<script>"))
    (tmp_path / "paper").mkdir()
    (tmp_path / "records").mkdir()
    evil.rename(tmp_path / "records" / "evil.json")
    for path in (RESULTS / "paper").glob("*.csv"):
        (tmp_path / "paper" / path.name).write_bytes(path.read_bytes())
    made = pages(tmp_path)
    assert "<script>" not in made["LEADERBOARD.md"]
    assert [line for line in re.split("[\n\r]", made["leaderboard.tex"]) if "input" in line and line[0] != "%"] == []
    benchmarks = {row["benchmark"] for row in csv.DictReader(io.StringIO(made["leaderboard.csv"]))}
    assert benchmarks == {"'=1+1 \\input{x} <script>, profile mediapipe"}
