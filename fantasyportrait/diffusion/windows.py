"""Clips longer than the model was trained on: overlapping windows whose velocities are blended at every step.

All windows are parts of one noise and take every step together, so that where they overlap they agree on one clip.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Latent frames `start ... stop` of a clip, and how much each of them counts where windows overlap, (f,)."""

    start: int
    stop: int
    weights: Tensor

    @property
    def latents(self) -> slice:
        """Of the clip's latent frames."""
        return slice(self.start, self.stop)

    @property
    def frames(self) -> slice:
        """Of the clip's video frames: a window is a clip of its own, whose first latent frame stands for one frame."""
        return slice(4 * self.start, 4 * (self.stop - 1) + 1)


def num_latent_frames(num_frames: int) -> int:
    """Latent frames that hold `num_frames` video frames: one for the first, one for every four that follow."""
    return (num_frames - 1 + 3) // 4 + 1


def lay_windows(num_latent: int, length: int, overlap: int) -> list[Window]:
    """Windows of `length` latent frames that overlap by at least `overlap`; one of all, if they are not more.

    The last is moved back to end with the clip. Weights rise and fall linearly through the overlaps and add up to one.
    The first latent frame of a later window stands for the portrait itself, so it counts for nothing.
    """
    if num_latent <= length:
        return [Window(0, num_latent, torch.ones(num_latent))]
    if not 0 < overlap < length:
        raise ValueError(f"an overlap of {overlap} latent frames in windows of {length}; expected 1 to {length - 1}")
    starts = [*range(0, num_latent - length, length - overlap), num_latent - length]
    ramps = [_trapezium(starts, i, length) for i in range(len(starts))]
    total = torch.zeros(num_latent)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + length] += ramp
    return [
        Window(start, start + length, ramp / total[start : start + length])
        for start, ramp in zip(starts, ramps, strict=True)
    ]


def _trapezium(starts: list[int], index: int, length: int) -> Tensor:
    """Rises from 0 through the overlap with the window before, falls through that with the window after."""
    weights = torch.ones(length)
    if index:
        shared = starts[index - 1] + length - starts[index]
        weights[:shared] *= torch.arange(shared) / shared
    if index + 1 < len(starts):
        shared = starts[index] + length - starts[index + 1]
        weights[length - shared :] *= 1 - torch.arange(shared) / shared
    return weights
