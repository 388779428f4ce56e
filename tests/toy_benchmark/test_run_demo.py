"""The demo, whole: known errors come back as the known numbers."""

import os
import subprocess
import sys

import pytest

from exprbench import UserError, load_record
from exprbench.toy_benchmark.run_demo import demo

NAMES = ["perfect", "gaze-off-by-5-degrees", "two-frames-late", "jittery", "people-swapped", "still-image"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """From the command line, without model files, and with no network to be had."""
    root = tmp_path_factory.mktemp("demo")
    env = {
        **os.environ,
        "EXPRBENCH_WEIGHTS": "",
        "EXPRBENCH_CACHE": str(root / "cache"),
        "http_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "exprbench.cli", "demo", "--out", str(root / "demo")]
    run = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert run.returncode == 0, run.stderr
    return root / "demo", run.stdout


@pytest.fixture(scope="module")
def values(ran):
    """(method, split, track) -> column -> value."""
    records = {name: load_record(ran[0] / "records" / f"{name}.json") for name in NAMES}
    return {
        (name, g.split, g.track): {column: a.value for column, a in g.aggregates.items()}
        for name, record in records.items()
        for g in record.groups
    }


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("split", ["single", "multi"])
def test_a_perfect_method_scores_perfectly(values, split):
    own, cross = values["perfect", split, "self"], values["perfect", split, "cross"]
    assert (own["psnr"], own["ssim"]) == (100, 1)
    assert [own[name] for name in ("lmd", "mae", "aed", "apd")] == [0, 0, 0, 0]
    assert max(own["fid"], own["fvd"]) < 1e-9
    assert max(cross["aed"], cross["apd"]) == 0
    assert cross["mae"] < 1e-3


@pytest.mark.parametrize("split", ["single", "multi"])
@pytest.mark.parametrize("track", ["self", "cross"])
def test_a_gaze_turned_by_five_degrees_scores_five_degrees(values, split, track):
    found = values["gaze-off-by-5-degrees", split, track]
    assert found["mae"] == pytest.approx(5, abs=1e-3)
    assert (found["aed"], found["apd"]) == (0, 0)


@pytest.mark.parametrize("split", ["single", "multi"])
def test_worse_methods_score_worse(values, split):
    def of(method, name, track="self"):
        return values[method, split, track][name]

    for name in ("fid", "fvd", "lmd", "apd"):
        assert of("perfect", name) < of("two-frames-late", name) < of("still-image", name)
    for name in ("psnr", "ssim"):
        assert of("perfect", name) > of("two-frames-late", name) > of("still-image", name)
    assert of("perfect", "aed", "cross") < of("jittery", "aed", "cross") < of("still-image", "aed", "cross")


def test_people_swapped_show_only_where_there_are_several(values):
    assert values["people-swapped", "single", "self"] == values["perfect", "single", "self"]
    swapped = values["people-swapped", "multi", "cross"]
    assert swapped["aed"] > values["jittery", "multi", "cross"]["aed"]
    assert swapped["mae"] > 5


def test_the_table_is_printed_and_says_where_things_lie(ran):
    root, printed = ran
    assert "| Single" in printed
    assert "demo-net64" in printed
    for line in (f"benchmark    {root / 'bench'}", f"record       {root / 'records' / 'jittery.json'}"):
        assert line in printed


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="something other than a demo"):
        demo(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
