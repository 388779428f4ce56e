"""The order in which `benchmarks.two_at_once` starts its commands, and a command that fails."""

from types import SimpleNamespace

import pytest

from benchmarks import two_at_once


@pytest.fixture
def events(monkeypatch, tmp_path):
    """What is started and waited for, in order; commands end with `status`."""
    seen = SimpleNamespace(order=[], status=0)

    def start(bench, method, cache, workers):
        seen.order.append(f"start {method}")

        def wait():
            seen.order.append(f"wait {method}")
            return seen.status

        return SimpleNamespace(wait=wait)

    monkeypatch.setattr(two_at_once, "start", start)
    monkeypatch.setattr(two_at_once, "make_bench", lambda folder, count, num_methods: SimpleNamespace(source="clips"))
    return seen


def test_both_orders_are_timed_with_empty_caches(events, tmp_path):
    rows, source = two_at_once.measure(tmp_path, 2, 1, 1)
    one = ["start 0", "wait 0", "start 1", "wait 1"]
    assert events.order == 2 * (one + ["start 0", "start 1", "wait 0", "wait 1"])
    assert [row.name for row in rows] == ["one after the other", "at once"]
    assert len(list(tmp_path.iterdir())) == 4
    assert source == "clips"


def test_a_command_that_fails_is_no_time(events, tmp_path):
    events.status = 3
    with pytest.raises(RuntimeError, match=r"exit statuses \[3, 3\]; expected 0"):
        two_at_once.measure(tmp_path, 1, 1, 1)
