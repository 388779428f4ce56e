"""However the work is cut, ordered, interrupted or repeated, the record is the same."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from filelock import FileLock

from exprbench import UserError, score
from exprbench.core.cache import cache_root, entry_path
from exprbench.core.errors import ItemError
from exprbench.records import load_record
from exprbench.scoring import run as run_module
from tests.scoring.conftest import without_timing
from tests.toys import ClipBits, FrameBits

TOYS = {"fid": FrameBits(), "fvd": ClipBits()}
METRICS = ["psnr", "ssim", "lmd", "mae", "aed", "apd"]


@pytest.fixture
def expected(method):
    return without_timing(method.score(out=method.folder.parent / "expected.json"))


def fresh_cache(monkeypatch, tmp_path, name):
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / name))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers(method, expected, workers, monkeypatch, tmp_path):
    fresh_cache(monkeypatch, tmp_path, "other")
    assert without_timing(method.score(workers=workers)) == expected


def test_any_order(method, expected, monkeypatch, tmp_path):
    fresh_cache(monkeypatch, tmp_path, "other")
    scores = run_module._score_all

    def shuffled(plan, cases, workers):
        return scores(plan, random.Random(7).sample(cases, len(cases)), workers)

    monkeypatch.setattr(run_module, "_score_all", shuffled)
    assert without_timing(method.score()) == expected


def test_shards_that_share_a_cache_make_the_whole(method, expected, monkeypatch, tmp_path):
    fresh_cache(monkeypatch, tmp_path, "other")
    for i in (3, 1, 2):
        part = method.score(shard=(i, 3), out=tmp_path / f"shard{i}.json")
        assert 0 < len(part.cases) < len(expected.cases)
    files = sum(1 for p in cache_root().rglob("*") if p.is_file() and "locks" not in p.parts)
    assert without_timing(method.score()) == expected
    assert sum(1 for p in cache_root().rglob("*") if p.is_file() and "locks" not in p.parts) == files


def test_a_second_run_computes_nothing(method, expected, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(run_module, "score_case", refuse)
    assert without_timing(method.score()) == expected


def test_another_prediction_is_scored_anew(method, expected):
    method.write("single-self-0001", method.frames("single-self-0001")[::-1])
    changed = method.score()
    assert without_timing(changed) != expected
    assert [a == b for a, b in zip(changed.cases, expected.cases, strict=True)].count(False) == 1


@pytest.mark.parametrize("where", ["cases", "shapes", "pixels"])
def test_a_damaged_cache_entry_is_made_again(method, expected, where):
    for path in (cache_root() / where).rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 255
            path.write_bytes(data)
    assert without_timing(method.score()) == expected


def test_the_whole_cache_gone(method, expected, monkeypatch, tmp_path):
    fresh_cache(monkeypatch, tmp_path, "empty")
    assert without_timing(method.score()) == expected


@pytest.mark.parametrize("gone", ["features", "sets", "references", "cases", "shapes", "pixels"])
def test_a_part_of_the_cache_gone(method, gone):
    """Features whose cases are still there are computed again, for the sets that need them."""
    options = {"metrics": ["fid", "fid_video_mean", "fvd", "psnr"], "track": "self", "networks": TOYS}
    method.write("single-self-0001", method.frames("single-self-0001")[::-1])
    before = without_timing(method.score(**options))
    shutil.rmtree(cache_root() / gone)
    if gone == "features":
        shutil.rmtree(cache_root() / "sets")
    assert without_timing(method.score(**options)) == before


def test_a_case_whose_worker_died_is_an_error_of_the_record(method, monkeypatch):
    def die(function, items, **_):
        for i, item in enumerate(items):
            yield item, function(item) if i else ItemError("worker_crashed", "twice")

    monkeypatch.setattr(run_module, "process_map", die)
    record = method.score(split="single", track="self")
    assert [(c.outcome, c.code, c.detail) for c in record.cases] == [
        ("error", "worker_crashed", "twice"),
        ("scored", "", ""),
    ]
    assert record.groups[0].errors == {"worker_crashed": 1}


def start(method, out, *more):
    command = [sys.executable, "-m", "exprbench.cli", "score", "--benchmark", method.bench.root, "--predictions"]
    command += [method.folder, "--method", "m", "--out", out, "--metrics", ",".join(METRICS), *more]
    return subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle_and_begun_again(method, expected, monkeypatch, tmp_path):
    fresh_cache(monkeypatch, tmp_path, "other")
    out = tmp_path / "m.json"
    for seconds in (0.9, 1.3, 1.8):
        process = start(method, out, "--workers", "2")
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(method, out, "--workers", "2")
    process.communicate()
    assert process.returncode == 0
    assert without_timing(load_record(out)) == expected
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".tmp")] == []


def test_two_scores_of_one_record_at_once(method, tmp_path):
    out = tmp_path / "m.json"
    lock = entry_path("locks/outputs", os.path.realpath(out))
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.with_suffix(".holder").write_text("process 4711 of ada on tower")
    with FileLock(lock), pytest.raises(UserError, match="being written by process 4711 of ada on tower"):
        method.score(out=out)
    assert not out.exists()
    method.score(out=out)


def test_the_holder_of_a_record_is_told_by_the_command(method, tmp_path, monkeypatch):
    fresh_cache(monkeypatch, tmp_path, "other")
    out = tmp_path / "m.json"
    first = start(method, out, "--workers", "1")
    holders = tmp_path / "other" / "locks" / "outputs"
    while first.poll() is None and not list(holders.rglob("*.holder")):
        time.sleep(0.02)
    second = start(method, out, "--workers", "1")
    told = second.communicate()[1]
    first.communicate()
    assert first.returncode == 0
    if second.returncode:  # the first may have ended before the second began
        assert second.returncode == 2
        assert f"being written by process {first.pid}" in told


def test_a_benchmark_that_changes_under_a_running_score_is_refused(method, bench, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bench.root, copy)
    driver = copy / "driving" / "dee.mp4"
    driver.write_bytes(driver.read_bytes() + b"x")
    with pytest.raises(UserError, match="has changed since the benchmark was built"):
        score(
            benchmark=copy, predictions=method.folder, method="m", out=tmp_path / "r.json", metrics=METRICS, workers=0
        )
    assert not (tmp_path / "r.json").exists()


def test_a_description_that_changes_under_a_running_score_is_refused(method, bench, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(bench.root, copy)
    whole = run_module._score_all

    def change(*args):
        scores = whole(*args)
        told = json.loads((copy / "benchmark.json").read_text())
        other = replace(bench, root=copy, fps=24.0)
        (copy / "benchmark.json").write_text(json.dumps({**told, "fps": 24.0, "sha256": other.sha256}))
        return scores

    monkeypatch.setattr(run_module, "_score_all", change)
    with pytest.raises(UserError, match="was changed while it was being scored"):
        score(
            benchmark=copy, predictions=method.folder, method="m", out=tmp_path / "r.json", metrics=METRICS, workers=0
        )
    assert not (tmp_path / "r.json").exists()


def test_a_folder_that_cannot_be_written(method, tmp_path):
    if os.geteuid() == 0:
        out = "/proc/record.json"  # root may write anywhere else
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        out = tmp_path / "locked" / "m.json"
    process = start(method, out, "--workers", "1")
    told = process.communicate()[1]
    assert process.returncode == 2
    assert told.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in told
