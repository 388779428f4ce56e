"""Speed and memory of a training step with a frozen backbone, compared with a plain loop over the same network.

Weights and data are random. `--size 14b` needs one GPU with 80 GB; `--size tiny` runs on a CPU.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from exprbench.core.cli_base import Parser
from exprbench.core.files import write_json
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.motion_tokens import MotionTokens
from fantasyportrait.model.transformer import build_transformer
from fantasyportrait.training.batches import Batch, Example, SampleKey, collate
from fantasyportrait.training.latent_cache import ExampleEntry
from fantasyportrait.training.predictions import flops_per_token
from fantasyportrait.training.recipes import paper_14b
from fantasyportrait.training.run_log import peak_flops
from fantasyportrait.training.sharding import COMPUTE_DTYPES, TrainingRanks, autocast, memory_gib
from fantasyportrait.training.trainable import TrainableModel, select_trained
from fantasyportrait.training.trainer import Trainer
from fantasyportrait.training.training_config import TrainingConfig

WARM_UP = 2


class RandomStore:
    """One random example of a clip of the given size, served under as many names as asked for."""

    def __init__(self, size: str, width: int, height: int, num_frames: int, num_examples: int = 8) -> None:
        backbone, f = MODEL_CONFIGS[size].backbone, (num_frames - 1) // 4 + 1
        shape = (16, f, height // 8, width // 8)
        self._example = Example(
            name="random",
            latents=torch.randn(shape),
            reference=torch.randn(shape),
            image=torch.randn(257, backbone.image_dim),
            text=torch.randn(64, backbone.text_dim),
            features=torch.randn(1, num_frames, 554),
            labels=torch.zeros(f, height // 16, width // 16, dtype=torch.uint8),
        )
        self.entries = [ExampleEntry(f"random#{i}", "random", self._example.bucket) for i in range(num_examples)]

    def load(self, index: int) -> Example:
        return replace(self._example, name=self.entries[index].name)


def build(size: str, config: TrainingConfig, device: torch.device) -> TrainableModel:
    """Build a model of random weights; the frozen backbone is in the data type of the computation."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(COMPUTE_DTYPES[config.precision])
    with torch.device(device):
        backbone = build_transformer(MODEL_CONFIGS[size].backbone)
    torch.set_default_dtype(default)
    with torch.device(device):
        model = TrainableModel(backbone, MotionAdapter(MODEL_CONFIGS[size].adapter))
    select_trained(model, config.backbone)
    model.backbone.enable_gradient_checkpointing()
    return model


def time_steps(step: Callable[[], Any], num_steps: int, device: torch.device) -> float:
    """Return the mean seconds of a step after warming up."""
    for _ in range(WARM_UP):
        step()
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(num_steps):
        step()
    _synchronise(device)
    return (time.perf_counter() - start) / num_steps


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_trainer(
    config: TrainingConfig,
    model: TrainableModel,
    store: RandomStore,
    empty_prompt: torch.Tensor,
    num_steps: int,
    device: torch.device,
) -> tuple[float, float]:
    """Return the seconds per step and the peak memory in GiB of the trainer."""
    dtype = COMPUTE_DTYPES[config.precision]
    with TemporaryDirectory() as out:
        options = {"empty_prompt": empty_prompt, "out": Path(out), "device": device, "ranks": TrainingRanks()}
        trainer = Trainer(config, model, store, **options)
        loader = trainer._load_batches()
        step = lambda: trainer._train_step([b.to(device, dtype) for b in next(loader)[0]])  # noqa: E731
        seconds = time_steps(step, num_steps, device)
        loader.close()
    return seconds, memory_gib(device)


def plain_step(
    model: TrainableModel, batch: Batch, optimizer: torch.optim.Optimizer, config: TrainingConfig
) -> Callable[[], None]:
    """Return a step as one writes it first: uniform times, no dropout, no average."""
    device = batch.latents.device

    def step() -> None:
        sigma = torch.rand(1, device=device)
        noise = torch.randn_like(batch.latents)
        noisy = (1 - sigma) * batch.latents + sigma * noise
        hidden = torch.cat([noisy.to(batch.portrait.dtype), batch.portrait], 1)
        with autocast(device, config.precision):
            motion = MotionTokens(model.adapter(batch.features))
            velocity = model.backbone(hidden, sigma * 1000, batch.text, batch.image, motion)
        loss = (velocity.float() - (noise - batch.latents)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.adapter.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(
    size: str, clip: tuple[int, int, int], num_steps: int, device: torch.device, precision: str
) -> dict[str, dict[str, float | None]]:
    """Return seconds per step, tokens per second, utilisation and peak memory of the trainer and of the plain loop."""
    width, height, num_frames = clip
    config = replace(paper_14b(), sources=(), batch_size=1, precision=precision, log_every=10**9, save_every=10**9)
    store = RandomStore(size, width, height, num_frames)
    model = build(size, config, device)
    dtype = COMPUTE_DTYPES[precision]
    empty = torch.zeros(1, 512, MODEL_CONFIGS[size].backbone.text_dim)
    ours, peak_ours = time_trainer(config, model, store, empty, num_steps, device)
    batch = collate([store.load(0)], [SampleKey("random", 0)]).to(device, dtype)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    optimizer = torch.optim.AdamW(model.adapter.parameters(), lr=1e-4)
    plain = time_steps(plain_step(model, batch, optimizer, config), num_steps, device)
    peak_rate = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    per_token = flops_per_token(MODEL_CONFIGS[size].backbone, batch.num_tokens, trains_backbone=False)
    flops = per_token * batch.num_tokens
    return {
        name: {
            "s_per_step": seconds,
            "tokens_per_s": batch.num_tokens / seconds,
            "utilisation": flops / seconds / peak_rate if peak_rate else None,
            "memory_gib": memory,
        }
        for name, seconds, memory in (("trainer", ours, peak_ours), ("plain loop", plain, memory_gib(device)))
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = Parser(prog="python -m benchmarks.training", description="Speed and memory of a training step.")
    parser.add_argument("--size", default="14b", choices=tuple(MODEL_CONFIGS), help="size of the model (default: 14b)")
    parser.add_argument("--clip", default="480x832x81", help="WIDTHxHEIGHTxFRAMES of a clip (default: 480x832x81)")
    parser.add_argument("--steps", type=int, default=5, help="number of measured steps (default: 5)")
    parser.add_argument("--device", default="cuda", help="device (default: cuda)")
    parser.add_argument("--precision", default="bf16", choices=tuple(COMPUTE_DTYPES), help="default: bf16")
    parser.add_argument("--json", type=Path, help="file for the results (default: none)")
    args = parser.parse_args(argv)
    width, height, num_frames = map(int, args.clip.split("x"))
    found = measure(args.size, (width, height, num_frames), args.steps, torch.device(args.device), args.precision)
    print(json.dumps(found, indent=2))
    if args.json:
        write_json(args.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
