"""`import` and `verify`: videos that were made elsewhere, and predictions held against their records."""

import json
import shutil

import numpy as np
import pytest

from baselines.cli import main
from baselines.importing import import_videos
from baselines.run_check import run_problems
from baselines.run_record import load_run
from baselines.spec import find_method
from exprbench.core.errors import UserError
from exprbench.media import write_video
from tests.baselines.bench import SIDE, frames_of, textured
from tests.videos import number_of

CASE = "single-self-0001"
OTHER = "single-cross-0001"


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    return tmp_path / "videos"


def write(path, numbers, fps=25, size=(SIDE, SIDE)):
    write_video(path, (textured(n, *size) for n in numbers), fps=fps)


def imported(videos, bench, tmp_path, **options):
    given = {"name": "mine", "workers": 0, **options}
    result = import_videos(videos, benchmark=bench.root, out=tmp_path / "out", **given)
    return result, load_run(tmp_path / "out", CASE)


def numbers(tmp_path):
    return [number_of(frame) for frame in frames_of(tmp_path / "out" / f"{CASE}.mp4")]


def test_frames_are_those_of_the_driver_in_order(videos, square_bench, tmp_path, no_models):
    write(videos / f"{CASE}.mp4", range(20), fps=7)
    (videos / f"{CASE}.json").write_text(json.dumps({"seconds": 12.5, "gpu_name": "Some GPU", "seed": 3}))
    result, record = imported(videos, square_bench, tmp_path)
    assert (result.made, result.failed) == ((CASE,), {})
    assert numbers(tmp_path) == list(range(20))
    assert (record.method, record.seconds, record.gpu_name, record.seed) == ("mine", 12.5, "Some GPU", 3)
    assert record.imported
    assert record.normalization["coverage"] == pytest.approx(20 / 30)
    assert imported(videos, square_bench, tmp_path)[0].skipped == (CASE,)


def test_frames_are_paired_by_time(videos, square_bench, tmp_path, no_models):
    write(videos / f"{CASE}.mkv", range(0, 30, 2), fps=12.5)
    imported(videos, square_bench, tmp_path, by_time=True)
    assert numbers(tmp_path) == [n - n % 2 for n in range(29)]  # to half a step after the last


def test_a_video_of_another_shape_needs_to_say_how_it_was_made(videos, square_bench, tmp_path, no_models):
    write_video(videos / f"{CASE}.mp4", (letterboxed(n) for n in range(30)), fps=25)
    result, _ = imported(videos, square_bench, tmp_path)
    assert "wrong_shape: it is 240 x 160, its source 160 x 160; expected one shape" in result.failed[CASE]
    result, record = imported(videos, square_bench, tmp_path, fit="inside")
    assert (result.made, numbers(tmp_path)) == ((CASE,), list(range(30)))
    assert record.normalization["parts"][0]["part"] == {"x": 40, "y": 0, "width": SIDE, "height": SIDE}


def letterboxed(number):
    return np.pad(textured(number, SIDE, SIDE), ((0, 0), (40, 40), (0, 0)))


def test_a_methods_rules_bring_its_own_output_back(videos, square_bench, tmp_path, no_models):
    rules = find_method("skyreels-a1")
    write(videos / f"{CASE}.mp4", [int(k * 25 / 12 + 1e-9) if k * 25 / 12 < 30 else 29 for k in range(47)], fps=12)
    result, record = imported(videos, square_bench, tmp_path, rules=rules, name="skyreels-a1")
    assert result.failed == {}
    assert record.spec_sha256 == rules.sha256
    assert len(numbers(tmp_path)) == 30


def test_what_cannot_be_used_has_a_code(videos, square_bench, tmp_path, no_models, capsys):
    write_video(videos / f"{CASE}.mp4", (textured(0, SIDE, SIDE) * 0 for _ in range(30)), fps=25)
    (videos / f"{OTHER}.mp4").write_bytes(b"no video")
    arguments = ["import", str(videos), "--benchmark", str(square_bench.root), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--name", "mine"]) == 3
    err = capsys.readouterr().err
    assert f"{CASE}: blank_output: 30 of 30 frames" in err
    assert load_run(tmp_path / "out", OTHER).status == "failed"
    assert main(arguments) == 2
    assert "give it with --name, or its rules with --as" in capsys.readouterr().err


def test_mistakes_are_named(videos, square_bench, tmp_path):
    with pytest.raises(UserError, match=r"has no video of a case, such as single-self-0001\.mp4"):
        imported(videos, square_bench, tmp_path)
    write(videos / f"{CASE}.mp4", range(3))
    with pytest.raises(UserError, match="is also --out"):
        import_videos(videos, benchmark=square_bench.root, out=videos, name="mine")
    with pytest.raises(UserError, match="--as excludes --by-time and --fit"):
        imported(videos, square_bench, tmp_path, rules=find_method("x-nemo"), by_time=True)
    (videos / f"{CASE}.json").write_text('{"secs": 3}')
    with pytest.raises(UserError, match="did you mean 'seconds'"):
        imported(videos, square_bench, tmp_path)


def test_verify_holds_predictions_against_their_records(videos, square_bench, tmp_path, no_models, capsys):
    write(videos / f"{CASE}.mp4", range(30))
    write(videos / f"{OTHER}.mp4", range(30))
    imported(videos, square_bench, tmp_path)
    out = tmp_path / "out"
    assert main(["verify", str(out), "--benchmark", str(square_bench.root)]) == 0
    assert "predictions and records agree" in capsys.readouterr().out
    shutil.copy(out / f"{OTHER}.mp4", out / "single-self-0099.mp4")
    (out / f"{CASE}.mp4").write_bytes(b"changed")
    (out / f"{OTHER}.mp4").unlink()
    assert run_problems(out) == [
        f"{OTHER}: the prediction is missing",
        f"{CASE}: the prediction is not the file that was recorded",
        "single-self-0099: has no run record",
    ]
    (out / "runs" / f"{OTHER}.json").unlink()
    assert run_problems(out, square_bench.root).count(f"{OTHER}: has no run record") == 1
    assert main(["verify", str(out)]) == 3


def test_records_of_different_runs_in_one_folder_are_named(videos, square_bench, tmp_path, no_models):
    write(videos / f"{CASE}.mp4", range(30))
    imported(videos, square_bench, tmp_path)
    (videos / f"{CASE}.mp4").unlink()
    write(videos / f"{OTHER}.mp4", range(30))
    imported(videos, square_bench, tmp_path, name="other")
    assert run_problems(tmp_path / "out") == ["the records differ in method: other (1), mine (1)"]


def test_a_folder_without_records_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="has no run records"):
        run_problems(tmp_path)
