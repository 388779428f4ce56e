"""`test`: two runs of one pair, repeatable or not, compared with what was stored."""

import pytest

from baselines.catalog import describe
from baselines.cli import main
from baselines.runner import RunSettings
from baselines.spec import find_method
from baselines.trial import compare, load_trial, try_method
from exprbench.core.errors import UserError
from tests.baselines.toy import write_toy

STORED = "[reference_results]\npair = { psnr = 20.0, lmd = 0.5 }\n"


@pytest.fixture
def toy(tmp_path, no_models, monkeypatch):
    """The toy method; the drawn pair is small, so that it is quickly drawn and scored."""
    monkeypatch.setattr("baselines.embedded_pair.SIZE", (128, 128))
    monkeypatch.setattr("baselines.embedded_pair.NUM_FRAMES", 25)
    return write_toy(tmp_path / "methods" / "toy")


def run(folder, tmp_path, habit="good"):
    settings = RunSettings(gpus=("",), minutes=1, options={"habit": habit})
    return try_method(find_method(str(folder)), out=tmp_path / "trial", settings=settings)


def test_a_method_that_copies_the_driver_works(toy, tmp_path):
    trial = run(toy, tmp_path)
    assert (trial.status, trial.reason, trial.largest_difference) == ("working", "", 0)
    assert trial.scores["psnr"] > 30  # copied, decoded and encoded again
    method = find_method(str(toy))
    assert load_trial(method) == trial
    assert describe(method)["status"] == {"this machine": "working"}
    (toy / "toy.py").write_text((toy / "toy.py").read_text() + "\n# changed\n")
    assert load_trial(find_method(str(toy))) is None  # it is not of this specification


@pytest.mark.slow
def test_a_second_trial_gives_the_same_numbers(toy, tmp_path):
    run(toy, tmp_path)
    assert run(toy, tmp_path).differences == {}


@pytest.mark.slow
def test_numbers_that_differ_from_the_stored_ones_are_named(toy, tmp_path):
    (toy / "method.toml").write_text((toy / "method.toml").read_text() + STORED)
    trial = run(toy, tmp_path)
    assert trial.status == "working, numbers differ"
    assert trial.differences == {"psnr": (trial.scores["psnr"], 20.0)}
    assert trial.reason.endswith("stored is 20")


@pytest.mark.slow
def test_a_method_that_draws_noise_is_not_repeatable(toy, tmp_path):
    trial = run(toy, tmp_path, "noise")
    assert trial.status == "working"
    assert trial.largest_difference > 0
    assert trial.reason == f"two runs with one seed differ by up to {trial.largest_difference} of 255"


@pytest.mark.slow
def test_a_method_that_fails_is_not_working(toy, tmp_path, capsys):
    assert main(["test", str(toy), "--gpus", "none", "--set", "habit=no output"]) == 3
    assert capsys.readouterr().out.startswith("toy: not working: no_output: no file matches *.mp4")
    assert load_trial(find_method(str(toy))).scores == {}


def test_values_within_two_percent_are_equal():
    assert compare({"psnr": 30.0, "lmd": 1.0}, {"psnr": 30.5, "lmd": 1.1, "fid": 3.0}) == {"lmd": (1.0, 1.1)}


def test_source_and_driver_belong_together(toy, tmp_path, capsys):
    assert main(["test", str(toy), "--source", "a.png"]) == 2
    assert "--source and --driver belong together" in capsys.readouterr().err
    pair = (tmp_path / "no.png", tmp_path / "no.mp4")
    for path in pair:
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no case can be made of these inputs"):
        try_method(find_method(str(toy)), out=tmp_path / "trial", settings=RunSettings(gpus=("",)), pair=pair)
