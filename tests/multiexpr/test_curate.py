"""All stages, on a raw collection with known outcomes, with the real detector and landmarker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import multiexpr
from exprbench.faces import load_tracks
from multiexpr import cli
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.indexing.stage import load_index
from multiexpr.models.detector import find_people_model
from multiexpr.storage.parquet import read_rows
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.collection import broken_files, encode, raw_collection
from tests.videos import numbered

pytestmark = [pytest.mark.shared, pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module")
def curated(tmp_path_factory, shared):
    """Return the collection, the expected outcomes of its clips and broken files, and the workspace."""
    try:
        find_people_model("yolov8n")
    except multiexpr.curation.UserError:
        pytest.skip("needs a YOLOv8n model in EXPRBENCH_WEIGHTS")
    root = tmp_path_factory.mktemp("raw")
    expected = raw_collection(root / "collection", shared)
    broken = broken_files(root / "collection" / "broken")
    status = cli.main(["curate", str(root / "collection"), "--out", str(root / "out"), "--workers", "2"])
    assert status == 0
    return root / "collection", expected, broken, Workspace(root / "out")


def outcomes(workspace):
    paths = {row["clip_id"]: row["path"] for row in load_index(workspace)}
    return {paths[row["clip_id"]]: row for row in read_rows(workspace.verdicts)}


def test_each_clip_has_the_expected_outcome(curated):
    _, expected, _, workspace = curated
    rows = outcomes(workspace)
    actual = {name: rows[name]["reason"] or rows[name]["error"] or rows[name]["outcome"] for name in expected}
    assert actual == expected


def test_each_broken_file_is_an_error_of_its_kind(curated):
    _, _, broken, workspace = curated
    errors = {name: (row["outcome"], row["error"]) for name, row in outcomes(workspace).items()}
    for name, code in broken.items():
        if code:
            assert errors[f"broken/{name}"] == ("error", code)
    mismatches = {row["path"]: row["kind"] for row in read_rows(workspace.mismatches)}
    assert mismatches == {"broken/empty.mp4": "unreadable"}


def test_the_dataset_holds_the_kept_clips_with_their_faces(curated):
    _, expected, _, workspace = curated
    clips = pd.read_parquet(workspace.dataset / "metadata.parquet").set_index("source_path")
    assert set(clips.index) == {name for name, verdict in expected.items() if verdict == "kept"}
    people = {"two.mp4": 2, "pair_a.mp4": 2, "pair_b.mp4": 2, "five.mp4": 5}
    assert clips["num_people"].to_dict() == people
    for name, row in clips.iterrows():
        tracks = load_tracks(workspace.dataset / row["tracks"])
        assert (len(tracks.tracks), tracks.num_frames) == (people[name], row["num_frames"])
        assert (workspace.dataset / row["masks"]).exists()


def test_a_second_run_of_the_command_changes_nothing(curated, capsys):
    root, _, _, workspace = curated
    before = contents(workspace)
    assert cli.main(["curate", str(root), "--out", str(workspace.root), "--workers", "2"]) == 0
    assert contents(workspace) == before
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"report: {workspace.report}"
    assert "kept" in out.splitlines()[-2]


def contents(workspace):
    """Return the bytes of all files, by name, without timings, locks and temporary files of killed processes."""
    excluded = ("timings", "steps", "report.html", "batch.json")
    complete = (path for path in sorted(workspace.root.rglob("*")) if not path.name.startswith(".tmp-"))
    files = (path for path in complete if path.is_file() and path.suffix != ".lock")
    by_name = {path.relative_to(workspace.root).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in by_name.items() if not name.startswith(excluded)}


def test_every_verb_alone(curated, capsys):
    _, _, _, workspace = curated
    out = str(workspace.root)
    assert cli.main(["why", out, "frozen.mp4"]) == 0
    explanation = capsys.readouterr().out
    assert "dropped: inexpressive (person 1: variation of mouth, eyes and brows" in explanation
    assert "expected at least 1.1" in explanation
    assert cli.main(["select", out, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 4
    assert cli.main(["select", out, "--target", "3", "--write", str(workspace.root / "three.toml")]) == 0
    assert "# keeps 3 of 7 clips that pass all other rules" in capsys.readouterr().out
    assert multiexpr.load_recipe(workspace.root / "three.toml")
    for verb in ("score", "caption", "export", "report"):
        assert cli.main([verb, out]) == 0


def test_more_failures_than_allowed_change_the_exit_status(curated):
    root, _, _, workspace = curated
    again = ["curate", str(root), "--out", str(workspace.root), "--workers", "2", "--max-failed"]
    assert cli.main([*again, "0.1"]) == 3
    assert cli.main([*again, "0.5"]) == 0


def small(root, raw):
    """Write a collection of four shards: clips of all outcomes, and tiny ones that are dropped by their length."""
    root.mkdir()
    for name in ("two", "pair_a", "frozen", "dark", "cut", "tree", "far"):
        os.link(raw / f"{name}.mp4", root / f"{name}.mp4")
    os.link(raw / "broken/text.mp4", root / "text.mp4")
    for i in range(19):
        encode(root / f"{'aehru'[i % 5]}{i:02d}.mp4", [numbered(20 * i + k) for k in range(5)])
    return root


@pytest.fixture(scope="module")
def reference(curated, tmp_path_factory):
    """Return the small collection, and the files that one worker writes for it."""
    root = small(tmp_path_factory.mktemp("small") / "root", curated[0])
    out = root.parent / "reference"
    multiexpr.curate(root, out, execution=ExecutionConfig(workers=0))
    return root, contents(Workspace(out))


def command(root, out, *more, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "multiexpr.cli", "curate", str(root), "--out", str(out), *more],
        env={**os.environ, **environment}, cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_two_workers_write_the_same_files(reference, tmp_path):
    root, expected = reference
    multiexpr.curate(root, tmp_path / "out", execution=ExecutionConfig(workers=2))
    assert contents(Workspace(tmp_path / "out")) == expected


def test_four_ranks_write_the_same_files(reference, tmp_path):
    root, expected = reference
    more = ("--executor", "slurm", "--workers", "1")
    array = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "4"}
    ranks = [command(root, tmp_path / "out", *more, SLURM_ARRAY_TASK_ID=str(i), **array) for i in range(1, 5)]
    outputs = [rank.communicate(timeout=1200)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * 4, outputs
    assert contents(Workspace(tmp_path / "out")) == expected
    assert any("report:" in text for text in outputs)


def test_a_ray_cluster_writes_the_same_files(reference, tmp_path):
    pytest.importorskip("ray")
    root, expected = reference
    run = command(root, tmp_path / "out", "--executor", "ray", RAY_ADDRESS="local")
    output, _ = run.communicate(timeout=1200)
    assert run.returncode == 0, output
    assert contents(Workspace(tmp_path / "out")) == expected


@pytest.mark.parametrize("after_s", [4.0, 9.0])
def test_a_killed_run_resumes_with_the_same_files(reference, tmp_path, after_s):
    """Kill the command at one point; `python -m tests.multiexpr.kill --times 50` does so at many random points."""
    root, expected = reference
    run = command(root, tmp_path / "out", "--workers", "2")
    try:
        run.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()
    again = command(root, tmp_path / "out", "--workers", "2")
    output, _ = again.communicate(timeout=1200)
    assert again.returncode == 0, output
    assert contents(Workspace(tmp_path / "out")) == expected


def test_ctrl_c_ends_it_cleanly(reference, tmp_path):
    import signal
    import time

    root, expected = reference
    run = command(root, tmp_path / "out", "--workers", "1")
    time.sleep(5)
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=1200)
    if run.returncode == 130:
        assert "stopped; the same command resumes from here" in said
        assert "Traceback" not in said
    again = command(root, tmp_path / "out", "--workers", "2")
    again.communicate(timeout=1200)
    assert contents(Workspace(tmp_path / "out")) == expected


def test_runs_with_a_limit_add_up_to_the_whole_collection(reference, tmp_path):
    root, expected = reference
    for count in (14, 27):
        funnel = multiexpr.curate(root, tmp_path / "out", limit=14, execution=ExecutionConfig(workers=2))
        assert funnel.num_clips == count
    whole = pd.read_parquet(tmp_path / "out/dataset/metadata.parquet").set_index("clip_id").sort_index()
    (tmp_path / "reference.parquet").write_bytes(expected["dataset/metadata.parquet"])
    pd.testing.assert_frame_equal(
        whole, pd.read_parquet(tmp_path / "reference.parquet").set_index("clip_id").sort_index()
    )
