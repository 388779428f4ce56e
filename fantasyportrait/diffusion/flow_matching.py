"""Flow matching: noise schedule, Euler steps, and guidance as a weighted sum of branches."""

from dataclasses import dataclass

import torch
from torch import Tensor


def compute_sigmas(num_steps: int, shift: float = 5.0) -> Tensor:
    """Compute noise levels from 1 down to 0, (num_steps + 1,): evenly spaced, then shifted towards noise.

    Computed in float32 and equal to the released schedule bit by bit: the model is sensitive to rounding of timesteps.
    """
    sigmas = torch.linspace(1, 0, num_steps + 1)
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def euler_step(sample: Tensor, velocity: Tensor, sigma: Tensor, next_sigma: Tensor) -> Tensor:
    """Return the sample at the next noise level."""
    return sample + velocity * (next_sigma - sigma)


def predict_clean_latents(sample: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """Return the model's prediction of the clean latents: the velocity followed from `sigma` to 0."""
    return sample - velocity * sigma


def initial_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw Gaussian noise in float32 on the CPU, so that a seed gives the same noise on every device."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)


@dataclass(frozen=True)
class GuidanceBranch:
    """One evaluation of the model per step: its prompt, whether it has expression, and its weight in the sum."""

    prompt: str
    expression: bool
    weight: float


def guidance_branches(expression_guidance: float, text_guidance: float) -> list[GuidanceBranch]:
    """Return the evaluations of a step with the weights that sum their velocities to the guided velocity.

    Expression guidance e scales the contribution of the driver, text guidance c that of the prompt over the negative
    prompt:

        v = v_negative + c (v_still - v_negative) + e (v_full - v_still)

    where `still` has the prompt but no expression. If e <= 1 there is no still branch, if c = 1 no negative branch.
    """
    e, c = expression_guidance, text_guidance
    full, still, negative = ("positive", True), ("positive", False), ("negative", False)
    if e > 1 and c == 1:
        return [GuidanceBranch(*full, e), GuidanceBranch(*still, 1 - e)]
    if e > 1:
        return [GuidanceBranch(*full, e), GuidanceBranch(*still, c - e), GuidanceBranch(*negative, 1 - c)]
    if c != 1:
        return [GuidanceBranch(*full, c), GuidanceBranch("negative", True, 1 - c)]
    return [GuidanceBranch(*full, 1.0)]
