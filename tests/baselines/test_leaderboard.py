"""`make leaderboard` with one method, and the specifications of its doubles."""

import sys

import pytest

from baselines.method_environment import find_uv
from baselines.spec import find_method, load_method, method_folders
from exprbench.records import CaseScore
from tests.baselines import leaderboard
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


def test_a_record_that_falls_short_of_a_copy_is_named():
    def case(track, **values):
        given = {"case_id": f"single-{track}-0001", "split": "single", "track": track, "outcome": "scored"}
        return CaseScore(**given, values=values)

    assert leaderboard.shortcomings(record("A", cases=[case("self", psnr=34.0, lmd=1e-3), case("cross")])) == []
    short = record("A", cases=[case("self", psnr=34.0, lmd=0.02)])
    assert leaderboard.shortcomings(short) == ["single-self-0001: PSNR 34.0 dB, LMD 0.02"]


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
