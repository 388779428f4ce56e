import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exprbench import UserError
from multiexpr.execution import pool as pool_module
from multiexpr.execution.pool import Pool

HERE = Path(__file__).resolve().parents[3]
WORKER = """
import json, os, signal, sys, time
hello = json.loads(sys.stdin.readline())
for line in sys.stdin:
    request = json.loads(line)
    what = request["what"]
    if what == "crash" or (what == "crash once" and "attempts" not in request):
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(1000)
    if what == "half":
        print('{"half', end="", flush=True); time.sleep(1000)
    if what == "fatal":
        print(json.dumps({"fatal": "the model is missing"}), flush=True)
    elif what == "bug":
        print(json.dumps({"bug": "Traceback"}), flush=True)
    else:
        answer = {"value": 2 * request["n"], "pid": os.getpid(), "hello": hello, "long": "x" * request.get("size", 0)}
        print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def workers(tmp_path, monkeypatch):
    """Pools start a small worker of these tests' own."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    start = subprocess.Popen
    monkeypatch.setattr(
        pool_module.subprocess, "Popen", lambda args, **options: start([sys.executable, script], **options)
    )


def ask(whats, num_workers=2, timeout_s=3.0, **more):
    requests = ((i, {"what": what, "n": i, **more}) for i, what in enumerate(whats))
    with Pool([{"name": "a"}, {"name": "b"}], num_workers, timeout_s) as pool:
        return dict(pool.answers(requests))


def test_every_request_is_answered(workers):
    answers = ask(["ok"] * 50)
    assert {i: a["value"] for i, a in answers.items()} == {i: 2 * i for i in range(50)}
    assert len({a["pid"] for a in answers.values()}) == 2
    assert {a["hello"]["name"] for a in answers.values()} == {"a", "b"}


def test_long_answers_come_whole(workers):
    assert all(len(a["long"]) == 3_000_000 for a in ask(["ok"] * 4, size=3_000_000).values())


def test_a_crash_costs_one_clip(workers):
    answers = ask(["ok", "ok", "crash", "ok", "ok", "crash", "ok"])
    assert {i for i, a in answers.items() if "error" in a} == {2, 5}
    assert answers[2]["error"] == ["worker_crashed", "the process that worked on it died, 2 times"]
    assert sum("value" in a for a in answers.values()) == 5


def test_a_worker_that_dies_for_reasons_of_its_own_costs_nothing(workers):
    assert "value" in ask(["crash once"])[0]


@pytest.mark.parametrize("what", ["hang", "half"])
def test_a_hang_costs_one_clip(workers, what):
    start = time.monotonic()
    answers = ask(["ok", what, "ok", "ok"], timeout_s=1.0)
    assert answers[1]["error"] == ["timeout", "not done after 1 s"]
    assert sum("value" in a for a in answers.values()) == 3
    assert time.monotonic() - start < 20


def test_a_mistake_of_the_users_ends_it_and_so_does_a_bug(workers):
    with pytest.raises(UserError, match="the model is missing"):
        ask(["ok", "fatal", "ok"])
    with pytest.raises(RuntimeError, match="Traceback"):
        ask(["bug"])
    with pytest.raises(UserError, match="--workers is 0"):
        Pool([{}], 0, 1.0)


def test_requests_are_drawn_only_as_workers_are_free(workers):
    drawn = []

    def requests():
        for i in range(20):
            drawn.append(i)
            yield i, {"what": "ok", "n": i}

    with Pool([{}], 2, 3.0) as pool:
        for count, _ in enumerate(pool.answers(requests()), 1):
            assert len(drawn) <= count + 2


def test_nothing_to_do_starts_no_process(workers):
    with Pool([{}], 2, 3.0) as pool:
        assert list(pool.answers(iter([]))) == []
        assert all(worker.process is None for worker in pool.workers)


def test_real_workers_end_with_their_parent(tmp_path):
    """Also when it is killed, and also while they work."""
    hello = {"root": str(tmp_path), "recipe": {}}
    script = (
        "import json, os, signal, sys\nfrom multiexpr.execution.pool import Pool\n"
        f"pool = Pool([{json.dumps(hello)}], 1, 60.0)\nworker = pool.workers[0]\nworker.give(0, {{}})\n"
        "print(worker.process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=HERE, check=False)
    pid = int(run.stdout)
    for _ in range(150):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX":
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")
