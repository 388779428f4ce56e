"""Timing, reports and the page of the benchmarks."""

import os
import time

import pytest

from benchmarks.__main__ import MARK, SCRIPTS, write
from benchmarks.common import Row, Table, compare, load, peak_mb, report, to_markdown, tree_cpu_s
from exprbench.media import open_clip
from tests.videos import numbered
from tests.videos import write as write_numbered


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def way(self, *times):
        left = list(times)

        def run():
            self.now += left.pop(0)
            return len(left)

        return run


def test_ways_are_timed_in_turns_and_compared_round_by_round():
    clock = Clock()
    first, second = compare({"a": clock.way(1, 10, 2), "b": clock.way(3, 20, 8)}, repeats=3, clock=clock)
    assert (first.name, first.median_s, first.fastest_s, first.times_slower, first.value) == ("a", 2, 1, 1, 0)
    assert (second.median_s, second.fastest_s, second.times_slower) == (8, 3, 3)  # of 3, 2 and 4


def made(tmp_path, name):
    row = Row(name="ours", median_s=0.0015, fastest_s=0.001, times_slower=1.0, peak_mb=12.3, note="fine")
    return report(name, [Table(title="How long?", rows=[row])], tmp_path / f"{name}.json")


def test_a_report_survives_its_file(tmp_path, capsys):
    result = made(tmp_path, "clip")
    assert "1.5 ms" in capsys.readouterr().out
    assert load(tmp_path / "clip.json") == result
    assert "| ours | 1.5 ms | 1 ms | 1.00 | 12 MB | fine |" in to_markdown(result)


def test_the_page_keeps_its_prose(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Speed\n\nprose\n\n{MARK}\n\nold numbers\n")
    for name in ("zebra", SCRIPTS[1], SCRIPTS[0]):
        made(tmp_path, name)
    for _ in range(2):
        write(page, tmp_path)
    text = page.read_text()
    assert text.startswith(f"# Speed\n\nprose\n\n{MARK}\n")
    assert "old numbers" not in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [*SCRIPTS[:2], "zebra"]


def _allocate():
    return lambda: len(bytearray(os.urandom(1) * 50_000_000))


def test_memory_is_that_of_the_call():
    assert 45 < peak_mb(_allocate) < 120


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
def test_the_time_of_decoders_counts(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", [numbered(i, 640, 480) for i in range(200)])
    with open_clip(path) as clip:
        list(clip)
    before, ours = tree_cpu_s(), time.process_time()
    for _ in range(3):
        with open_clip(path) as clip:
            list(clip)
    assert tree_cpu_s() - before > time.process_time() - ours
