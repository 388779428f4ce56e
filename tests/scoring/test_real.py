"""From the command line, on real clips and with the real landmarker, as a user would."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from exprbench import load_record
from exprbench.media import read_clip, write_frames, write_video
from tests.scoring.conftest import case_of

pytestmark = pytest.mark.shared

OWN, DUO = "single-self-0001", "multi-self-0001"


def exprbench(*words, cwd=None):
    command = [sys.executable, "-m", "exprbench.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def bench(shared, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    chosen = {
        "portraits": ["portraits/s1.jpg", "portraits/stylised_s23.jpg"],
        "driving": ["driving/d20.mp4", "driving/jgz.mp4", "raw/tree.avi"],
        "mp": ["multi/two_person.png"],
        "md": ["multi/two_person.mp4"],
    }
    for folder, names in chosen.items():
        (root / folder).mkdir()
        for name in names:
            shutil.copyfile(shared(name), root / folder / Path(name).name)
    (root / "mp" / "sources.csv").write_text("file,person\ntwo_person.png,others\n")
    words = ["--portraits", root / "portraits", "--driving", root / "driving", "--multi-portraits", root / "mp"]
    made = exprbench("build", *words, "--multi-driving", root / "md", "--out", root / "bench", "--clip-seconds", 1.2)
    assert made.returncode == 0, made.stderr
    assert "left out: tree.avi: no_face" in made.stdout
    return root / "bench"


@pytest.fixture
def predictions(bench, tmp_path, needs_weights):
    """The drivers themselves."""
    needs_weights("face_landmarker")
    folder = tmp_path / "predictions"
    folder.mkdir()
    for case in json.loads(exprbench("cases", bench, "--format", "json").stdout):
        shutil.copyfile(bench / case["drivers"].split(";")[0], folder / f"{case['case_id']}.mp4")
    return folder


def score(bench, predictions, *more):
    out = predictions.parent / "record.json"
    run = exprbench("score", "--benchmark", bench, "--predictions", predictions, "--method", "m", "--out", out, *more)
    assert run.returncode in (0, 3), run.stderr
    return run, load_record(out)


def test_build_check_cases_score_table(bench, predictions):
    checked = exprbench("check", bench)
    assert (checked.returncode, checked.stdout.strip()) == (0, f"{bench}: no problems")
    listed = exprbench("cases", bench, "--split", "multi").stdout
    assert ["multi-self-0001", "driving/multi-two_person.png", "driving/multi-two_person.mp4", "0.0;0.1"] in [
        line.split() for line in listed.splitlines()
    ]
    run, record = score(bench, predictions)
    assert run.returncode == 0
    for group in record.groups:
        assert (group.coverage, group.detect_rate, group.errors) == (1, 1, {})
        zero = {n: a.value for n, a in group.aggregates.items() if n in ("lmd", "mae", "aed", "apd")}
        assert set(zero.values()) == {0}
        assert set(zero) == ({"lmd", "mae", "aed", "apd"} if group.track == "self" else {"mae", "aed", "apd"})
    own = record.group("single", "self")
    assert (own.aggregates["psnr"].value, own.aggregates["ssim"].value) == (100, 1)
    assert own.unscored["fid"].startswith("weights_missing: exprbench weights fetch inception, or put pt_inception")
    table = exprbench("table", predictions.parent / "record.json", "--format", "csv").stdout.splitlines()
    assert table[1].startswith("Single,m,,,100.00,1.000,0.00,0.00,0.00,0.00,0.00")


def damaged(bench, predictions, change, case_id=OWN):
    frames, _ = read_clip(predictions / f"{case_id}.mp4")
    write_video(predictions / f"{case_id}.mp4", change(frames), crf=5)
    return case_of(score(bench, predictions, "--split", case_id.split("-")[0], "--track", "self")[1], case_id)


@pytest.mark.parametrize("pixels", [4, 16])
def test_a_shift_moves_lmd_by_its_share_of_the_width(bench, predictions, pixels):
    case = damaged(bench, predictions, lambda frames: np.roll(frames, pixels, axis=2))
    assert case.values["lmd"] == pytest.approx(pixels / 480, rel=0.15)
    assert case.detect_rate == 1
    assert case.values["apd_deg"] < 2


@pytest.mark.slow
def test_growing_damage_moves_each_metric_its_way(bench, predictions, tmp_path):
    original = tmp_path / "original.mp4"
    shutil.copyfile(predictions / f"{OWN}.mp4", original)

    def rows(changes):
        for change in changes:
            shutil.copyfile(original, predictions / f"{OWN}.mp4")
            yield damaged(bench, predictions, change).values

    def worse(name, values, sign=1):
        assert [sign * v[name] for v in values] == sorted(sign * v[name] for v in values), name

    blurred = list(rows([lambda f, s=s: [cv2.GaussianBlur(x, (0, 0), s) for x in f] for s in (1, 3, 9)]))
    worse("psnr", blurred, -1)
    worse("ssim", blurred, -1)
    late = list(rows([lambda f, k=k: np.concatenate([f[:1].repeat(k, 0), f[: len(f) - k]]) for k in (1, 3, 6)]))
    for name in ("lmd", "aed", "apd"):
        worse(name, late)
    worse("psnr", late, -1)
    (mirrored,) = rows([lambda f: f[:, :, ::-1]])
    assert mirrored["mae"] > 2
    assert mirrored["lmd"] > late[0]["lmd"]


def test_another_person_is_further_off_than_a_damaged_copy(bench, predictions):
    shutil.copyfile(bench / "driving" / "jgz.mp4", predictions / f"{OWN}.mp4")
    case = case_of(score(bench, predictions, "--split", "single", "--track", "self")[1], OWN)
    assert case.resized
    assert case.values["psnr"] < 15
    assert case.values["aed"] > 0.05


def test_what_methods_leave_behind(bench, predictions):
    """One bad file of every kind: each gets its outcome, the run goes on, and the exit status tells."""
    (predictions / f"{OWN}.mp4").write_text("this is no video\n" * 100)
    two, _ = read_clip(predictions / f"{DUO}.mp4")
    alone = two.copy()
    alone[:, :, : two.shape[2] // 2] = 20
    write_video(predictions / f"{DUO}.mp4", alone)
    (predictions / "single-cross-0001.mp4").unlink()
    frames, _ = read_clip(predictions / "single-cross-0002.mp4")
    (predictions / "single-cross-0002.mp4").unlink()
    write_frames(predictions / "single-cross-0002", [cv2.resize(f, (501, 377)) for f in frames[:20]])
    run, record = score(bench, predictions)
    assert run.returncode == 3
    assert {c.case_id: c.code for c in record.cases if c.outcome == "error"} == {
        OWN: "open_failed",
        "single-cross-0001": "missing_file",
    }
    assert f"{OWN}: open_failed" in run.stderr
    duo = case_of(record, DUO)
    assert (duo.num_faces, duo.num_faces_missing, duo.detect_rate) == (2, 1, 0.5)
    assert case_of(record, "single-cross-0002").coverage == pytest.approx(20 / 30)
    allowed, _ = score(bench, predictions, "--max-failed", 2)
    assert allowed.returncode == 0
    table = exprbench("table", predictions.parent / "record.json").stdout
    assert "fewer than 95%" in table


PARTIAL = {
    "one frame": lambda frames: frames[:1],
    "half": lambda frames: frames[: len(frames) // 2],
    "side by side": lambda frames: np.concatenate([frames, frames], axis=2),
    "padded": lambda frames: np.pad(frames, ((0, 0), (0, 0), (frames.shape[2] // 4 * 2,) * 2, (0, 0))),
    "shard": lambda frames: frames,
}
WHOLE = {f"blur {sigma}": lambda frames, s=sigma: [cv2.GaussianBlur(f, (0, 0), s) for f in frames] for sigma in (3, 6)}
MARKS = {"one frame": "\u2021", "half": "\u2021", "side by side": "\u2016", "padded": "\u2016", "shard": "\u00b6"}
LATEX_MARKS = {"\u2021": r"\ddagger", "\u2016": r"\|", "\u00b6": r"\P"}


@pytest.fixture
def partial_records(bench, predictions):
    """Name -> record of the references cut, padded and put next to each other, and of whole but blurred ones."""
    records = {}
    for name, change in {**PARTIAL, **WHOLE}.items():
        folder = predictions.parent / name
        for case_id in (OWN, "single-self-0002"):
            write_video(folder / f"{case_id}.mp4", change(read_clip(predictions / f"{case_id}.mp4")[0]), crf=5)
        records[name] = folder / "record.json"
        words = ["--benchmark", bench, "--predictions", folder, "--method", name, "--out", records[name]]
        words += ["--split", "single", "--track", "self", "--metrics", "psnr,ssim,lmd,mae"]
        run = exprbench("score", *words, *(["--shard", "1/2"] if name == "shard" else []))
        assert run.returncode == 0, run.stderr
    return records


@pytest.mark.slow
def test_partial_predictions_are_marked_in_every_format_and_do_not_win(partial_records):
    def lines(format):
        shown = exprbench("table", *partial_records.values(), "--format", format)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout.splitlines()

    assert load_record(partial_records["side by side"]).groups[0].num_extra_faces == 2
    for format, bold in (("md", "**"), ("latex", r"\textbf"), ("html", 'class="best"')):
        rows = {name: next(line for line in lines(format) if name in line) for name in partial_records}
        assert {name for name, row in rows.items() if bold in row} <= set(WHOLE)
        assert any(bold in rows[name] for name in WHOLE)
        for name, mark in MARKS.items():
            assert rows[name].count(LATEX_MARKS[mark] if format == "latex" else mark) == 4, (format, name)
    content = json.loads("\n".join(lines("json")))
    for row in content["rows"]:
        numbers = [cell for cell in row["cells"].values() if cell["text"]]
        assert row["method"] in WHOLE or all(cell["notes"] and not cell["best"] for cell in numbers)
    notes = {row["method"]: row["notes"] for row in csv.DictReader(lines("csv"))}
    assert all("self_PSNR self_SSIM self_LMD self_MAE: " in notes[name] for name in PARTIAL)
