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
    assert lines(monkeypatch, capsys, 4, 7) == ["score: 3/7 cases, 16 s left", "score: 6/7 cases, 4 s left"]


def test_short_runs_print_nothing(monkeypatch, capsys):
    assert lines(monkeypatch, capsys, 1, 9) == []


def test_the_last_item_needs_no_line(monkeypatch, capsys):
    assert lines(monkeypatch, capsys, 20, 3) == ["score: 1/3 cases, 40 s left", "score: 2/3 cases, 20 s left"]
