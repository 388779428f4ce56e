"""Flow matching: noise schedule, Euler steps, and guidance as a weighted sum of branches."""

from collections.abc import Sequence
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

    @property
    def name(self) -> str:
        """Return the name of the branch, whatever its weight, such as `positive+expression`."""
        return self.prompt + "+expression" * self.expression


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


def without_expression(branches: Sequence[GuidanceBranch]) -> list[GuidanceBranch]:
    """Return the branches of a step without expression; those of one prompt are equal then, so their weights add up.

    The list is as long as `branches`, so that devices that share them keep theirs; a weight of 0 means no evaluation.
    """
    by_expression = sorted(range(len(branches)), key=lambda i: not branches[i].expression)
    owners = {branches[i].prompt: i for i in by_expression}  # the branch that has no expression anyway, if there is one
    totals = {prompt: sum(b.weight for b in branches if b.prompt == prompt) for prompt in owners}
    return [
        GuidanceBranch(b.prompt, False, totals[b.prompt] if owners[b.prompt] == i else 0.0)
        for i, b in enumerate(branches)
    ]
