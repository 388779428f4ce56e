"""Several processes that form parallel ranks; run by `test_parallel` as a separate program."""

import json
import os
import sys
import traceback
from multiprocessing import get_context

import torch

from fantasyportrait.diffusion.denoise import Conditioning, denoise
from fantasyportrait.diffusion.flow_matching import compute_sigmas, guidance_branches, initial_noise
from fantasyportrait.diffusion.step_cache import MagCacheRule, StepCache
from fantasyportrait.diffusion.windows import split_windows
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.context_parallel import shard_tokens
from fantasyportrait.model.transformer import build_transformer
from fantasyportrait.runtime.parallel import init_distributed
from tests.fantasyportrait.model.test_transformer import tiny_inputs, tiny_motion

WORLD = 4
GRIDS = [(2, 2), (1, 2), (4, 1), (2, 1)]  # guidance_parallel, context_parallel


RULE = MagCacheRule(
    threshold=0.2, max_skip_steps=2, retention_ratio=0.0,
    ratios={"positive+expression": [1.0] * 4, "positive": [1.0, 1.3, 1.0, 1.0], "negative": [1.0] * 4},
)  # fmt: skip


def latents(ranks=None, **options):
    """Denoise two windows with three guidance branches and two people, in one process or several."""
    torch.manual_seed(0)
    model = build_transformer(MODEL_CONFIGS["tiny"].backbone)
    shard_tokens(model, ranks.shards if ranks else None)
    portrait, _, text, image = tiny_inputs(model, (2, 6, 10))
    mask = torch.rand(1, 2, 15, 2, generator=torch.Generator().manual_seed(0)) > 0.4
    motion = tiny_motion(model, 2, (2, 6, 10), mask)
    return denoise(
        model,
        initial_noise((1, 16, 3, 6, 10), 0),
        Conditioning({"positive": text, "negative": -text}, image, portrait[:, :20]),
        branches=guidance_branches(4.5, 3),
        windows=split_windows(3, 2, 1),
        motions=[motion] * 2,
        ranks=ranks,
        **{"sigmas": compute_sigmas(2), **options},
    )


def latents_with_skipped_steps(ranks=None):
    """Denoise with a step cache, with motion in steps 2 and 3 of 4, and with the portrait in every window."""
    return latents(
        ranks, sigmas=compute_sigmas(4), cache=StepCache(4, RULE), motion_steps=range(1, 3), anchor_identity=True
    )


def gradients(ranks=None):
    """Return the gradients of a loss with respect to motion keys and the backbone, averaged over the token ranks;
    45 tokens do not divide by two."""
    torch.manual_seed(0)
    model = build_transformer(MODEL_CONFIGS["tiny"].backbone).requires_grad_()
    shard_tokens(model, ranks.shards if ranks else None)
    inputs = tiny_inputs(model, (3, 6, 10))
    motion = tiny_motion(
        model, 2, (3, 6, 10), torch.rand(1, 3, 15, 2, generator=torch.Generator().manual_seed(0)) > 0.4
    )
    leaves = [t.requires_grad_() for pair in motion.keys_values for t in pair]
    leaves += [model.patch_embedding.weight, model.blocks[0].attn1.to_k.weight, model.blocks[1].ffn.net[2].bias]
    leaves += [model.condition_embedder.time_proj.weight, model.proj_out.weight]
    found = torch.autograd.grad(model(*inputs, motion).square().mean(), leaves)
    flat = torch.cat([gradient.flatten() for gradient in found])
    if ranks and ranks.shards:
        torch.distributed.all_reduce(flat, group=ranks.shards.group)
        flat /= ranks.shards.num_shards
    return flat


def one(rank, pipe):
    """Run one rank: send its position in every grid and the error of its latents relative to a single process, as a
    share of the largest value."""
    torch.set_num_threads(1)
    try:
        expected, expected_gradients = latents(), gradients()
        expected_with_skips = latents_with_skipped_steps()
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(WORLD), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(pipe.recv()))
        results = []
        for guidance, context in GRIDS:
            ranks = init_distributed(
                device=torch.device("cpu"), guidance_parallel=guidance, context_parallel=context, num_heads=2
            )
            difference = float((latents(ranks) - expected).abs().max() / expected.abs().max())
            if (guidance, context) == (2, 2):
                skipping = latents_with_skipped_steps(ranks) - expected_with_skips
                difference = max(difference, float(skipping.abs().max() / expected_with_skips.abs().max()))
            found_gradients = gradients(ranks)
            largest = float(expected_gradients.abs().max())
            assert largest > 1e-3
            difference = max(difference, float((found_gradients - expected_gradients).abs().max()) / largest)
            smallest = ranks.agree_on_minimum([float(rank), float("inf")], torch.device("cpu"))
            assert smallest == [rank - rank % (guidance * context), float("inf")]  # of the ranks that share a video
            results.append((ranks.case, ranks.num_cases, ranks.branch, ranks.is_writer, difference))
        pipe.send(results)
    except Exception:
        pipe.send(traceback.format_exc())


def main():
    """Start the ranks, send them the port of an open store, and print their results as JSON."""
    context = get_context("fork")  # before this process has threads; children need not import again
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
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # as under torchrun: no rank opens its own store
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # or the host's name would be looked up
    main()
