"""Several processes in which parallel ranks meet; run by `test_parallel` as a module of its own."""

import json
import os
import sys
import traceback
from multiprocessing import get_context

import torch

from fantasyportrait.diffusion.denoise import Conditioning, denoise
from fantasyportrait.diffusion.flow_matching import branches, initial_noise, schedule
from fantasyportrait.diffusion.windows import lay_windows
from fantasyportrait.model.configs import SIZES
from fantasyportrait.model.context_parallel import shard_tokens
from fantasyportrait.model.transformer import build_transformer
from fantasyportrait.runtime.parallel import join
from tests.fantasyportrait.model.test_transformer import tiny_inputs, tiny_motion

WORLD = 4
GRIDS = [(2, 2), (1, 2), (4, 1), (2, 1)]  # guidance, context


def latents(ranks=None):
    """Two windows, three guidance branches and two people, by one process or several."""
    torch.manual_seed(0)
    model = build_transformer(SIZES["tiny"].backbone)
    shard_tokens(model, ranks.shards if ranks else None)
    portrait, _, text, image = tiny_inputs(model, (2, 6, 10))
    mask = torch.rand(1, 2, 15, 2, generator=torch.Generator().manual_seed(0)) > 0.4
    motion = tiny_motion(model, 2, (2, 6, 10), mask)
    return denoise(
        model,
        initial_noise((1, 16, 3, 6, 10), 0),
        Conditioning({"positive": text, "negative": -text}, image, portrait[:, :20]),
        sigmas=schedule(2),
        branches=branches(4.5, 3),
        windows=lay_windows(3, 2, 1),
        motions=[motion] * 2,
        ranks=ranks,
    )


def one(rank, pipe):
    """A rank: for every grid its place in it, and how far its latents are from those of a single process."""
    torch.set_num_threads(1)
    try:
        expected = latents()
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(WORLD), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(pipe.recv()))
        conditioning = []
        for guidance, context in GRIDS:
            ranks = join(device=torch.device("cpu"), guidance=guidance, context=context, num_heads=2)
            difference = float((latents(ranks) - expected).abs().max())
            conditioning.append((ranks.case, ranks.num_cases, ranks.branch, ranks.writes, difference))
        pipe.send(conditioning)
    except Exception:
        pipe.send(traceback.format_exc())


def main():
    """Start the ranks, give them a port that nobody else can have taken, and print what each says."""
    context = get_context("fork")  # before anything here has threads: what is imported need not be imported again
    pipes = [context.Pipe() for _ in range(WORLD)]
    processes = [context.Process(target=one, args=(i, pipes[i][1]), daemon=True) for i in range(WORLD)]
    for process in processes:
        process.start()
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for here, _ in pipes:
        here.send(store.port)
    json.dump([here.recv() for here, _ in pipes], sys.stdout)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # as under torchrun: no rank opens a store of its own
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # or the host's name would be looked up
    main()
