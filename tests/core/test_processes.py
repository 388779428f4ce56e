import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exprbench.core.errors import ItemError, UserError
from exprbench.core.processes import process_map


def square(x):
    return x * x


def square_but_odd_ones_fail(x):
    if x % 2:
        raise ItemError("odd", str(x))
    return x * x


def die_at_three(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def die_once(folder):
    mark = Path(folder) / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def fail(x):
    raise ZeroDivisionError(x)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_back_with_its_result(workers):
    assert dict(process_map(square, range(9), workers=workers, label="test")) == {x: x * x for x in range(9)}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_item_error_takes_the_place_of_a_result(workers):
    results = dict(process_map(square_but_odd_ones_fail, range(6), workers=workers, label="test"))
    assert {x: r.code for x, r in results.items() if isinstance(r, ItemError)} == {1: "odd", 3: "odd", 5: "odd"}
    assert {x: r for x, r in results.items() if isinstance(r, int)} == {0: 0, 2: 4, 4: 16}


def test_an_item_that_kills_its_worker_is_an_error_and_the_others_are_done():
    results = dict(process_map(die_at_three, range(8), workers=2, label="test"))
    assert results.pop(3).code == "worker_crashed"
    assert results == {x: x * x for x in range(8) if x != 3}


def test_a_worker_killed_from_outside_costs_no_result(tmp_path):
    results = list(process_map(die_once, [str(tmp_path)] * 4, workers=2, label="test"))
    assert [r for _, r in results] == ["done"] * 4


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        list(process_map(fail, range(3), workers=2, label="test"))


def test_no_workers_is_a_mistake():
    with pytest.raises(UserError, match="--workers is 0"):
        list(process_map(square, [1], workers=0, label="test"))


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = (
        "import sys, time\nfrom exprbench.core.processes import process_map\n"
        "from tests.core.test_processes import wait_here\n"
        "if __name__ == '__main__':\n    list(process_map(wait_here, [sys.argv[1]] * 2, workers=2, label='test'))\n"
    )
    (tmp_path / "run.py").write_text(script)
    here = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(here)}
    parent = subprocess.Popen([sys.executable, tmp_path / "run.py", tmp_path], env=env)
    pids = []
    for _ in range(300):
        pids = [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]
        if len(pids) == 2:
            break
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail(f"workers {pids} outlived their parent")


def wait_here(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)
