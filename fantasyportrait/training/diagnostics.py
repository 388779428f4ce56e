"""Diagnostics of a training run: loss by noise level, with true, shuffled and dropped expressions; batches with NaN."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from exprbench.core.errors import UserError
from exprbench.core.files import write_json
from fantasyportrait.checkpoints.tensors import save_tensors
from fantasyportrait.training.batches import Batch
from fantasyportrait.training.draws import draw_noise
from fantasyportrait.training.objective import StepDraws, flow_matching_loss
from fantasyportrait.training.objective_config import ObjectiveConfig
from fantasyportrait.training.run_log import NUM_BINS
from fantasyportrait.training.sharding import TrainingRanks

EXPRESSIONS = ("true", "shuffled", "dropped")


def stratified_sigmas(num: int = NUM_BINS) -> list[float]:
    """Return noise levels in the middle of `num` equal parts of [0, 1]."""
    return [(i + 0.5) / num for i in range(num)]


@torch.no_grad()
def expression_losses(
    model: torch.nn.Module,
    batches: Sequence[Batch],
    config: ObjectiveConfig,
    empty_prompt: Tensor,
    ranks: TrainingRanks,
) -> dict[str, dict[str, float]]:
    """Return the mean loss for each kind of expression and noise level; noise and levels are equal at every call.

    If the loss with true expressions is not below that with shuffled ones, the model does not use its conditioning,
    however low the total is.

    Args:
        model: a `TrainableModel`.
        batches: on the model's device, of at least two samples each; every process has equally many.
        config: settings of the objective, of which dropout is not applied.
        empty_prompt: embedding of the empty prompt.
        ranks: processes over which losses are averaged.
    """
    losses = {kind: {} for kind in EXPRESSIONS}
    for sigma in stratified_sigmas():
        for kind in EXPRESSIONS:
            values = [_loss(model, batch, sigma, kind, config, empty_prompt) for batch in batches]
            losses[kind][f"{sigma:.4f}"] = float(ranks.mean(torch.stack(values).mean()))
    return losses


def _loss(
    model: torch.nn.Module, batch: Batch, sigma: float, kind: str, config: ObjectiveConfig, empty_prompt: Tensor
) -> Tensor:
    shape, device = tuple(batch.latents.shape[1:]), batch.latents.device
    noise = torch.stack([draw_noise(0, f"validation {key.name} {sigma}", 0, shape) for key in batch.keys]).to(device)
    keep = torch.zeros(len(batch.keys), dtype=torch.bool, device=device)
    draws = StepDraws(
        torch.full((len(batch.keys),), sigma, device=device), noise, keep | (kind == "dropped"), keep, keep
    )
    batch = batch.shuffle_expressions() if kind == "shuffled" else batch
    config = replace(config, face_weight=0.0)
    return flow_matching_loss(model, batch, draws, config, empty_prompt).plain.mean()


def summarise(losses: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the mean over noise levels of each kind's loss."""
    return {kind: sum(levels.values()) / len(levels) for kind, levels in losses.items()}


def loss_by_level(sigmas: Tensor, losses: Tensor, ranks: TrainingRanks) -> list[float | None]:
    """Return the mean loss in each of `NUM_BINS` equal parts of the noise level, over all processes; None if empty."""
    bins = (sigmas * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    sums = torch.zeros(2, NUM_BINS, dtype=torch.float64, device=sigmas.device)
    sums[0].index_add_(0, bins, losses.double())
    sums[1].index_add_(0, bins, torch.ones_like(losses, dtype=torch.float64))
    totals, counts = ranks.sum(sums).tolist()
    return [total / count if count else None for total, count in zip(totals, counts, strict=True)]


def save_failed_batch(out: Path, step: int, rank: int, batches: Sequence[tuple[Batch, StepDraws]]) -> UserError:
    """Save the batches of a step whose loss or gradient is not finite, and return the error to raise.

    `nonfinite/step-N-rank-R-I.safetensors` holds the tensors, the `.json` next to it the names of the samples.
    """
    names = []
    for i, (batch, draws) in enumerate(batches):
        path = out / "nonfinite" / f"step-{step:07d}-rank-{rank}-{i}.safetensors"
        tensors = {**vars(batch), **{f"draws.{name}": value for name, value in vars(draws).items()}}
        save_tensors(path, {k: v.detach().cpu() for k, v in tensors.items() if isinstance(v, Tensor)})
        keys = [key._asdict() for key in batch.keys]
        write_json(path.with_suffix(".json"), {"step": step, "samples": keys})
        names += [key.name for key in batch.keys]
    return UserError(
        f"the loss or its gradient is not finite at step {step}; the samples of process {rank} were "
        f"{', '.join(names)}; their batch is saved in {out / 'nonfinite'}"
    )
