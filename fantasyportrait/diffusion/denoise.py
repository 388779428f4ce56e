"""From noise to latents: the loop over steps, windows and guidance branches."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fantasyportrait.diffusion.flow_matching import Branch, euler_step, predicted_clip
from fantasyportrait.diffusion.windows import Window
from fantasyportrait.model.motion_tokens import MotionTokens
from fantasyportrait.model.transformer import MotionTransformer
from fantasyportrait.runtime.parallel import Ranks

OnStep = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Conditioning:
    """What the backbone is told besides motion: each prompt (1, 512, C), what CLIP sees (1, 257, C), and the portrait's
    latents for one window (1, 20, f, h, w).
    """

    prompts: dict[str, Tensor]
    image: Tensor
    portrait: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "Conditioning":
        """On a device, in a type."""
        prompts = {name: t.to(device, dtype) for name, t in self.prompts.items()}
        return Conditioning(prompts, self.image.to(device, dtype), self.portrait.to(device, dtype))


@torch.no_grad()
def denoise(
    model: MotionTransformer,
    noise: Tensor,
    conditioning: Conditioning,
    *,
    sigmas: Tensor,
    branches: Sequence[Branch],
    windows: Sequence[Window],
    motions: Sequence[MotionTokens],
    ranks: Ranks | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
    on_step: OnStep | None = None,
) -> Tensor:
    """Latents (1, 16, f, h, w) of a clip.

    Args:
        model: the backbone.
        noise: (1, 16, f, h, w) float32, on the device to compute on.
        told: on the same device, in the model's type.
        sigmas: noise levels, see `schedule`.
        branches: evaluations and their weights, see `branches`.
        windows: see `lay_windows`; all of one length.
        motions: one a window.
        ranks: this process's place among several.
        track: wraps the steps, to show progress.
        on_step: called with the step's number and the clean latents the model has in mind.
    """
    ranks = ranks or Ranks()
    sample = noise
    steps = list(pairwise(sigmas.to(noise.device)))
    for i in track(range(len(steps))):
        sigma, following = steps[i]
        velocity = torch.zeros_like(sample)
        for window, motion in zip(windows, motions, strict=True):
            part = torch.zeros_like(sample[:, :, window.latents])
            for branch in ranks.own(branches):
                part += branch.weight * _evaluate(
                    model, sample[:, :, window.latents], sigma, conditioning, branch, motion
                )
            velocity[:, :, window.latents] += part * window.weights.to(part).view(1, 1, -1, 1, 1)
        velocity = ranks.add_up(velocity)
        if on_step:
            on_step(i, predicted_clip(sample, velocity, sigma))
        sample = euler_step(sample, velocity, sigma, following)
    return sample


def _evaluate(
    model: MotionTransformer,
    sample: Tensor,
    sigma: Tensor,
    conditioning: Conditioning,
    branch: Branch,
    motion: MotionTokens,
) -> Tensor:
    """Velocity in float32; the branch without expression does no motion attention at all."""
    latents = torch.cat([sample.to(conditioning.portrait.dtype), conditioning.portrait], 1)
    timestep = (sigma * 1000).view(1)
    expression = motion if branch.expression else None
    return model(latents, timestep, conditioning.prompts[branch.prompt], conditioning.image, expression).float()
