"""Arguments that the command line passes on; the verbs themselves are tested as functions."""

from pathlib import Path

import pytest

from exprbench.core.cli_base import TOO_MANY_FAILED
from fantasyportrait import sampling
from fantasyportrait.checkpoints import convert as convert_module
from fantasyportrait.checkpoints import info as info_module
from fantasyportrait.cli import main
from fantasyportrait.sampling import BenchmarkRun

MODEL = ["sample", "--model", "m", "--out", "o.mp4"]
ONE = [*MODEL, "--portrait", "p.png", "--driver", "d.mp4"]
BENCH = [*MODEL, "--benchmark", "b"]


@pytest.fixture
def called(monkeypatch):
    """`called("sample", ...)`: the arguments the verb's function is called with, and the status."""
    calls = []

    def record(answer):
        return lambda *args, **options: calls.append({**options, **({"args": args} if args else {})}) or answer

    monkeypatch.setattr(sampling, "sample", record(Path("o.mp4")))
    run = BenchmarkRun(generated=("a", "b"), skipped=("c",), failed={"d": "x", "e": "y"})
    monkeypatch.setattr(sampling, "sample_benchmark", record(run))
    monkeypatch.setattr(convert_module, "convert", record(["wrote this", "and that"]))
    monkeypatch.setattr(info_module, "info", record({"is": "a video"}))

    def call(*words):
        status = main(list(words))
        return calls.pop(), status

    return call


def test_plain_words_leave_everything_to_its_defaults(called, capsys):
    given, status = called(*ONE)
    assert given == {
        "model": Path("m"), "out": Path("o.mp4"), "portrait": Path("p.png"), "drivers": [Path("d.mp4")],
        "assign": None, "preset": "paper", "loras": [], "face_models": None, "mark": False, "overwrite": False,
        "runtime": {}, "audio": False, "preview": None, "masks": [],
    }  # fmt: skip
    assert (status, capsys.readouterr().out) == (0, "o.mp4\n")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--driver", "e.mp4"], "drivers", [Path("d.mp4"), Path("e.mp4")]),
        (["--assign", "-,0.0"], "assign", "-,0.0"),
        (["--assign=0.0,-"], "assign", "0.0,-"),
        (["--audio"], "audio", True),
        (["--masks", "a.png", "--masks", "b"], "masks", [Path("a.png"), Path("b")]),
        (["--mark"], "mark", True),
        (["--preview", "x"], "preview", Path("x")),
        (["--overwrite"], "overwrite", True),
        (["--lora", "a:0.5", "--lora", "b"], "loras", ["a:0.5", "b"]),
        (["--face-detector", "d.onnx", "--face-landmarks", "l.onnx"], "face_models", (Path("d.onnx"), Path("l.onnx"))),
        (["--preset", "released"], "preset", "released"),
        (["--steps", "4"], "steps", 4),
        (["--mask-motion", "per-frame"], "mask_motion", "per-frame"),
        (["--vram", "24", "--guidance-parallel", "2"], "runtime", {"vram": 24.0, "guidance_parallel": 2}),
    ],
)
def test_words_about_a_video(called, words, name, value):
    assert called(*ONE, *words)[0][name] == value


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ([], "benchmark", Path("b")),
        (["--split", "multi"], "split", "multi"),
        (["--track", "self"], "track", "self"),
        (["--shard", "2/8"], "shard", (2, 8)),
        (["--mark"], "mark", True),
        (["--overwrite"], "overwrite", True),
        (["--lora", "a"], "loras", ["a"]),
        (["--preset", "released"], "preset", "released"),
        (["--seed", "3"], "seed", 3),
    ],
)
def test_words_about_a_benchmark(called, words, name, value):
    assert called(*BENCH, *words)[0][name] == value


@pytest.mark.parametrize(("allowed", "status"), [([], TOO_MANY_FAILED), (["1"], TOO_MANY_FAILED), (["2"], 0)])
def test_more_failures_than_allowed_are_a_status(called, capsys, allowed, status):
    assert called(*BENCH, *(["--max-failed", *allowed] if allowed else []))[1] == status
    assert capsys.readouterr().out == "o.mp4: 2 generated, 1 skipped, 2 failed\n"


@pytest.mark.parametrize(
    "words",
    [
        MODEL,
        [*MODEL, "--portrait", "p.png"],
        [*MODEL, "--driver", "d.mp4"],
        [*ONE, "--face-detector", "d.onnx"],
        [*ONE, "--face-landmarks", "l.onnx"],
        [*BENCH, "--portrait", "p.png"],
        [*BENCH, "--driver", "d.mp4"],
        [*BENCH, "--assign", "0.0"],
        [*BENCH, "--audio"],
        [*BENCH, "--preview", "x"],
    ],
)
def test_words_that_lack_something_or_do_not_go_together_are_refused(called, capsys, words):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_one_of_several_processes_prints(called, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    called(*ONE)
    assert capsys.readouterr().out == ""


def test_convert_hands_on_what_it_was_given(called, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    Path("a").touch()
    Path("e").touch()
    given, _ = called("convert", "--base", "b", "--adapter", "a", "--expression", "e", "--out", "o")
    assert given == {
        "base": Path("b"), "adapter": Path("a"), "expression": Path("e"), "out": Path("o"), "model": None, "to": None,
        "random": None, "untrained": False, "seed": 0, "augment": "selective", "dtype": "fp32",
    }  # fmt: skip
    assert capsys.readouterr().out == "wrote this\nand that\n"
    given, _ = called("convert", "--random", "tiny", "--seed", "3", "--augment", "all", "--dtype", "bf16", "--out", "o")
    assert (given["random"], given["seed"], given["augment"], given["dtype"]) == ("tiny", 3, "all", "bf16")


def test_info_prints_json(called, capsys, tmp_path):
    (tmp_path / "x").touch()
    given, _ = called("info", str(tmp_path / "x"))
    assert given == {"args": (tmp_path / "x",)}
    assert capsys.readouterr().out == '{\n  "is": "a video"\n}\n'
