"""Denoising loop over steps, windows and guidance branches."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fantasyportrait.diffusion.flow_matching import GuidanceBranch, euler_step, predict_clean_latents
from fantasyportrait.diffusion.windows import Window
from fantasyportrait.model.motion_tokens import MotionTokens
from fantasyportrait.model.transformer import MotionTransformer
from fantasyportrait.runtime.parallel import Ranks

OnStep = Callable[[int, Tensor], None]


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
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    on_step: OnStep | None = None,
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
        progress: wrapper of the iteration over steps that shows progress.
        on_step: called after each step with its index and the predicted clean latents.
    """
    ranks = ranks or Ranks()
    sample = noise
    steps = list(pairwise(sigmas.to(noise.device)))
    for i in progress(range(len(steps))):
        sigma, next_sigma = steps[i]
        velocity = torch.zeros_like(sample)
        for window, motion in zip(windows, motions, strict=True):
            latents = sample[:, :, window.latent_slice]
            guided = torch.zeros_like(latents)
            for branch in ranks.select_branches(branches):
                guided += branch.weight * _predict_velocity(model, latents, sigma, conditioning, branch, motion)
            velocity[:, :, window.latent_slice] += guided * window.weights.to(guided).view(1, 1, -1, 1, 1)
        velocity = ranks.sum_branches(velocity)
        if on_step:
            on_step(i, predict_clean_latents(sample, velocity, sigma))
        sample = euler_step(sample, velocity, sigma, next_sigma)
    return sample


def _predict_velocity(
    model: MotionTransformer,
    sample: Tensor,
    sigma: Tensor,
    conditioning: Conditioning,
    branch: GuidanceBranch,
    motion: MotionTokens,
) -> Tensor:
    """Return the velocity of one branch in float32; a branch without expression skips motion attention."""
    latents = torch.cat([sample.to(conditioning.portrait.dtype), conditioning.portrait], 1)
    timestep = (sigma * 1000).view(1)
    expression = motion if branch.expression else None
    return model(latents, timestep, conditioning.prompts[branch.prompt], conditioning.image, expression).float()
