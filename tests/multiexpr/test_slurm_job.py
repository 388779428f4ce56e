"""The script that curates a collection as a Slurm array: memory, time and command."""

import os
import stat
import sys
from pathlib import Path

import pytest

from exprbench import UserError
from multiexpr import slurm_job
from multiexpr.cli import main
from multiexpr.slurm_job import GIB, SampleCost, SlurmJob, format_script, format_time, submit, task_command


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0-00:00:00"), (60, "0-00:01:00"), (61, "0-00:02:00"), (90_000, "1-01:00:00")]
)
def test_a_time_limit_is_rounded_up_to_minutes(seconds, text):
    assert format_time(seconds) == text


def test_the_script_asks_for_what_the_sample_needed_and_a_margin():
    cost = SampleCost(num_videos=100_000, num_sampled=64, core_s=3.6, own_bytes=GIB, worker_bytes=2 * GIB)
    job = SlurmJob(
        tasks=10, workers=4, command=["multiexpr", "curate", "my videos"], sbatch=["--partition=cpu"], folder=Path("/w")
    )
    lines = format_script(cost, job, Path("/w/slurm")).splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --array=0-9" in lines
    assert "#SBATCH --cpus-per-task=4" in lines
    assert "#SBATCH --mem=14G" in lines  # 1.5 times 1 + 4 times 2, rounded up
    assert "#SBATCH --time=0-05:10:00" in lines  # 600 s, and twice 3.6 s times 100,000 over 40 cores
    assert lines[-2:] == ["#SBATCH --partition=cpu", "exec multiexpr curate 'my videos'"]


@pytest.mark.parametrize(("load", "is_busy"), [(1.0, False), (25.0, True)])
def test_a_sample_that_is_measured_on_a_busy_machine_says_so(monkeypatch, capsys, load, is_busy):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 1.0, 1.0))
    monkeypatch.setattr("multiexpr.slurm_job.num_cores", lambda: 2)
    slurm_job._warn_if_busy()
    assert ("this machine is busy (load 25 on 2 cores)" in capsys.readouterr().err) == is_busy


def test_a_task_repeats_the_command_without_the_options_of_the_job():
    argv = ["curate", "in", "--out", "o", "--submit", "--tasks", "9", "--sbatch=--mem=1G", "--workers=3", "--dry-run"]
    assert task_command([*argv, "--limit", "5"], 3) == [
        sys.executable,
        "-m",
        "multiexpr.cli",
        "curate",
        "in",
        "--out",
        "o",
        "--limit",
        "5",
        "--workers",
        "3",
    ]


def test_the_script_is_written_even_if_it_cannot_be_submitted(workspace, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"there is no sbatch on this machine; submit .*curate\.sbatch"):
        submit("#!/bin/bash\n", workspace)
    assert (workspace.root / "slurm/curate.sbatch").read_text() == "#!/bin/bash\n"


@pytest.mark.parametrize(("body", "outcome"), [("echo '17;cluster'", "17"), ("echo 'no partition' >&2; exit 1", None)])
def test_the_answer_of_sbatch_is_the_job_or_one_error(workspace, tmp_path, monkeypatch, body, outcome):
    sbatch = tmp_path / "bin/sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f"#!/bin/sh\n{body}\n")
    sbatch.chmod(sbatch.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    if outcome:
        assert submit("script", workspace) == outcome
    else:
        with pytest.raises(UserError, match=r"sbatch rejected .* \(no partition\); change its options with --sbatch"):
            submit("script", workspace)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--submit"], "add --executor slurm"), (["--dry-run"], "add --executor slurm"),
     (["--submit", "--executor", "slurm", "--tasks", "0"], "--tasks is 0; expected 1 or more")],
)  # fmt: skip
def test_options_that_do_not_fit_are_one_line(drawn, tmp_path, capsys, options, message):
    assert main(["curate", str(drawn), "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
