"""The command `exprbench`: arguments of its functions, output and exit status."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import exprbench
from exprbench import cli
from exprbench.benchmark import Benchmark, Case, LeftOut
from exprbench.records import CaseScore
from tests.test_records import record


def bench():
    rows = [("single", "self", 2), ("single", "cross", 3), ("multi", "self", 1)]
    cases = [
        Case(
            case_id=f"{split}-{track}-{i:04d}",
            split=split,
            track=track,
            source=f"portraits/{i}.png",
            drivers=("driving/a.mp4", "driving/b.mp4"),
            face_map=((0, 0), None, (1, 0)),
        )
        for split, track, count in rows
        for i in range(1, count + 1)
    ]
    left_out = (LeftOut(path="x.mp4", reason="no_face", detail="why"),)
    facts = {"root": Path("bench"), "name": "b", "fps": 25.0, "clip_seconds": 5.0, "seed": 0, "assets": {}}
    return Benchmark(**facts, cases=tuple(cases), left_out=left_out)


@pytest.fixture
def asked(monkeypatch):
    """`asked(name, answer)` replaces a function of the package and returns the list of its calls."""

    def put(name, answer=None):
        calls = []

        def function(*args, **options):
            calls.append((args, options))
            return answer

        monkeypatch.setattr(exprbench, name, function, raising=False)
        return calls

    return put


BUILD = {
    "portraits": Path("p"),
    "driving": Path("d"),
    "multi_portraits": None,
    "multi_driving": None,
    "out": Path("o"),
    "clip_seconds": 5.0,
    "fps": 25.0,
    "cross_per_portrait": 1,
    "seed": 0,
    "name": "exprbench",
    "workers": None,
}
SCORE = {
    "benchmark": Path("b"),
    "predictions": Path("p"),
    "method": "m",
    "out": None,
    "profile": "mediapipe",
    "metrics": None,
    "split": None,
    "track": None,
    "missing": "exclude",
    "pairing": "time",
    "looks": 1,
    "floors": True,
    "names": None,
    "device": "auto",
    "shard": (1, 1),
    "workers": None,
}


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("", {}),
        ("--multi-portraits mp --multi-driving md", {"multi_portraits": Path("mp"), "multi_driving": Path("md")}),
        (
            "--clip-seconds 1.5 --fps 30 --cross-per-portrait 3",
            {"clip_seconds": 1.5, "fps": 30, "cross_per_portrait": 3},
        ),
        ("--cross-per-portrait 3 --seed 7 --name mine", {"cross_per_portrait": 3, "seed": 7, "name": "mine"}),
    ],
)
def test_build_gets_the_given_options(asked, words, changed, capsys):
    calls = asked("build", bench())
    assert cli.main(["build", "--portraits", "p", "--driving", "d", "--out", "o", *words.split()]) == 0
    assert calls == [((), {**BUILD, **changed})]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "left out: x.mp4: no_face (why)"
    assert "6 cases (2 single self, 3 single cross, 1 multi self, 0 multi cross)" in lines[1]


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("", {}),
        ("--out r.json --profile paper --device cpu", {"out": Path("r.json"), "profile": "paper", "device": "cpu"}),
        ("--metrics lmd,mae,fid_pytorch", {"metrics": ["lmd", "mae", "fid_pytorch"]}),
        ("--split multi --track self", {"split": "multi", "track": "self"}),
        ("--pairing index", {"pairing": "index"}),
        ("--missing penalty --shard 2/8 --workers 3", {"missing": "penalty", "shard": (2, 8), "workers": 3}),
    ],
)
def test_score_gets_the_given_options(asked, words, changed):
    calls = asked("score", record())
    assert cli.main(["score", "--benchmark", "b", "--predictions", "p", "--method", "m", *words.split()]) == 0
    assert calls == [((), {**SCORE, **changed})]


def test_spaces_in_a_list_of_metrics_are_ignored(asked):
    calls = asked("score", record())
    words = ["score", "--benchmark", "b", "--predictions", "p", "--method", "m", "--metrics", "lmd, mae,"]
    assert cli.main(words) == 0
    assert calls[0][1]["metrics"] == ["lmd", "mae"]


@pytest.mark.parametrize(
    ("num_failed", "words", "status"),
    [(0, "", 0), (1, "", 3), (2, "--max-failed 2", 0), (3, "--max-failed 2", 3)],
)
def test_more_failed_cases_than_allowed_are_an_exit_status(asked, num_failed, words, status, capsys):
    failed = CaseScore(case_id="x", split="single", track="self", outcome="error", code="truncated", detail="half")
    cases = [replace(failed, case_id=f"single-self-{i:04d}") for i in range(5, 5 + num_failed)]
    asked("score", record(cases=[*record().cases, *cases]))
    assert cli.main(["score", "--benchmark", "b", "--predictions", "p", "--method", "m", *words.split()]) == status
    out, err = capsys.readouterr()
    assert out.startswith("m, self reenactment\n")
    assert err.splitlines() == [
        *(f"{c.case_id}: truncated: half" for c in cases),
        f"1 of {1 + num_failed} cases scored",
    ]


@pytest.mark.parametrize(("problems", "status"), [([], 0), (["a.mp4: missing", "b.mp4: missing"], 3)])
def test_check_says_what_is_wrong(asked, problems, status, capsys):
    assert asked("check", problems) == []
    assert cli.main(["check", "bench"]) == status
    assert capsys.readouterr().out.splitlines() == (problems or ["bench: no problems"])


@pytest.mark.parametrize(
    ("words", "count"), [("", 6), ("--split single", 5), ("--track self", 3), ("--split multi --track cross", 0)]
)
def test_cases_are_listed(monkeypatch, words, count, capsys):
    monkeypatch.setattr(Benchmark, "open", staticmethod(lambda _: bench()))
    assert cli.main(["cases", "b", *words.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["case_id", "source", "drivers", "face_map"]
    assert len(lines) == 1 + count
    assert cli.main(["cases", "b", "--format", "json", *words.split()]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["case_id"] for row in rows] == [line.split()[0] for line in lines[1:]]
    assert {row["face_map"] for row in rows} <= {"0.0;-;1.0"}
    assert {row["drivers"] for row in rows} <= {"driving/a.mp4;driving/b.mp4"}


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("", {"format": "md", "mix": False, "extras": False, "common": False}),
        ("--format latex --mix", {"format": "latex", "mix": True, "extras": False, "common": False}),
        (
            "--with paper --intervals --rank",
            {"format": "md", "mix": False, "extras": False, "common": False}
            | {"reported": "paper", "intervals": True, "rank": True},
        ),
        ("--extras --common --format json", {"format": "json", "mix": False, "extras": True, "common": True}),
    ],
)
def test_table_gets_the_given_options(asked, words, options, capsys):
    calls = asked("table", "the table\n")
    assert cli.main(["table", "a.json", "b.json", *words.split()]) == 0
    shown = {"reported": None, "intervals": False, "rank": False, **options}
    assert calls == [(([Path("a.json"), Path("b.json")],), shown)]
    assert capsys.readouterr().out == "the table\n"


def test_fetch_without_names_skips_files_without_a_url(monkeypatch, capsys):
    from exprbench import weights

    fetched = []
    monkeypatch.setattr(weights, "fetch", lambda name: fetched.append(name) or f"cache/{name}")
    assert cli.main(["weights", "fetch"]) == 0
    assert fetched == [name for name, entry in weights.ALL.items() if entry.url]
    assert {"l2cs", "smirk", "arcface"} < set(fetched)
    assert "dlib_identity" not in fetched  # it comes with a package
    assert cli.main(["weights", "fetch", "i3d"]) == 0
    assert fetched[-1] == "i3d"
    assert capsys.readouterr().out.splitlines()[-1] == "i3d: cache/i3d"


@pytest.mark.parametrize(("states", "status"), [(("verified", "missing"), 0), (("present", "differs"), 3)])
def test_weights_that_differ_are_an_exit_status(monkeypatch, states, status):
    from exprbench import weights

    found = dict(zip(("i3d", "smirk"), states, strict=True))
    monkeypatch.setattr(weights, "state", lambda entry: found[entry.name])
    assert cli.main(["weights", "verify", "i3d", "smirk"]) == status


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == exprbench.__version__
