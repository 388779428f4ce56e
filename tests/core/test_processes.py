import errno
import os
import platform
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from exprbench.core.errors import ItemError, UserError
from exprbench.core.processes import Limits, Pool, WorkerKilled, exit_text, process_map

HERE = Path(__file__).parents[2]


def square(x):
    return x * x


def append_a_line(path):
    with open(path, "a", encoding="utf-8") as file:
        file.write("called\n")


def odd_numbers_fail(x):
    if x % 2:
        raise ItemError("odd", str(x))
    return x * x


def act(item):
    """Do what the item says; `(action, argument)`."""
    action, argument = item
    if action == "signal":
        os.kill(os.getpid(), argument)
    elif action == "signal once":
        number, mark = argument
        if not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), number)
    elif action == "exit":
        os._exit(argument)
    elif action == "hang":
        time.sleep(1000)
    elif action == "raise":
        raise argument
    elif action == "allocate":
        memory = bytearray(argument)
        memory[::4096] = b"x" * len(memory[::4096])
        time.sleep(1000)
    elif action == "text":
        return "x" * argument
    elif action == "pid":
        return os.getpid()
    return "done"


def run(items, workers=2, **limits):
    return [result for _, result in process_map(act, items, workers=workers, label="test", limits=Limits(**limits))]


def by_item(items, workers=2, **limits):
    return dict(process_map(act, items, workers=workers, label="test", limits=Limits(**limits)))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_item_comes_back_with_its_result(workers):
    assert dict(process_map(square, range(9), workers=workers, label="test")) == {x: x * x for x in range(9)}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_item_error_takes_the_place_of_a_result(workers):
    results = dict(process_map(odd_numbers_fail, range(6), workers=workers, label="test"))
    assert {x: r.code for x, r in results.items() if isinstance(r, ItemError)} == {1: "odd", 3: "odd", 5: "odd"}
    assert {x: r for x, r in results.items() if isinstance(r, int)} == {0: 0, 2: 4, 4: 16}


def test_a_function_without_a_result_is_called_once_for_each_item(tmp_path):
    results = dict(process_map(append_a_line, [str(tmp_path / name) for name in "ab"], workers=2, label="test"))
    assert list(results.values()) == [None, None]
    assert [(tmp_path / name).read_text() for name in "ab"] == ["called\n"] * 2


