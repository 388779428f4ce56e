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
from tests.closeness import ROUNDING

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[3]


def test_several_processes_compute_the_same_as_one():
    command = [sys.executable, "-m", "tests.fantasyportrait.ranks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert not [report for report in reports if isinstance(report, str)], reports
    assert max(difference for report in reports for *_, difference in report) < ROUNDING
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


def test_tokens_begin_where_the_parts_before_end():
    for total, starts in ((8, [0, 2, 4, 6]), (7, [0, 2, 4, 6]), (5, [0, 2, 4, 6])):
        parts = [TokenShards(None, 4, rank) for rank in range(4)]
        for part in parts:
            part.split(torch.zeros(1, total, 2))
        assert [part.start for part in parts] == starts


@pytest.mark.parametrize(
    ("branch", "rank", "is_writer"), [(0, None, True), (0, 0, True), (0, 1, False), (1, 0, False), (1, None, False)]
)
def test_one_process_of_a_case_writes(branch, rank, is_writer):
    shards = None if rank is None else TokenShards(None, 2, rank)
    assert Ranks(branch=branch, num_branches=2, shards=shards).is_writer == is_writer


@pytest.mark.parametrize(("world", "guidance", "context"), [(8, 3, 1), (4, 2, 4), (6, 2, 2)])
def test_processes_that_do_not_divide_evenly_are_refused(monkeypatch, world, guidance, context):
    monkeypatch.setenv("WORLD_SIZE", str(world))
    message = f"is {world}; expected a multiple of --guidance-parallel {guidance} x --context-parallel {context}$"
    with pytest.raises(UserError, match=message):
        init_distributed(device=CPU, guidance_parallel=guidance, context_parallel=context, num_heads=12)


@pytest.mark.parametrize("context", [5, 24])
def test_heads_must_divide_evenly(monkeypatch, context):
    monkeypatch.setenv("WORLD_SIZE", str(context))
    with pytest.raises(UserError, match=f"--context-parallel is {context}; expected a divisor of the 12 heads"):
        init_distributed(device=CPU, context_parallel=context, num_heads=12)
