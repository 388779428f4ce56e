"""`make leaderboard` with one method, and the specifications of its doubles."""

import sys

import pytest

from baselines.importing import import_videos
from baselines.method_environment import find_uv
from baselines.spec import find_method, load_method, method_folders
from exprbench.media import write_video
from exprbench.records import CaseScore
from tests.baselines import leaderboard
from tests.baselines.bench import SIDE, textured
from tests.leaderboard.test_table import record


@pytest.mark.parametrize("name", list(method_folders()))
def test_the_specification_of_a_double_differs_in_its_origin_only(name, tmp_path):
    real, folder = find_method(name), tmp_path / name
    folder.mkdir()
    (folder / "method.toml").write_text(leaderboard.rewritten(real, "0" * 40))
    double = load_method(folder)
    assert (double.commit, double.python, double.build) == ("0" * 40, leaderboard.VERSION, ())
    for part in ("name", "steps", "output", "input", "configs", "env", "writes", "options", "multi", "seed", "no_face"):
        assert getattr(double, part) == getattr(real, part), part


CASE = "single-self-0001"


def shortcomings(bench, out, lmd):
    case = CaseScore(case_id=CASE, split="single", track="self", outcome="scored", values={"lmd": lmd})
    return leaderboard.shortcomings(record("A", cases=[case]), bench, out, {})


def test_a_prediction_that_falls_short_of_a_copy_is_named(square_bench, tmp_path, no_models):
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    write_video(videos / f"{CASE}.mp4", (textured(n, SIDE, SIDE) for n in range(30)), fps=25)
    import_videos(videos, benchmark=square_bench.root, out=out, name="mine", workers=0)
    assert shortcomings(square_bench, out, 1e-3) == []
    assert [line.split(", ")[1] for line in shortcomings(square_bench, out, 0.02)] == ["LMD 0.0200"]
    write_video(out / f"{CASE}.mp4", (textured(n + 1, SIDE, SIDE) for n in range(30)), fps=25)
    (short,) = shortcomings(square_bench, out, 1e-3)
    assert short.startswith(f"{CASE}: PSNR ")


def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["leaderboard", "--out", str(tmp_path), "--benchmark", str(tmp_path / "none")])
    assert leaderboard.main() == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'none'} is not a benchmark")


@pytest.mark.slow
def test_a_double_becomes_a_row(tmp_path, monkeypatch, capsys, needs_weights):
    needs_weights("face_landmarker")
    if find_uv() is None:
        pytest.skip("needs uv (pip install 'exprbench[baselines]')")
    monkeypatch.setattr(sys, "argv", ["leaderboard", "--out", str(tmp_path / "out"), "--methods", "lia-x"])
    assert leaderboard.main() == 0
    table = capsys.readouterr().out
    assert table == (tmp_path / "out" / "leaderboard.md").read_text() + "\n"
    assert "| Single  | LIA-X (double) |" in table
    assert "Time and memory of LIA-X (double): " in table
