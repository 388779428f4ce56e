"""Four processes compute the same as one: branches on two, tokens of each branch over two."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.model.context_parallel import TokenShards
from fantasyportrait.runtime.parallel import Ranks, init_distributed

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[3]


def test_several_processes_compute_the_same_as_one():
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


def test_a_single_process_has_all_the_work():
    ranks = init_distributed(device=CPU)
    assert ranks == Ranks()
    assert ranks.is_writer
    assert ranks.select_branches([1, 2, 3]) == [1, 2, 3]
    assert torch.equal(ranks.sum_branches(torch.ones(2)), torch.ones(2))


def test_branches_are_distributed_round_robin():
    assert [Ranks(branch=i, num_branches=2).select_branches("abc") for i in range(2)] == [["a", "c"], ["b"]]
    assert Ranks(branch=3, num_branches=4).select_branches("abc") == []


def test_numbers_that_do_not_divide_are_refused(monkeypatch):
    with pytest.raises(UserError, match="the number of processes is 1; expected a multiple of --guidance-parallel 2"):
        init_distributed(device=CPU, guidance_parallel=2)
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(UserError, match="--context-parallel is 8; expected a divisor of the 12 heads"):
        init_distributed(device=CPU, context_parallel=8, num_heads=12)


@pytest.mark.parametrize("total", [6, 7, 8])
def test_shards_are_equal_and_padded_with_zeros(total):
    x = torch.arange(total * 2.0).view(1, total, 2)
    parts = [TokenShards(None, 4, rank).split(x) for rank in range(4)]
    assert {part.shape for part in parts} == {(1, 2, 2)}
    assert torch.equal(torch.cat(parts, 1)[:, :total], x)
    assert not torch.cat(parts, 1)[:, total:].any()
