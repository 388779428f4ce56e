"""The folder of a report: complete, reproducible, and in agreement with the records."""

import base64
import shutil
from dataclasses import replace

import numpy as np
import pytest

from exprbench import load_record
from exprbench.core.errors import UserError
from exprbench.media import read_clip
from exprbench.report import build_report, report_folder
from exprbench.report.case_files import rounded
from tests.report.conftest import METHODS, NUM_FRAMES, SHIFT, case_data, page_data
from tests.videos import number_of

CASES = ["single-self-0001", "single-cross-0001", "multi-self-0001", "multi-cross-0001"]
PAGE = {"index.html", "plot.js", "player.js", "report.css", "report.js", "report_data.js"}


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_folder_is_complete(report_folder):
    of_cases = {f"cases/{c}{s}" for c in CASES for s in (".mp4", ".jpg", ".js", ".landmarks.js")}
    assert set(contents(report_folder)) == PAGE | of_cases
    data = page_data(report_folder)
    assert data["methods"] == list(METHODS)
    assert [case["id"] for case in data["cases"]] == CASES
    assert all(case["media"] for case in data["cases"])
    assert data["cases"][1]["names"] == "bo & <b>cy.png, ada.mp4"


def test_equal_inputs_give_equal_files(scored, report_folder, tmp_path):
    assert contents(scored.report(tmp_path / "again").page.parent) == contents(report_folder)


def test_the_driver_and_every_method_are_in_step(report_folder):
    frames = read_clip(report_folder / "cases" / "single-cross-0001.mp4")[0]
    data = case_data(report_folder, "single-cross-0001")
    assert (data["fps"], data["frames"], len(frames)) == (25, NUM_FRAMES, NUM_FRAMES)
    assert [s["name"] for s in data["screens"]] == ["driver", *METHODS]
    for i, frame in enumerate(frames):
        for screen in data["screens"]:
            x, y, width, height = screen["tile"]
            if i < screen["frames"]:
                assert number_of(frame[y : y + height, x : x + width]) == 100 + i
    assert [s["frames"] for s in data["screens"]] == [60, 60, 60, 40]


def test_curves_average_to_the_values_of_the_record(scored, report_folder):
    units = {"lmd": 1e3, "mae": 1, "aed": 1e2, "apd": 1e3}
    for i, path in enumerate(scored.records):
        for case in load_record(path).cases:
            curves = case_data(report_folder, case.case_id)["curves"]
            assert set(curves) == (set(units) if case.track == "self" else set(units) - {"lmd"})
            for column, by_screen in curves.items():
                faces = [np.array(face, float) for face in by_screen[str(1 + i)]]
                mean = np.mean([np.nanmean(face) for face in faces])
                assert mean == pytest.approx(case.values[column] * units[column], rel=1e-3, abs=1e-6)


def test_a_known_error_is_in_every_frame_of_its_method(report_folder):
    lmd = case_data(report_folder, "multi-self-0001")["curves"]["lmd"]
    assert np.abs(np.array(lmd["1"])).max() == 0
    assert np.array(lmd["2"]) == pytest.approx(SHIFT * 1e3, rel=1e-3)
    assert np.array(lmd["2"]).shape == (2, NUM_FRAMES)
    assert np.array(lmd["3"]).shape == (2, 40)


def test_drift_curves_and_values_are_in_the_unit_of_the_table(report_folder):
    data = page_data(report_folder)
    (group,) = [
        g for g in data["drift"]["groups"] if (g["split"], g["track"], g["column"]) == ("single", "self", "lmd")
    ]
    assert data["drift"]["width"] == 0.2
    assert group["means"]["1"] == pytest.approx([SHIFT * 1e3] * 12, rel=1e-3)
    assert [len(group["means"][m]) for m in "012"] == [12, 12, 8]
    lmd = [c["name"] for c in data["columns"]].index("lmd")
    assert data["cases"][0]["values"][1][lmd] == pytest.approx(SHIFT * 1e3, rel=1e-3)


def test_landmarks_are_those_of_the_faces(scored, report_folder):
    found = case_data(report_folder, "single-self-0001", ".landmarks.js")
    (driver,), (predicted,) = (
        [
            (np.frombuffer(base64.b64decode(face), "<u2").reshape(-1, found["points"], 2) - 1.0) / 65534 * 2 - 0.5
            for face in found["screens"][screen]
        ]
        for screen in ("0", "2")
    )
    assert driver.shape == (NUM_FRAMES, found["points"], 2)
    assert predicted - driver == pytest.approx(np.full(driver.shape, [SHIFT, 0]), abs=1e-4)


