"""Flow matching: the schedule, Euler steps, and guidance as a weighted sum of branches."""

from dataclasses import dataclass

import torch
from torch import Tensor


def schedule(num_steps: int, shift: float = 5.0) -> Tensor:
    """Noise levels from 1 down to 0, (num_steps + 1,): evenly spaced, then shifted towards noise.

    In float32 like the released schedule, to the last bit: the model notices a timestep's rounding.
    """
    sigmas = torch.linspace(1, 0, num_steps + 1)
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def euler_step(sample: Tensor, velocity: Tensor, sigma: Tensor, next_sigma: Tensor) -> Tensor:
    """The sample at the next noise level."""
    return sample + velocity * (next_sigma - sigma)


def predicted_clip(sample: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """Where the velocity leads if followed to the end: what the model takes the clean latents to be."""
    return sample - velocity * sigma


def initial_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Gaussian noise drawn on the CPU, so that a seed means the same on every device."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)


@dataclass(frozen=True)
class Branch:
    """One evaluation of the model: with which prompt, and with or without expression."""

    prompt: str
    expression: bool
    weight: float


def branches(expression_guidance: float, text_guidance: float) -> list[Branch]:
    """The evaluations a step needs, and the weights with which their velocities add up to the guided one.

    Expression guidance e strengthens what the driver adds, text guidance c what the prompt adds to the negative one:

        v = v_negative + c (v_still - v_negative) + e (v_full - v_still)

    where `still` has the prompt and no expression. At e <= 1 there is no still branch, at c = 1 no negative one.
    """
    e, c = expression_guidance, text_guidance
    if e > 1 and c == 1:
        return [Branch("positive", True, e), Branch("positive", False, 1 - e)]
    if e > 1:
        return [Branch("positive", True, e), Branch("positive", False, c - e), Branch("negative", False, 1 - c)]
    if c != 1:
        return [Branch("positive", True, c), Branch("negative", True, 1 - c)]
    return [Branch("positive", True, 1.0)]
