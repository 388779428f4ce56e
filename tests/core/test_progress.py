"""Progress in plain lines, where standard error is not a terminal."""

import itertools

from exprbench.core import progress as module
from exprbench.core.progress import progress


def lines(monkeypatch, capsys, seconds, total):
    """The lines printed for `total` items of `seconds` each."""
    clock = itertools.count(100, seconds)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert list(progress(range(total), total=total, label="score", unit="case")) == list(range(total))
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_line_every_ten_seconds_has_the_remaining_time(monkeypatch, capsys):
    shown = lines(monkeypatch, capsys, 4, 7)
    assert shown == ["score: 3/7 cases, 16 s left", "score: 6/7 cases, 4 s left", "score: 7/7 cases in 32 s"]


def test_short_runs_have_only_a_last_line(monkeypatch, capsys):
    assert lines(monkeypatch, capsys, 1, 9) == ["score: 9/9 cases in 10 s"]
    assert lines(monkeypatch, capsys, 1, 0) == []


def test_a_line_that_is_due_at_the_end_is_the_last_line(monkeypatch, capsys):
    shown = lines(monkeypatch, capsys, 20, 3)
    assert shown == ["score: 1/3 cases, 40 s left", "score: 2/3 cases, 20 s left", "score: 3/3 cases in 80 s"]


def test_quiet_prints_nothing_and_verbose_prints_details(monkeypatch, capsys):
    module.set_verbosity(module.QUIET)
    try:
        assert lines(monkeypatch, capsys, 20, 3) == []
        module.say("x")
        module.set_verbosity(module.VERBOSE)
        module.say("y", only_verbose=True)
    finally:
        module.set_verbosity(module.NORMAL)
    module.say("z", only_verbose=True)
    assert capsys.readouterr().err == "y\n"
