"""The training loop."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exprbench.core.errors import UserError
from fantasyportrait.model.configs import BackboneConfig
from fantasyportrait.training.batches import Batch, SampleKey, collate
from fantasyportrait.training.diagnostics import expression_losses, loss_by_level, save_failed_batch, summarise
from fantasyportrait.training.ema import ExponentialAverage
from fantasyportrait.training.latent_cache import ExampleStore
from fantasyportrait.training.mixing_sampler import MixingSampler, SamplerState, deal
from fantasyportrait.training.objective import StepDraws, draw_step, flow_matching_loss
from fantasyportrait.training.predictions import flops_per_token
from fantasyportrait.training.run_checkpoints import find_checkpoints, load_checkpoint, save_checkpoint
from fantasyportrait.training.run_log import RunLog, Throughput, peak_flops, progress_line
from fantasyportrait.training.sharding import (
    COMPUTE_DTYPES,
    TrainingRanks,
    autocast,
    full_tensor,
    memory_gib,
    set_gradient_sync,
)
from fantasyportrait.training.trainable import TrainableModel, trained_parameters
from fantasyportrait.training.training_config import OptimizerConfig, TrainingConfig

VALIDATION_BATCHES = 4


def build_optimizer(model: TrainableModel, config: OptimizerConfig, *, full_backbone: bool) -> torch.optim.Optimizer:
    """Build AdamW over the trained parameters, in groups with their own rates.

    Raises:
        UserError: 8-bit states are asked for, but torchao is not installed.
    """
    own, backbone = [], []
    for name, parameter in trained_parameters(model):
        (backbone if full_backbone and name.startswith("backbone.") else own).append(parameter)
    groups: list[dict[str, Any]] = [{"params": own, "peak_lr": config.learning_rate}]
    if backbone:
        groups.append({"params": backbone, "peak_lr": config.backbone_learning_rate})
    options: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "weight_decay": config.weight_decay,
    }
    if not config.eight_bit:
        return torch.optim.AdamW(groups, **options)
    try:
        from torchao.optim import AdamW8bit
    except ImportError as error:
        raise UserError("optimizer.eight_bit needs torchao; install it with: pip install torchao") from error
    return AdamW8bit(groups, **options)


def rate_factor(step: int, steps: int, config: OptimizerConfig) -> float:
    """Return the factor of the learning rates in step `step` of `steps`, counted from 1."""
    rising = step / config.warmup_steps if config.warmup_steps else 1.0
    falling = (steps - step + 1) / (config.decay * steps) if config.decay else 1.0
    return min(1.0, rising, falling)


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set the learning rate of a parameter group; 8-bit optimizers keep it in a tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


class Trainer:
    """State of a run and its loop; `run` trains until the last step.

    Args:
        config: settings.
        model: on the device, sharded, with `requires_grad` set.
        store: training examples.
        empty_prompt: embedding of the empty prompt, (1, 512, text_dim).
        out: folder of the run; if it holds a checkpoint, the run continues from it.
        device: device of this process.
        ranks: position of this process.
        validation: examples of the diagnostics; by default the training examples.
    """

    def __init__(
        self,
        config: TrainingConfig,
        model: TrainableModel,
        store: ExampleStore,
        *,
        empty_prompt: Tensor,
        out: Path,
        device: torch.device,
        ranks: TrainingRanks,
        validation: ExampleStore | None = None,
    ) -> None:
        self.config, self.model, self.store, self.out = config, model, store, out
        self.device, self.ranks, self.validation = device, ranks, validation or store
        self.dtype = COMPUTE_DTYPES[config.precision]
        self.empty_prompt = empty_prompt.to(device, self.dtype)
        self.optimizer = build_optimizer(model, config.optimizer, full_backbone=config.backbone == "full")
        self.ema = ExponentialAverage(model, config.ema) if config.ema else None
        self.step, self.data_state = 0, SamplerState(seed=config.seed)
        if checkpoints := find_checkpoints(out):
            given = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
            self.step, self.data_state = load_checkpoint(checkpoints[-1], model, self.optimizer, self.ema, ranks)
            for group, settings in zip(self.optimizer.param_groups, given, strict=True):
                group.update(settings)  # those of this command, not of the checkpoint
        self.sampler = MixingSampler(store.entries, config.sources, config.batch_size, self.data_state)
        self.log = RunLog(out, first_step=self.step, enabled=ranks.is_main)
        self._levels: list[tuple[Tensor, Tensor]] = []

    def run(self, *, on_validation: Any = None) -> None:
        """Train until the last step.

        Args:
            on_validation: called with this trainer after the diagnostics of a validation; returns values to log.

        Raises:
            UserError: the loss or the gradient is not finite; the batch is saved.
        """
        if self.step:
            self.log.say(f"continuing from step {self.step}")
        rate = Throughput(self._peak_flops())
        for batches, state in self._load_batches():
            if self.step >= self.config.steps:
                break
            values = self._train_step([batch.to(self.device, self.dtype) for batch in batches])
            self.data_state = state
            rate.update(sum(batch.num_tokens for batch in batches), sum(map(self._flops, batches)))
            self._report(values, rate)
            if self._is_due(self.config.validate_every):
                self._validate(on_validation)
            if self._is_due(self.config.save_every):
                self.save()

    def _is_due(self, interval: int) -> bool:
        return self.step % interval == 0 or self.step == self.config.steps

    def save(self) -> Path:
        """Write a checkpoint."""
        return save_checkpoint(
            self.out, self.step, self.data_state, self.model, self.optimizer, self.ema, self.ranks,
            keep=self.config.keep,
        )  # fmt: skip

    def _load_batches(self) -> Iterator[tuple[list[Batch], SamplerState]]:
        """Yield this process's micro-batches of each step, loaded one step ahead, with the state after the step."""
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(self._load_next)
            while True:
                loaded, pending = pending.result(), pool.submit(self._load_next)
                yield loaded

    def _load_next(self) -> tuple[list[Batch], SamplerState]:
        samples = deal(self.sampler.next_batch(), self.ranks.data, self.ranks.num_data)
        size = self.config.micro_batch
        parts = [samples[i : i + size] for i in range(0, len(samples), size)]
        batches = [collate([self.store.load(s.index) for s in part], [s.key for s in part]) for part in parts]
        return batches, self.sampler.state

    def _train_step(self, batches: Sequence[Batch]) -> dict[str, Any]:
        self.step += 1
        self.optimizer.zero_grad()
        drawn = [draw_step(self.config.objective, batch, self.config.seed) for batch in batches]
        losses = [
            self._backward(batch, draws, len(batches), is_last=i == len(batches) - 1)
            for i, (batch, draws) in enumerate(zip(batches, drawn, strict=True))
        ]
        loss = self.ranks.mean(torch.stack(losses).mean())
        norm = self._clip_gradient()
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise save_failed_batch(self.out, self.step, self.ranks.rank, list(zip(batches, drawn, strict=True)))
        factor = rate_factor(self.step, self.config.steps, self.config.optimizer)
        for group in self.optimizer.param_groups:
            set_rate(group, group["peak_lr"] * factor)
        self.optimizer.step()
        if self.ema:
            self.ema.update(self.model)
        rate = float(self.optimizer.param_groups[0]["lr"])
        return {"loss": float(loss), "grad_norm": float(norm), "learning_rate": rate}

    def _backward(self, batch: Batch, draws: StepDraws, num_passes: int, *, is_last: bool) -> Tensor:
        set_gradient_sync(self.model, is_last)
        with autocast(self.device, self.config.precision):
            loss = flow_matching_loss(self.model, batch, draws, self.config.objective, self.empty_prompt)
        (loss.total / num_passes).backward()
        self._levels.append((draws.sigmas, loss.plain))
        return loss.total.detach()

    def _clip_gradient(self) -> Tensor:
        parameters = [p for _, p in trained_parameters(self.model)]
        return full_tensor(torch.nn.utils.clip_grad_norm_(parameters, self.config.optimizer.clip_norm))

    def _report(self, values: dict[str, Any], rate: Throughput) -> None:
        is_due = self._is_due(self.config.log_every)
        if is_due:
            sigmas, losses = (torch.cat(parts) for parts in zip(*self._levels, strict=True))
            self._levels = []
            values |= rate.report(self.config.steps - self.step)
            values["loss_by_level"] = loss_by_level(sigmas, losses, self.ranks)
            values["memory_gib"] = memory_gib(self.device)
        self.log.write(self.step, {**values, "epoch": self.data_state.epoch})
        if is_due:
            self.log.say(progress_line(self.step, self.config.steps, values))

    def _validate(self, on_validation: Any) -> None:
        with autocast(self.device, self.config.precision):
            losses = expression_losses(
                self.model, self.validation_batches(), self.config.objective, self.empty_prompt, self.ranks
            )
        means = summarise(losses)
        self.log.say("validation: " + ", ".join(f"{kind} expressions {value:.4f}" for kind, value in means.items()))
        values: dict[str, Any] = {"validation": means, "validation_by_level": losses}
        if on_validation:
            values |= on_validation(self) or {}
        self.log.write(self.step, values)

    def validation_batches(self) -> list[Batch]:
        """Return the batches of the diagnostics: the first examples of one size, two or more in each batch."""
        entries = self.validation.entries
        size = max(2, self.config.micro_batch)
        indices = [i for i, entry in enumerate(entries) if entry.bucket == entries[0].bucket]
        wanted = VALIDATION_BATCHES * size * self.ranks.num_data
        indices = (indices * -(-wanted // len(indices)))[:wanted] if len(indices) < wanted else indices[:wanted]
        own = indices[self.ranks.data :: self.ranks.num_data]
        examples = [self.validation.load(i) for i in own]
        batches = [examples[i : i + size] for i in range(0, len(examples), size)]
        return [collate(batch, [SampleKey(e.name, 0) for e in batch]).to(self.device, self.dtype) for batch in batches]

    def _flops(self, batch: Batch) -> float:
        """Return the operations of a batch on this device, without recomputation, as is usual for utilisation."""
        clip_tokens = batch.num_tokens // len(batch.keys)
        sizes = {f.name: getattr(self.model.backbone.config, f.name) for f in fields(BackboneConfig)}
        is_full = self.config.backbone == "full"
        per_token = flops_per_token(BackboneConfig(**sizes), clip_tokens, trains_backbone=is_full)
        return per_token * batch.num_tokens / self.config.context_parallel

    def _peak_flops(self) -> float | None:
        return peak_flops(torch.cuda.get_device_name(self.device)) if self.device.type == "cuda" else None
