"""How far along a run is, in plain lines, as on a terminal that is none."""

import itertools

from exprbench.core import progress as module
from exprbench.core.progress import progress


def lines(monkeypatch, capsys, seconds, total):
    """What is said of `total` items that take so many seconds each."""
    clock = itertools.count(100, seconds)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert list(progress(range(total), total=total, label="score", unit="case")) == list(range(total))
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_line_comes_every_ten_seconds_and_says_what_is_left(monkeypatch, capsys):
    assert lines(monkeypatch, capsys, 4, 7) == ["score: 3/7 cases, 16 s left", "score: 6/7 cases, 4 s left"]


def test_short_runs_say_nothing(monkeypatch, capsys):
    assert lines(monkeypatch, capsys, 1, 9) == []


def test_the_last_item_needs_no_line(monkeypatch, capsys):
    assert lines(monkeypatch, capsys, 20, 3) == ["score: 1/3 cases, 40 s left", "score: 2/3 cases, 20 s left"]