def test_what_cannot_be_shown_says_why(scored, tmp_path):
    changed = tmp_path / "exact"
    shutil.copytree(scored.predictions["exact"], changed)
    shutil.copyfile(changed / "multi-self-0001.mp4", changed / "multi-cross-0001.mp4")
    (changed / "multi-cross-0001.tracks.npz").unlink()
    shutil.copyfile(scored.predictions["short"] / "single-self-0001.mp4", changed / "single-self-0001.mp4")
    (changed / "single-cross-0001.mp4").unlink()
    chosen = {"exact": changed, "short": scored.predictions["short"]}
    folder = scored.report(tmp_path / "r", predictions=chosen).page.parent
    missing = case_data(folder, "single-cross-0001")["screens"]
    assert "missing_file" in missing[1]["note"]
    assert missing[1]["tile"] is None
    assert missing[2]["note"] == "no folder of videos was given"
    assert "this is not the video that was scored" in case_data(folder, "single-self-0001")["screens"][1]["note"]
    assert case_data(folder, "multi-self-0001")["screens"][1]["note"] == ""


def test_without_a_benchmark_there_are_the_table_and_the_values(scored, tmp_path):
    built = scored.report(tmp_path / "r", benchmark=None, predictions=None)
    assert set(contents(tmp_path / "r")) == PAGE
    assert built.num_cases == 0
    assert [case["media"] for case in page_data(tmp_path / "r")["cases"]] == [False] * 4


def test_names_are_escaped_in_the_page(report_folder):
    text = (report_folder / "index.html").read_text()
    assert "<script>alert" not in text
    assert "moved &lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_an_earlier_report_is_replaced_and_nothing_else_is(scored, tmp_path):
    out = tmp_path / "r"
    scored.report(out, benchmark=None, predictions=None, title="first")
    scored.report(out, benchmark=None, predictions=None, title="second")
    assert "<h1>second</h1>" in (out / "index.html").read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="other is not a report; choose another folder with --out"):
        scored.report(tmp_path / "other")
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"


def test_mistakes_are_one_line(scored, tmp_path):
    wrong = {
        "--predictions names 'nobody', but the records are of 'exact'": {"predictions": {"nobody": tmp_path}},
        "not a folder; expected one video per case": {"predictions": {"exact": tmp_path / "nowhere"}},
        "--predictions needs the benchmark of the videos": {"benchmark": None},
        "--tile is 8; expected 32 or more": {"tile": 8},
    }
    for message, options in wrong.items():
        with pytest.raises(UserError) as error:
            scored.report(tmp_path / "r", methods=(*METHODS, "nobody"), **options)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "r").exists()


def test_the_benchmark_must_be_that_of_the_records(scored, tmp_path):
    record = load_record(scored.records[0])
    other = replace(record, benchmark=replace(record.benchmark, sha256="0" * 64))
    with pytest.raises(UserError, match=r"is of benchmark 0{16}, not of .* give the benchmark that was scored"):
        build_report([other], out=tmp_path / "r", benchmark=scored.bench.root)


def test_curves_that_need_a_missing_model_say_so(scored, tmp_path, monkeypatch):
    missing = {"smirk": "smirk.pt is missing", "l2cs": "l2cs.pkl is missing"}
    monkeypatch.setattr(report_folder, "missing_weights", lambda columns, profile: missing)
    record = replace(load_record(scored.records[0]), profile="paper")
    build = {"out": tmp_path / "r", "benchmark": scored.bench.root, "workers": 0}
    build_report([record], predictions={"exact": scored.predictions["exact"]}, **build)
    data = case_data(tmp_path / "r", "single-self-0001")
    assert set(data["curves"]) == {"lmd"}
    assert data["screens"][1]["note"] == (
        "no curves of AED, APD: smirk.pt is missing; no curves of MAE: l2cs.pkl is missing"
    )


def test_numbers_have_four_significant_digits():
    generator = np.random.default_rng(0)
    values = np.concatenate([10 ** generator.uniform(-9, 9, 1000) * generator.choice([-1, 1], 1000), [0, 9.9996, 1e5]])
    assert rounded(values) == [float(f"{value:.4g}") for value in values]
    assert rounded(np.array([np.nan, 1.0, np.inf])) == [None, 1.0, None]
