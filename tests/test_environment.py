"""The verbs that print facts: doctor, metrics and completion."""

import csv
import io
import json
import subprocess

import pytest

from exprbench import cli, doctor, weights
from exprbench.metrics import COLUMNS


def test_doctor_checks_every_part(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    checks = {check.name: check for check in doctor()}
    assert {"python", "torch", "gpu", "H.264 video", "decoders", "cache"} < checks.keys()
    assert {f"weights {name}" for name in weights.ALL} < checks.keys()
    assert checks["H.264 video"].detail == "written and read back"
    assert checks["weights i3d"].state == "missing"
    assert "exprbench weights fetch i3d" in checks["weights i3d"].detail
    assert str(tmp_path / "cache") in checks["cache"].detail


def test_a_file_that_is_not_the_published_one_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    (tmp_path / weights.get("i3d").filename).write_text("another file")
    assert cli.main(["doctor"]) == 3
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "weights i3d" in line]
    assert line.startswith("error ")
    assert "is not the published file" in line


def test_metrics_lists_every_column_of_every_profile(capsys):
    assert cli.main(["metrics", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["name"], row["profile"]) for row in rows} == {(m.name, p) for m in COLUMNS.values() for p in m.ids}
    (mae,) = [row for row in rows if (row["name"], row["profile"]) == ("mae", "paper")]
    assert (mae["id"], mae["unit"], mae["weights"]) == ("mae[l2cs-gaze360]", "degrees", "face_landmarker l2cs")
    assert "Gaze360" in mae["licences"]
    assert cli.main(["metrics", "--format", "csv", "--profile", "paper"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["profile"] for row in table} == {"paper"}
    assert cli.main(["metrics"]) == 0
    assert "psnr[rgb,frame-mean,cap100]" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_verbs_flags_and_choices(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("score", "--predictions", "mediapipe", "aggregate", "--per-frame"):
        assert word in script


def test_bash_completes_a_verb_and_its_flags(capsys):
    cli.main(["completion", "bash"])
    script = capsys.readouterr().out

    def complete(*words):
        line = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _exprbench; echo ${{COMPREPLY[@]}}"
        return subprocess.run(["bash", "-c", script + line], capture_output=True, text=True, check=True).stdout.split()

    assert complete("exprbench", "sco") == ["score"]
    assert complete("exprbench", "pair", "--per") == ["--per-frame"]
