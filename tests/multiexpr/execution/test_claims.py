"""Claims of several owners in one folder; ages are set on the files, so that nothing waits."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from multiexpr.execution.claims import LEASE_S, Claims


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "claims" / "score"


def files(folder):
    return sorted(path.name for path in folder.glob("[!.]*")) if folder.exists() else []


def age(path, seconds, **changes):
    """Make a claim look as if it was created and last renewed that many seconds ago."""
    owner = json.loads(path.read_text())
    path.write_text(json.dumps({**owner, "created": time.time() - seconds, **changes}))
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_shard_has_one_owner_until_it_is_released(folder):
    with Claims(folder) as one, Claims(folder) as other:
        assert one.take("00000")
        assert not other.take("00000")
        assert other.take("00001")
        assert list(one.holders()) == ["00000", "00001"]
        assert one.holders()["00000"].startswith(f"process {os.getpid()} on ")
        one.release("00000")
        assert other.take("00000")


def test_the_end_of_a_process_releases_its_claims_and_leaves_no_file(folder):
    with Claims(folder) as claims:
        claims.take("00000")
        claims.take("00001")
    assert not folder.exists()


def test_of_many_processes_that_claim_a_shard_one_gets_it(folder):
    with ThreadPoolExecutor(16) as pool:
        for round_number in range(20):
            owners = [Claims(folder) for _ in range(16)]
            taken = list(pool.map(lambda owner, name=f"{round_number:05d}": owner.take(name), owners))
            assert sum(taken) == 1


def test_a_stale_claim_is_taken_over_by_one(folder):
    with Claims(folder) as dead:
        dead.take("00000")
        age(folder / "00000.0", LEASE_S + 1)
        with ThreadPoolExecutor(16) as pool:
            owners = [Claims(folder) for _ in range(16)]
            assert sum(pool.map(lambda owner: owner.take("00000"), owners)) == 1
        assert files(folder) == ["00000.0", "00000.1"]
        next(owner for owner in owners if owner.owned).release("00000")
        assert files(folder) == []
        dead.release("00000")  # it goes on after a suspension: its claim is gone, which is no error


def test_a_claim_of_a_process_that_ended_here_is_stale_at_once(folder):
    code = "import os, sys; from pathlib import Path; from multiexpr.execution.claims import Claims\n"
    code += "claims = Claims(Path(sys.argv[1])).__enter__(); claims.take('00000'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, folder], check=False).returncode == 9
    assert files(folder) == ["00000.0"]
    with Claims(folder) as claims:
        assert claims.holders() == {}
        assert claims.take("00000")


@pytest.mark.parametrize(("machine", "is_taken"), [("another", False), (None, True)])
def test_process_ids_count_on_their_own_machine_only(folder, machine, is_taken):
    with Claims(folder) as one, Claims(folder) as other:
        one.take("00000")
        changes = {"pid": 2**22 + 1, **({"machine": machine} if machine else {})}  # no such process
        age(folder / "00000.0", 1, **changes)
        assert other.take("00000") == is_taken


def test_an_owner_renews_its_claim(folder):
    with Claims(folder, lease_s=0.06) as one:
        one.take("00000")
        age(folder / "00000.0", 1000)
        deadline = time.monotonic() + 60
        while time.time() - (folder / "00000.0").stat().st_mtime > 900:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_slow_owner_is_helped_if_patience_ends(folder):
    with Claims(folder) as slow, Claims(folder) as helper, Claims(folder) as third:
        slow.take("00000")
        age(folder / "00000.0", 50)
        os.utime(folder / "00000.0")  # it was renewed just now
        assert not helper.take("00000")
        assert not helper.take("00000", patience_s=60)
        assert helper.take("00000", patience_s=40)
        assert not third.take("00000", patience_s=40)  # the age of the helper's claim counts


def test_a_claim_whose_owner_is_not_written_yet_is_held(folder):
    folder.mkdir(parents=True)
    (folder / "00000.0").touch()
    with Claims(folder) as claims:
        assert not claims.take("00000")
        assert claims.holders() == {"00000": "a process"}
        os.utime(folder / "00000.0", (1, 1))
        assert claims.take("00000")


def test_clocks_of_the_machines_do_not_matter(folder, monkeypatch):
    with Claims(folder) as one, Claims(folder) as other:
        one.take("00000")
        monkeypatch.setattr(time, "time", lambda: 4e9)
        assert not other.take("00000")
