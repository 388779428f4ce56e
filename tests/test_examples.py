"""Every example runs as its docstring says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *words, cwd):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tried_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "curate_a_folder.py",
        "metric_in_a_training_loop.py",
        "score_from_python.py",
    }


@pytest.mark.slow
def test_a_metric_in_a_training_loop(tmp_path):
    lines = run("metric_in_a_training_loop.py", cwd=tmp_path).splitlines()
    values = [float(line.split("PSNR ")[1].split()[0]) for line in lines]
    assert len(values) == 4
    assert values == sorted(values)


@pytest.mark.slow
def test_scoring_from_python(tmp_path):
    import exprbench

    exprbench.demo(tmp_path / "runs" / "demo")
    shown = run("score_from_python.py", cwd=tmp_path)
    assert shown.startswith("LMD ")
    assert "case_id" in shown
    assert "| Single  | mine" in shown
    assert (tmp_path / "runs" / "mine.json").is_file()


@pytest.mark.slow
def test_curating_a_folder(tmp_path, shared, needs_weights):
    needs_weights("face_landmarker")
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("multi/two_person.mp4", "driving/d13.mp4"):
        shutil.copy(shared(name), folder)
    shown = run("curate_a_folder.py", folder, tmp_path / "out", "d13.mp4", cwd=tmp_path)
    assert "1 of 2 clips kept" in shown
    assert "dropped, few_people: 1" in shown
    assert "few_people" in shown.split("dropped, few_people: 1")[1]
