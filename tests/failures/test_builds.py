"""Builds that disturb each other or are disturbed: one whole benchmark or none, and nothing next to it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.failures.runs import LIMIT_S, below, gone, words_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.fixture
def start(bench, tmp_path):
    """`start()` begins to build the benchmark of `bench` again, from the same inputs."""

    def build(workers=2, **environment):
        line = [sys.executable, "-m", "exprbench.cli", "build", "--out", tmp_path / "bench", "--workers", workers]
        for name in ("portraits", "driving", "multi_portraits", "multi_driving"):
            line += [f"--{name.replace('_', '-')}", bench.root.parent / name]
        line = [str(word) for word in line]
        env = {**os.environ, **environment}
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)

    return build


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


def end(process):
    errors = process.communicate(timeout=LIMIT_S)[1]
    assert "Traceback" not in errors
    return process.returncode, errors.strip()


@pytest.mark.parametrize("share_a_cache", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_of_two_builds_at_once_one_is_whole_and_one_says_so(start, bench, tmp_path, rng, share_a_cache):
    first = start()
    time.sleep(rng.uniform(0, 1))
    second = start(EXPRBENCH_CACHE=str(tmp_path / "cache" / ("" if share_a_cache else "other")))
    ends = sorted([end(first), end(second)])
    assert [status for status, _ in ends] == [0, 2]
    said = ends[1][1].splitlines()[-1]
    assert said.startswith("error: ")
    assert any(words in said for words in ("is being written by process", "already exists", "by another run"))
    assert tree(tmp_path / "bench") == tree(bench.root)
    assert names(tmp_path) == ["bench"]


def process_of(command, words, rng):
    """Return a process below the command, at some moment, or None if the command ends before it has one."""
    while command.poll() is None:
        if found := [pid for pid in below(command.pid) if words in words_of(pid)]:
            time.sleep(rng.uniform(0, 0.5))
            return rng.choice(found)
        time.sleep(0.01)
    return None


@pytest.mark.parametrize("words", ["exprbench.core.child_process", "exprbench.media.decoder"])
@pytest.mark.parametrize("number", ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_a_process_of_a_build_that_is_killed_changes_nothing(start, bench, tmp_path, rng, words, number):
    command = start()
    if pid := process_of(command, words, rng):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, number))
    assert end(command)[0] == 0
    assert tree(tmp_path / "bench") == tree(bench.root)
    assert names(tmp_path) == ["bench"]


def test_a_build_whose_workers_are_always_killed_says_so(start, tmp_path):
    command = start(workers=1)
    while command.poll() is None:
        for pid in below(command.pid):
            if "exprbench.core.child_process" in words_of(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    status, said = end(command)
    assert status == 2
    assert "was ended by SIGKILL, 3 times" in said or "worker processes was ended by SIGKILL" in said
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "status"), [("SIGTERM", 143), pytest.param("SIGHUP", 129, marks=pytest.mark.slow), ("SIGINT", 130)]
)
def test_a_build_that_is_stopped_leaves_nothing(start, bench, tmp_path, rng, number, status):
    command = start()
    while command.poll() is None and not names(tmp_path):
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 1))
    started = below(command.pid)
    command.send_signal(getattr(signal, number))
    ended, said = end(command)
    assert gone(started) == []
    assert names(tmp_path) == ([] if ended else ["bench"])  # it can have been faster than the signal
    if ended:
        assert ended == status
        assert said.splitlines()[-1].endswith("; the same command resumes from here")
        assert end(start())[0] == 0
    assert tree(tmp_path / "bench") == tree(bench.root)


def test_the_folder_of_a_build_that_was_killed_is_removed_by_the_next(start, bench, tmp_path):
    command = start()
    while command.poll() is None and not names(tmp_path):
        time.sleep(0.01)
    started = below(command.pid)
    command.kill()
    command.communicate()
    assert gone(started) == []
    assert end(start())[0] in (0, 2)  # 2 if the first was faster than the signal
    assert names(tmp_path) == ["bench"]
    assert tree(tmp_path / "bench") == tree(bench.root)
