"""Disks that are full, folders that cannot be written, files that change or are cut: one line, and nothing is lost."""

import contextlib
import shutil
import time
from dataclasses import replace

import pytest

from exprbench import UserError
from exprbench.core.cache import cache_root
from exprbench.records import load_record


def entries():
    return [path for path in cache_root().rglob("*") if path.is_file() and "locks" not in path.parts]


def fill(path):
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_full_disk_under_the_cache(scoring, mounted, monkeypatch, tmp_path, rng):
    disk = mounted(tmp_path / "disk", "size=256k,nr_inodes=10000")
    (disk / "taken").write_bytes(bytes(rng.randrange(180_000, 262_144) // 4096 * 4096))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(disk / "cache"))
    process = scoring.start(workers=2)
    told = process.communicate()[1]
    assert process.returncode in (0, 2), told
    if process.returncode:
        assert told.strip().splitlines()[-1].startswith("error: No space left on device")
        assert not scoring.out.exists()
    assert "Traceback" not in told
    (disk / "taken").unlink()
    mounted(disk, "size=8m")
    scoring.ends_well()


def test_a_full_disk_under_the_record(scoring, mounted, tmp_path):
    disk = mounted(tmp_path / "disk", "size=64k")
    (disk / "taken").write_bytes(bytes(16 * 4096 - 4096))
    there = scoring.into(disk / "m.json")
    assert there.refused().startswith("error: No space left on device")
    assert [path.name for path in disk.iterdir()] == ["taken"]
    (disk / "taken").unlink()
    there.ends_well()


def test_a_full_disk_leaves_the_record_that_was_there(scoring, mounted, tmp_path):
    disk = mounted(tmp_path / "disk", "size=64k")
    there = scoring.into(disk / "m.json")
    there.run()
    before = there.out.read_bytes()
    fill(disk / "taken")
    assert "No space left" in there.refused()
    assert there.out.read_bytes() == before


def test_a_read_only_folder_for_the_record(scoring, mounted, tmp_path):
    disk = mounted(tmp_path / "disk", "ro")
    message = "is not writable (Read-only file system); choose another folder with --out"
    assert message in scoring.into(disk / "m.json").refused()
    mounted(disk, "rw")
    scoring.into(disk / "m.json").ends_well()


def test_a_read_only_cache(scoring, mounted, monkeypatch, tmp_path):
    disk = mounted(tmp_path / "disk", "ro")
    monkeypatch.setenv("EXPRBENCH_CACHE", str(disk / "cache"))
    assert scoring.refused().startswith("error: ")
    mounted(disk, "rw")
    scoring.ends_well()


def test_a_driver_that_changes_while_it_is_scored(scoring, tmp_path):
    copy = tmp_path / "bench"
    shutil.copytree(scoring.bench, copy)
    running = replace(scoring, bench=copy)
    process = running.start()
    while process.poll() is None and not entries():
        time.sleep(0.01)
    driver = copy / "driving" / "dee.mp4"
    whole = driver.read_bytes()
    driver.write_bytes(whole + b"\0")
    told = process.communicate()[1]
    assert process.returncode == 2
    assert "has changed since the benchmark was built" in told
    assert not running.out.exists()
    driver.write_bytes(whole)
    running.ends_well()


def test_a_record_cut_anywhere(scored, rng):
    whole = scored.out.read_bytes()
    for _ in range(20):
        scored.out.write_bytes(whole[: rng.randrange(len(whole) - 2)])
        with pytest.raises(UserError, match=r"is not valid JSON|is a record of schema"):
            load_record(scored.out)
    scored.ends_well()


def test_cache_entries_damaged_at_random(scored, rng):
    for path in entries():
        data = bytearray(path.read_bytes())
        kind = rng.choice(("whole", "flip", "cut", "empty", "gone"))
        if kind == "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes({"cut": data[: rng.randrange(len(data))], "empty": b""}.get(kind, data))
        if kind == "gone":
            path.unlink()
    scored.ends_well()
