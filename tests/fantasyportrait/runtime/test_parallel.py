"""Four processes compute what one does: branches on two, tokens of each over two."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.model.context_parallel import TokenShards
from fantasyportrait.runtime.parallel import Ranks, join

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[3]


def test_processes_together_compute_what_one_does():
    command = [sys.executable, "-m", "tests.fantasyportrait.ranks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert not [report for report in reports if isinstance(report, str)], reports
    assert max(difference for report in reports for *_, difference in report) < 1e-5
    by_grid = [[tuple(place) for *place, _ in grid] for grid in zip(*reports, strict=True)]
    assert sorted(by_grid[0]) == [(0, 1, 0, False), (0, 1, 0, True), (0, 1, 1, False), (0, 1, 1, False)]
    assert sorted(case for case, *_ in by_grid[1]) == [0, 0, 1, 1]
    assert sum(writes for *_, writes in by_grid[3]) == 2


def test_alone_there_is_nothing_to_share():
    ranks = join(device=CPU)
    assert ranks == Ranks()
    assert ranks.writes
    assert ranks.own([1, 2, 3]) == [1, 2, 3]
    assert torch.equal(ranks.add_up(torch.ones(2)), torch.ones(2))


def test_branches_are_dealt_out():
    assert [Ranks(branch=i, num_branches=2).own("abc") for i in range(2)] == [["a", "c"], ["b"]]
    assert Ranks(branch=3, num_branches=4).own("abc") == []


def test_numbers_that_do_not_fit_are_told(monkeypatch):
    with pytest.raises(UserError, match="1 processes do not divide"):
        join(device=CPU, guidance=2)
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(UserError, match="12 heads do not spread over 8"):
        join(device=CPU, context=8, num_heads=12)


@pytest.mark.parametrize("total", [6, 7, 8])
def test_parts_are_equal_and_zeros_fill_the_last(total):
    x = torch.arange(total * 2.0).view(1, total, 2)
    parts = [TokenShards(None, 4, rank).split(x) for rank in range(4)]
    assert {part.shape for part in parts} == {(1, 2, 2)}
    assert torch.equal(torch.cat(parts, 1)[:, :total], x)
    assert not torch.cat(parts, 1)[:, total:].any()
