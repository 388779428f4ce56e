"""The command `exprbench study`: what it prints, and mistakes in one line."""

import json

import pytest

from exprbench.cli import main
from exprbench.study.study_key import load_key
from tests.study.conftest import METHODS, answers_of


def test_a_study_is_built_and_aggregated(bench, predictions, tmp_path, capsys):
    methods = [word for method in METHODS[:2] for word in ("--predictions", f"{method}={predictions[method]}")]
    options = ["--raters", "2", "--per-rater", "4", "--out", str(tmp_path / "s"), "--workers", "0"]
    assert main(["study", "build", str(bench.root), *methods, *options]) == 0
    assert f"you keep     {tmp_path / 's.key.json'}" in capsys.readouterr().out
    key = load_key(tmp_path / "s.key.json")
    for seed, rater in enumerate(key.raters):
        (tmp_path / f"{rater}.json").write_text(json.dumps(answers_of(key, rater, seed)))
    files = [str(tmp_path / f"{rater}.json") for rater in key.raters]
    command = ["study", "aggregate", *files, "--key", str(tmp_path / "s.key.json"), "--no-models", "--format", "csv"]
    assert main([*command, "--min-variance", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "dataset,method,question,mean,low,high,num_raters,num_answers,win_rate"
    assert {line.split(",")[1] for line in lines[1:]} == set(METHODS[:2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--predictions", "mine"], "'mine'; expected METHOD=DIR, like mine=out/mine"),
        (["-p", "a=/x", "-p", "a=/y"], "--predictions names a method twice"),
        (["-p", "a=/nowhere"], "method 'a': /nowhere is not a folder"),
        (["-p", "a=/", "--raters", "0"], "--raters is 0; expected 1 or more"),
    ],
)
def test_mistakes_are_one_line(bench, tmp_path, capsys, words, message):
    try:
        status = main(["study", "build", str(bench.root), *words, "--out", str(tmp_path / "s")])
    except SystemExit as exit:
        status = exit.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
