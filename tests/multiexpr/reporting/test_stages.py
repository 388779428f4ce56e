"""Status of a curation from the files that its stages wrote."""

import os

import pytest

from exprbench import UserError
from exprbench.core.files import write_json
from multiexpr import cli, select, status
from multiexpr.execution.claims import Claims
from multiexpr.reporting.stages import format_duration
from multiexpr.storage.parquet import shard_path
from tests.multiexpr.made import fill, good


def test_a_complete_stage_has_all_its_shards(workspace):
    fill(workspace, [[good()] * 2, [good()] * 3])
    assert [(s.stage, s.num_done, s.num_shards, s.num_clips_left) for s in status(workspace.root)] == [
        ("index", 2, 2, 0),
        ("score", 2, 2, 0),
    ]


def test_a_shard_counts_when_all_its_scorers_are_written(workspace):
    fill(workspace, [[good()] * 2, [good()] * 3])
    shard_path(workspace.scores("motion"), 1).unlink()
    write_json(
        workspace.timings("score") / "00000.json",
        {"started": 100.0, "wall_s": 8.0, "spent_s": {}, "clips": 2, "errors": 0},
    )
    score = status(workspace.root)[1]
    assert (score.num_done, score.num_shards, score.num_clips_left, score.left_s) == (1, 2, 3, 12.0)
    assert str(score) == "score            1 of 2 shards, 3 clips left, 12 s at the rate so far"


def test_captions_and_export_concern_the_kept_clips(workspace, capsys):
    fill(workspace, [[good()] * 2, [good(luma=0.0)] * 3])
    select(workspace.root)
    assert [(s.stage, s.num_shards, s.num_clips_left, s.left_s) for s in status(workspace.root)[2:]] == [
        ("caption", 1, 2, None),
        ("export", 1, 2, None),
    ]
    assert cli.main(["status", str(workspace.root)]) == 0
    assert "export           0 of 1 shards, 2 clips left, not started" in capsys.readouterr().out


def test_shards_in_work_and_failed_clips_are_shown(workspace, capsys):
    fill(workspace, [[good()] * 2, [good()] * 3, [good()] * 3])
    for shard in (1, 2):
        shard_path(workspace.scores("motion"), shard).unlink()
    timing = {"started": 100.0, "wall_s": 8.0, "spent_s": {}, "clips": 2, "errors": 1}
    write_json(workspace.timings("score") / "00000.json", timing)
    with Claims(workspace.claims("score")) as claims:
        claims.take("00001")
        assert cli.main(["status", str(workspace.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[1] == "score            1 of 3 shards, 1 running, 1 clips failed, 6 clips left, 24 s at the rate so far"
    )
    assert lines[2].startswith(f"  score: process {os.getpid()} on ")
    assert lines[2].endswith(" works on 1 shard")
    capsys.readouterr()
    assert cli.main(["status", str(workspace.root)]) == 0
    assert "running" not in capsys.readouterr().out
    assert not workspace.claims("score").exists()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (900, "15 min"), (7200, "2 h"), (1e6, "12 days")]
)
def test_durations_have_a_fitting_unit(seconds, text):
    assert format_duration(seconds) == text


def test_a_folder_without_a_collection_is_an_error(tmp_path):
    with pytest.raises(UserError, match="there is no index"):
        status(tmp_path)
