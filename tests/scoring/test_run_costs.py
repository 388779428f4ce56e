"""Run records next to the predictions: read, matched with the scored files, and printed below tables."""

import json
from dataclasses import replace

import pytest

from exprbench.core.errors import UserError
from exprbench.leaderboard.cost_lines import cost_lines
from exprbench.records import CaseRun, CaseScore, load_record, save_record
from exprbench.scoring.run_costs import read_runs, runs_of_scored
from tests.leaderboard.test_table import A, group, record

IDS = ("single-self-0001", "single-self-0002", "single-self-0003")
RUN = {"status": "ok", "prediction_sha256": "ab", "seconds": 10.0, "gpu_name": "Some GPU", "attempts": [], "seed": 7}


def case(case_id, sha256="ab"):
    return CaseScore(
        case_id=case_id, split="single", track="self", outcome="scored", prediction_sha256=sha256, own_frames=50
    )


def write(folder, case_id, **changes):
    (folder / "runs").mkdir(exist_ok=True)
    (folder / "runs" / f"{case_id}.json").write_text(json.dumps({**RUN, **changes}))


def test_runs_of_made_predictions_are_read_and_other_keys_ignored(tmp_path):
    write(tmp_path, IDS[0])
    write(tmp_path, IDS[1], status="failed")
    expected = CaseRun(prediction_sha256="ab", seconds=10.0, gpu_name="Some GPU", seed=7)
    assert read_runs(tmp_path, IDS) == {IDS[0]: expected}
    assert read_runs(tmp_path / "none", IDS) == {}
    write(tmp_path, IDS[0], seconds="ten")
    with pytest.raises(UserError, match=r"0001\.json\.seconds is 'ten'; expected a number"):
        read_runs(tmp_path, IDS)


def test_a_run_of_another_file_is_left_out_and_reported(capsys):
    runs = {case_id: CaseRun(prediction_sha256="ab") for case_id in IDS}
    kept = runs_of_scored(runs, [case(IDS[0]), case(IDS[1], "cd")])
    assert list(kept) == [IDS[0]]
    assert f"1 predictions are not those of their run records, such as {IDS[1]}" in capsys.readouterr().err


def test_a_line_per_method_with_means_and_peaks(tmp_path):
    runs = {
        IDS[0]: CaseRun(prediction_sha256="ab", seconds=10.0, peak_memory_bytes=3 << 30, gpu_name="Some GPU"),
        IDS[1]: CaseRun(prediction_sha256="ab", seconds=20.0, peak_gpu_memory_bytes=5 << 30, composed=True),
        IDS[2]: CaseRun(prediction_sha256="ab"),
    }
    made = record("Alpha", group(psnr=30.0), cases=[case(case_id) for case_id in IDS], runs=runs)
    line = (
        "Time and memory of Alpha: 15.0 s per video, 0.30 s per frame, 5.0 GiB of GPU memory, 3.0 GiB of main memory, "
        "Some GPU (2 videos, 1 composed)."
    )
    assert list(cost_lines([A, made])) == [line]
    (one,) = cost_lines([replace(made, runs={IDS[0]: runs[IDS[0]]})])
    assert one.endswith(", 3.0 GiB of main memory, Some GPU (1 video).")
    save_record(tmp_path / "r.json", made)
    assert load_record(tmp_path / "r.json").runs == runs
    assert made.to_frame()["seconds"].tolist()[:2] == [10.0, 20.0]
    assert "seconds" not in A.to_frame().columns