def test_functions_of_a_script_or_notebook_can_be_used():
    code = (
        "from exprbench.core.processes import process_map\n"
        "def double(x):\n    return 2 * x\n"
        "print(sorted(r for _, r in process_map(double, range(4), workers=2, label='test')))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE, check=True).stdout
    assert out == "[0, 2, 4, 6]\n"


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    (tmp_path / "script.py").write_text(
        "print('started')\nfrom exprbench.core.processes import process_map\n"
        "def double(x):\n    return 2 * x\n"
        "print(sorted(r for _, r in process_map(double, range(3), workers=2, label='test')))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    run = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, env=env, check=True)
    assert run.stdout == "started\n[0, 2, 4]\n"


def count_page_faults(rounds):
    """Return the page faults of rounds of four arrays of 3 MB, which have 3,072 pages."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        _arrays = [np.ones(3 << 17) for _ in range(4)]
        del _arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of other systems has no such settings")
def test_workers_keep_the_memory_of_large_arrays():
    ((_, faults),) = process_map(count_page_faults, [20], workers=2, label="test")
    assert faults < 3 * 3072


def test_long_results_arrive_whole():
    assert [len(text) for text in run([("text", 3_000_000)] * 4)] == [3_000_000] * 4


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE])
def test_a_crash_costs_one_item(number):
    bad = ("signal", number)
    results = by_item([("ok", i) for i in range(6)] + [bad])
    error = results.pop(bad)
    assert (error.code, error.detail) == ("worker_crashed", f"its worker process was ended by {number.name}, 2 times")
    assert set(results.values()) == {"done"}


def test_a_worker_that_exits_is_a_crash():
    (error,) = run([("exit", 3)])
    assert (error.code, error.detail) == ("worker_crashed", "its worker process exited with status 3, 2 times")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_an_item_whose_worker_dies_once_is_tried_again(tmp_path, number):
    items = [("signal once", (number, str(tmp_path / "mark"))), ("ok", 0), ("ok", 1)]
    assert run(items) == ["done"] * 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_that_are_killed_from_outside_are_not_the_items_fault(number):
    bad = ("signal", number)
    error = by_item([bad, ("ok", 1)])[bad]
    assert isinstance(error, WorkerKilled)
    assert error.code == "worker_killed"


def test_an_item_that_hangs_is_ended_at_its_time_limit():
    results = by_item([("hang", 0), *(("ok", i) for i in range(4))], timeout_s=5.0)
    error = results.pop(("hang", 0))
    assert (error.code, error.detail) == ("timeout", "it was not done after 5 s")
    assert set(results.values()) == {"done"}


def test_a_stopped_worker_counts_as_hanging():
    (error,) = run([("signal", signal.SIGSTOP)], timeout_s=5.0)
    assert error.code == "timeout"


def test_an_item_that_needs_too_much_memory_is_ended():
    results = by_item([("allocate", 1 << 30), ("ok", 1)], memory_bytes=600 << 20)
    error = results.pop(("allocate", 1 << 30))
    assert (error.code, error.detail) == ("out_of_memory", "it needed more than 0.6 GiB of memory")
    assert set(results.values()) == {"done"}


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), UserError("the model is missing"), OSError(errno.ENOSPC, "full", "a.mp4")]
)
def test_other_exceptions_end_the_run_with_their_type_and_traceback(error):
    with pytest.raises(type(error)) as raised:
        run([("ok", 0), ("raise", error), ("ok", 1)])
    assert str(raised.value) == str(error)
    assert "in act\n" in str(raised.value.__cause__)


def test_workers_that_cannot_start_end_the_run():
    with (
        pytest.raises(UserError, match="worker processes exited with status 7"),
        Pool([partial(os._exit, 7)], num_workers=2) as pool,
    ):
        list(pool.map(enumerate(range(8))))


def test_a_setup_that_fails_is_raised():
    with pytest.raises(ValueError, match="invalid literal"), Pool([partial(int, "x")], num_workers=1) as pool:
        list(pool.map(enumerate(range(2))))


def times(factor):
    return partial(pow, exp=factor)


def test_setups_are_assigned_in_turn():
    with Pool([partial(times, 2), partial(times, 3)], num_workers=2) as pool:
        assert {result for _, result in pool.map((i, 2) for i in range(40))} == {4, 8}


def test_items_are_drawn_only_as_workers_are_free():
    drawn = []

    def items():
        for i in range(12):
            drawn.append(i)
            yield i, ("ok", i)

    with Pool([partial(lambda: act)], num_workers=2) as pool:
        for count, _ in enumerate(pool.map(items()), 1):
            assert len(drawn) <= count + 2


def test_nothing_to_do_starts_no_process():
    with Pool([partial(lambda: act)], num_workers=2) as pool:
        assert list(pool.map(iter([]))) == []
        assert all(worker.process is None for worker in pool.workers)


@pytest.mark.parametrize("workers", [-1, -5])
def test_a_negative_number_of_workers_is_a_mistake(workers):
    with pytest.raises(UserError, match=f"--workers is {workers}"):
        list(process_map(square, [1], workers=workers, label="test"))
    with pytest.raises(UserError, match="--workers is 0"):
        Pool([partial(lambda: act)], num_workers=0)


def wait_here(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def started(folder, count):
    for _ in range(1200):
        pids = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
        if len(pids) == count:
            return pids
        time.sleep(0.1)
    pytest.fail("the workers did not start")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path, number):
    code = (
        "import sys\nfrom exprbench.core.processes import process_map\n"
        "from tests.core.test_processes import wait_here\n"
        "list(process_map(wait_here, [sys.argv[1]] * 2, workers=2, label='test'))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=HERE, stderr=subprocess.DEVNULL)
    pids = started(tmp_path, 2)
    parent.send_signal(number)
    parent.wait(600)
    for _ in range(1200):
        if not any(map(is_running, pids)):
            return
        time.sleep(0.1)
    pytest.fail(f"workers {pids} outlived their parent")


def keep_a_temporary_file(folder):
    mark = Path(folder) / "temporary"
    mark.touch()
    try:
        time.sleep(600)
    finally:
        mark.unlink()


def test_a_worker_that_is_stopped_removes_its_temporary_files(tmp_path):
    items, limits = [str(tmp_path)], Limits(timeout_s=5.0)
    ((_, error),) = process_map(keep_a_temporary_file, items, workers=1, label="test", limits=limits)
    assert error.code == "timeout"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "text"), [(1, "exited with status 1"), (-9, "was ended by SIGKILL"), (-99, "was ended by signal 99")]
)
def test_the_end_of_a_process_in_words(status, text):
    assert exit_text(status) == text
