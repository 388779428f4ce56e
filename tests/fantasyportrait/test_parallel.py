"""Four processes compute what one does: branches on two, tokens of each over two."""

import os
import socket

import pytest
import torch
import torch.multiprocessing as mp

from exprbench.errors import UserError
from fantasyportrait.parallel import Ranks, TokenShards, join

CPU = torch.device("cpu")
GRIDS = [(2, 2), (1, 2), (4, 1), (2, 1)]  # guidance, context


def latents(ranks=None):
    from fantasyportrait.configs import SIZES
    from fantasyportrait.denoise import Told, denoise
    from fantasyportrait.flow import branches, schedule, starting_noise
    from fantasyportrait.parallel import shard_tokens
    from fantasyportrait.transformer import build_transformer
    from fantasyportrait.windows import lay_windows
    from tests.fantasyportrait.test_transformer import tiny_inputs, tiny_motion

    torch.manual_seed(0)
    model = build_transformer(SIZES["tiny"].backbone)
    shard_tokens(model, ranks.shards if ranks else None)
    portrait, _, text, image = tiny_inputs(model, (2, 6, 10))
    sees = torch.rand(1, 2, 15, 2, generator=torch.Generator().manual_seed(0)) > 0.4
    motion = tiny_motion(model, 2, (2, 6, 10), sees)
    return denoise(
        model,
        starting_noise((1, 16, 3, 6, 10), 0),
        Told({"positive": text, "negative": -text}, image, portrait[:, :20]),
        sigmas=schedule(2),
        branches=branches(4.5, 3),
        windows=lay_windows(3, 2, 1),
        motions=[motion] * 2,
        ranks=ranks,
    )


def worker(rank, world, port, expected, failures):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    places = []
    for guidance, context in GRIDS:
        ranks = join(device=CPU, guidance=guidance, context=context, num_heads=2)
        places.append((ranks.case, ranks.num_cases, ranks.branch, ranks.writes))
        difference = (latents(ranks) - expected).abs().max()
        if difference > 1e-5:
            failures.put(f"rank {rank}, guidance {guidance}, context {context}: {difference}")
    failures.put(places)


def test_processes_together_compute_what_one_does():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["fantasyportrait.denoise", "tests.fantasyportrait.test_transformer"])
    told = context.SimpleQueue()
    processes = [context.Process(target=worker, args=(rank, 4, port, latents(), told)) for rank in range(4)]
    for process in processes:
        process.start()
    reports = [told.get() for _ in processes]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert not [report for report in reports if isinstance(report, str)]
    by_grid = list(zip(*reports, strict=True))
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
