"""Processes killed at random moments: the run goes on, or the same command does."""

import contextlib
import os
import signal
import sys
import time

import pytest

from tests.failures.runs import below, gone, words_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
SLOW = pytest.mark.slow
WORKER, DECODER = "exprbench.core.child_process", "exprbench.media.decoder"


def some_process(process, what, rng):
    """One of a running command's workers or decoders, at a moment when it has some; None where it ends before."""
    time.sleep(rng.uniform(0, 0.5))
    while process.poll() is None:
        there = [pid for pid in below(process.pid) if what in words_of(pid)]
        if there:
            time.sleep(rng.uniform(0, 0.5))
            return rng.choice(there)
        time.sleep(0.02)
    return None


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_worker_killed_costs_nothing_but_time(scoring, rng):
    process = scoring.start(workers=2)
    worker = some_process(process, WORKER, rng)
    if worker:
        kill(worker)
    assert process.communicate()[1].find("Traceback") == -1
    assert process.returncode == 0
    assert scoring.written() == scoring.record


def test_a_decoder_killed_costs_nothing_but_time(scoring, rng):
    process = scoring.start(workers=2)
    decoder = some_process(process, DECODER, rng)
    if decoder:
        kill(decoder)
    assert "Traceback" not in process.communicate()[1]
    assert process.returncode == 0
    assert scoring.written() == scoring.record


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", *(pytest.param(s, marks=SLOW) for s in ("SIGTERM", "SIGHUP"))])
def test_the_command_ended_and_given_again(scoring, rng, how):
    process = scoring.start(workers=2)
    time.sleep(rng.uniform(0.1, scoring.whole_s))
    started = below(process.pid)
    process.send_signal(getattr(signal, how))
    process.communicate()
    assert gone(started) == []
    scoring.ends_well()
