"""Denoising loop over steps, windows and guidance branches."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fantasyportrait.diffusion.flow_matching import (
    GuidanceBranch,
    euler_step,
    predict_clean_latents,
    without_expression,
)
from fantasyportrait.diffusion.step_cache import StepCache
from fantasyportrait.diffusion.windows import Window
from fantasyportrait.model.block_residual import BlockResidual
from fantasyportrait.model.motion_tokens import MotionTokens
from fantasyportrait.model.transformer import MotionTransformer
from fantasyportrait.runtime.parallel import Ranks

MASK_CHANNELS = 4  # of the image condition, before its 16 channels of latents
OnStep = Callable[[int, Tensor], None]
OnStepEnd = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class Conditioning:
    """Text, image and portrait-latent conditioning of the backbone.

    `prompts` are embeddings (1, 512, C) by the name of their guidance branch, `image` is the CLIP embedding
    (1, 257, C), `portrait` the mask and latents of the portrait for one window (1, 20, f, h, w).
    """

    prompts: dict[str, Tensor]
    image: Tensor
    portrait: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "Conditioning":
        """Return a copy on a device and of a data type."""
        prompts = {name: t.to(device, dtype) for name, t in self.prompts.items()}
        return Conditioning(prompts, self.image.to(device, dtype), self.portrait.to(device, dtype))


@torch.no_grad()
def denoise(
    model: MotionTransformer,
    noise: Tensor,
    conditioning: Conditioning,
    *,
    sigmas: Tensor,
    branches: Sequence[GuidanceBranch],
    windows: Sequence[Window],
    motions: Sequence[MotionTokens],
    ranks: Ranks | None = None,
    motion_steps: range | None = None,
    cache: StepCache | None = None,
    anchor_identity: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    on_step: OnStep | None = None,
    on_step_end: OnStepEnd | None = None,
) -> Tensor:
    """Denoise the latents (1, 16, f, h, w) of a clip.

    Args:
        model: the backbone.
        noise: (1, 16, f, h, w) float32, on the device to compute on.
        conditioning: on the same device, in the model's data type.
        sigmas: noise levels, see `compute_sigmas`.
        branches: evaluations per step and their weights, see `guidance_branches`.
        windows: windows of equal length, see `split_windows`.
        motions: motion tokens of each window.
        ranks: position of this process among several.
        motion_steps: steps with expression; the others evaluate the branches without it. None for all.
        cache: steps in which the blocks of the backbone are skipped; None for none.
        anchor_identity: give every window but the first the portrait as its first latent frame, see `_anchored`.
        progress: wrapper of the iteration over steps that shows progress.
        on_step: called after each step with its index and the predicted clean latents.
        on_step_end: called after each step with its index and the latents; it returns those of the next step.
    """
    ranks = ranks or Ranks()
    sample = noise
    steps = list(pairwise(sigmas.to(noise.device)))
    for i in progress(range(len(steps))):
        sigma, next_sigma = steps[i]
        active = branches if motion_steps is None or i in motion_steps else without_expression(branches)
        velocity = torch.zeros_like(sample)
        for w, window in enumerate(windows):
            latents = sample[:, :, window.latent_slice]
            if anchor_identity and window.start:
                latents = _anchored(latents, noise[:, :, window.latent_slice], conditioning, sigma)
            guided = torch.zeros_like(latents)
            for branch in ranks.select_branches(active):
                if branch.weight:
                    residual = cache.select(w, branch, i) if cache else None
                    predicted = _predict_velocity(model, latents, sigma, conditioning, branch, motions[w], residual)
                    guided += branch.weight * predicted
            velocity[:, :, window.latent_slice] += guided * window.weights.to(guided).view(1, 1, -1, 1, 1)
        velocity = ranks.sum_branches(velocity)
        if on_step:
            on_step(i, predict_clean_latents(sample, velocity, sigma))
        sample = euler_step(sample, velocity, sigma, next_sigma)
        if on_step_end:
            sample = on_step_end(i, sample)
    return sample


def _anchored(latents: Tensor, noise: Tensor, conditioning: Conditioning, sigma: Tensor) -> Tensor:
    """Return a window's latents with the portrait at this noise level as its first latent frame.

    The model takes the first latent frame of a window for the portrait; in all windows but the first it is a frame of
    the clip, whose blending weight is zero. Known frames that are noised again at every step are common in long-video
    samplers (RePaint, Lugmayr et al., 2022; the motion frames of MultiTalk, 2025).
    """
    portrait = conditioning.portrait[:, MASK_CHANNELS:, :1].to(latents)
    first = torch.lerp(portrait, noise[:, :, :1], sigma)
    return torch.cat([first, latents[:, :, 1:]], 2)


def _predict_velocity(
    model: MotionTransformer,
    sample: Tensor,
    sigma: Tensor,
    conditioning: Conditioning,
    branch: GuidanceBranch,
    motion: MotionTokens,
    residual: BlockResidual | None,
) -> Tensor:
    """Return the velocity of one branch in float32; a branch without expression skips motion attention."""
    latents = torch.cat([sample.to(conditioning.portrait.dtype), conditioning.portrait], 1)
    timestep = (sigma * 1000).view(1)
    expression = motion if branch.expression else None
    cached = () if residual is None else (residual,)
    return model(
        latents, timestep, conditioning.prompts[branch.prompt], conditioning.image, expression, *cached
    ).float()
