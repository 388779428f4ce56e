"""Sliding windows for clips longer than the model's training length; overlapping velocities are blended at every step.

All windows are slices of one noise tensor and are denoised in step, so overlapping frames converge to one clip.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Latent frames `start ... stop - 1` of a clip with their blending weights (f,)."""

    start: int
    stop: int
    weights: Tensor

    @property
    def latent_slice(self) -> slice:
        """Return the window's slice of the clip's latent frames."""
        return slice(self.start, self.stop)

    @property
    def frame_slice(self) -> slice:
        """Return the window's slice of the clip's video frames, 4 f - 3: its first latent frame covers one frame."""
        return slice(4 * self.start, 4 * (self.stop - 1) + 1)


def count_latent_frames(num_frames: int) -> int:
    """Return the number of latent frames of a clip: one for the first video frame, one per four (or fewer) after."""
    return (num_frames - 1 + 3) // 4 + 1


def split_windows(num_latent_frames: int, length: int, overlap: int) -> list[Window]:
    """Split a clip into windows of `length` latent frames that overlap by at least `overlap`.

    A clip of at most `length` latent frames is one window. The last window is moved back to end with the clip. Weights
    ramp up and down linearly in the overlaps and sum to one. The first latent frame of a window encodes the portrait
    itself, so in later windows its weight is zero.

    Raises:
        ValueError: `overlap` is not in 1 ... length - 1.
    """
    if num_latent_frames <= length:
        return [Window(0, num_latent_frames, torch.ones(num_latent_frames))]
    if not 0 < overlap < length:
        raise ValueError(f"an overlap of {overlap} latent frames in windows of {length}; expected 1 to {length - 1}")
    starts = [*range(0, num_latent_frames - length, length - overlap), num_latent_frames - length]
    ramps = [_trapezoid(starts, i, length) for i in range(len(starts))]
    total = torch.zeros(num_latent_frames)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + length] += ramp
    return [
        Window(start, start + length, ramp / total[start : start + length])
        for start, ramp in zip(starts, ramps, strict=True)
    ]


def _trapezoid(starts: list[int], index: int, length: int) -> Tensor:
    """Return weights (length,) that ramp up in the overlap with the previous window and down in that with the next."""
    weights = torch.ones(length)
    if index:
        overlap = starts[index - 1] + length - starts[index]
        weights[:overlap] *= torch.arange(overlap) / overlap
    if index + 1 < len(starts):
        overlap = starts[index] + length - starts[index + 1]
        weights[length - overlap :] *= 1 - torch.arange(overlap) / overlap
    return weights
