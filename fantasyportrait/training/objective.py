"""Objective of training: flow matching with shifted logit-normal times and independently dropped conditions.

Legend: B batch, f latent frames, h and w rows and columns of latents, N people.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fantasyportrait.model.dropout import drop_reference
from fantasyportrait.training.batches import Batch, SampleKey
from fantasyportrait.training.draws import draw_noise, draw_normal, draw_uniform
from fantasyportrait.training.objective_config import ObjectiveConfig


@dataclass(frozen=True)
class StepDraws:
    """Random draws for a batch: sigmas (B,) in (0, 1), noise (B, 16, f, h, w), dropped conditions (B,) bool."""

    sigmas: Tensor
    noise: Tensor
    expression: Tensor
    prompt: Tensor
    reference: Tensor


@dataclass(frozen=True)
class StepLoss:
    """Loss of a batch: `total`, a scalar with gradients, and for each sample its plain and weighted loss, (B,)."""

    total: Tensor
    plain: Tensor
    weighted: Tensor


def shift_sigma(sigma: float, shift: float) -> float:
    """Shift a noise level in [0, 1] towards noise, as the sampler's schedule does."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def draw_sigma(config: ObjectiveConfig, seed: int, key: SampleKey) -> float:
    """Draw a noise level: the sigmoid of a normal number, shifted."""
    logit = config.logit_mean + config.logit_std * draw_normal(seed, key.name, key.epoch, "sigma")
    return shift_sigma(1 / (1 + math.exp(-logit)), config.shift)


def draw_step(config: ObjectiveConfig, batch: Batch, seed: int) -> StepDraws:
    """Draw noise levels, noise and dropped conditions of a batch; each sample's draws depend on its key alone."""
    device = batch.latents.device
    dropped = {
        name: torch.tensor([draw_uniform(seed, key.name, key.epoch, f"drop {name}") < share for key in batch.keys])
        for name, share in (
            ("expression", config.drop_expression),
            ("prompt", config.drop_prompt),
            ("reference", config.drop_reference),
        )
    }
    shape = tuple(batch.latents.shape[1:])
    noise = torch.stack([draw_noise(seed, key.name, key.epoch, shape) for key in batch.keys])
    sigmas = torch.tensor([draw_sigma(config, seed, key) for key in batch.keys], dtype=torch.float32)
    return StepDraws(sigmas.to(device), noise.to(device), **{n: t.to(device) for n, t in dropped.items()})


def add_noise(latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Return z = (1 - sigma) x + sigma noise in float32, for latents (B, 16, f, h, w) and sigmas (B,)."""
    s = sigmas.view(-1, 1, 1, 1, 1)
    return (1 - s) * latents.float() + s * noise


def velocity_target(latents: Tensor, noise: Tensor) -> Tensor:
    """Return noise - x, the direction that Wan predicts; the paper's Eq. (1) has the other sign for its own z."""
    return noise - latents.float()


def face_weights(labels: Tensor, size: tuple[int, int], weight: float) -> Tensor:
    """Return weights (B, 1, f, h, w) that are 1 + `weight` in faces and 1 elsewhere, divided by each sample's mean.

    Args:
        labels: face of each token, (B, f, h / 2, w / 2), 0 for the background.
        size: (h, w).
        weight: additional weight of faces.
    """
    factor = size[0] // labels.shape[2], size[1] // labels.shape[3]
    is_face = (labels > 0).float().repeat_interleave(factor[0], 2).repeat_interleave(factor[1], 3)
    weights = (1 + weight * is_face).unsqueeze(1)
    return weights / weights.mean((1, 2, 3, 4), keepdim=True)


def drop_conditions(
    batch: Batch, draws: StepDraws, empty_prompt: Tensor, *, masked: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the conditions of a batch after dropout: text, image tokens, image condition, attention mask.

    A dropped prompt is the embedding of the empty prompt. A dropped reference image is zero in its CLIP tokens, mask
    and latents. A dropped expression is a sample without people: its motion attention is exactly zero.
    """
    text = torch.where(draws.prompt[:, None, None], empty_prompt.to(batch.text), batch.text)
    image, portrait = drop_reference(batch.image, batch.portrait, draws.reference)
    mask = batch.attention_mask(torch.where(draws.expression, 0, batch.counts), masked=masked)
    return text, image, portrait, mask


def flow_matching_loss(
    model: torch.nn.Module, batch: Batch, draws: StepDraws, config: ObjectiveConfig, empty_prompt: Tensor
) -> StepLoss:
    """Compute the loss of a batch, Eq. (1): the mean squared error of the predicted velocity, in float32.

    Args:
        model: a `TrainableModel`.
        batch: on the model's device.
        draws: see `draw_step`.
        config: settings of the objective.
        empty_prompt: embedding of the empty prompt, (1, 512, text_dim).
    """
    text, image, portrait, mask = drop_conditions(batch, draws, empty_prompt, masked=config.masked_attention)
    noisy = add_noise(batch.latents, draws.noise, draws.sigmas)
    hidden = torch.cat([noisy.to(portrait.dtype), portrait], 1)
    velocity = model(hidden, draws.sigmas * 1000, text, image, batch.features, mask)
    error = (velocity.float() - velocity_target(batch.latents, draws.noise)) ** 2
    plain = error.mean((1, 2, 3, 4))
    if not config.face_weight:
        return StepLoss(plain.mean(), plain.detach(), plain.detach())
    weights = face_weights(batch.labels, tuple(error.shape[-2:]), config.face_weight)
    weighted = (error * weights).mean((1, 2, 3, 4))
    return StepLoss(weighted.mean(), plain.detach(), weighted.detach())
