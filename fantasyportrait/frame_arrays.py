"""Conversion of images and videos between the types that diffusers' pipelines take and return and uint8 arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from exprbench.core.errors import UserError


def to_frames(video: Any, name: str) -> np.ndarray:
    """Convert a video to (F, H, W, 3) uint8 RGB.

    Args:
        video: (F, H, W, 3) array, (F, 3, H, W) tensor, or a sequence of images: PIL, (H, W, 3) or (3, H, W) tensors.
            Values are uint8, or floating-point in [0, 1].
        name: name of the argument for error messages.

    Raises:
        UserError: it has another shape, type or range, or no frames.
    """
    frames = [_to_image(frame, name) for frame in video]
    if not frames:
        raise UserError(f"{name} has no frames")
    if len({frame.shape for frame in frames}) > 1:
        raise UserError(f"{name} has frames of different sizes")
    return np.stack(frames)


def _to_image(frame: Any, name: str) -> np.ndarray:
    if hasattr(frame, "convert"):  # PIL
        frame = frame.convert("RGB")
    if isinstance(frame, torch.Tensor):
        frame = frame.detach().cpu()
        frame = frame.float() if frame.is_floating_point() else frame
        frame = frame.permute(1, 2, 0).numpy() if frame.ndim == 3 else frame.numpy()
    image = np.asarray(frame)
    if image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"{name} has a frame of shape {image.shape}; expected (H, W, 3), or (3, H, W) for tensors")
    return _to_uint8(image, name)


def _to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if not np.issubdtype(values.dtype, np.floating):
        raise UserError(f"{name} has values of type {values.dtype}; expected uint8, or floating-point in [0, 1]")
    if not (values.min() >= 0 and values.max() <= 1):
        raise UserError(f"{name} has values from {values.min():g} to {values.max():g}; expected uint8, or 0 to 1")
    return (values * 255).round().astype(np.uint8)


def to_masks(mask: Any, name: str) -> Sequence[np.ndarray]:
    """Convert a mask, (H, W) or (F, H, W), to frames (H, W) uint8; PIL images are masks of one frame."""
    if hasattr(mask, "convert"):
        mask = mask.convert("L")
    values = _to_uint8(np.asarray(mask.detach().cpu() if isinstance(mask, torch.Tensor) else mask), name)
    if values.ndim not in (2, 3):
        raise UserError(f"{name} has shape {values.shape}; expected (H, W) or (F, H, W)")
    return list(values.reshape(-1, *values.shape[-2:]))


def to_output(frames: Sequence[np.ndarray], output_type: str) -> Any:
    """Convert frames (H, W, 3) uint8 to a batch of one video of the type `np`, `pt` or `pil`, as diffusers does."""
    if output_type == "pil":
        from PIL import Image

        return [[Image.fromarray(frame) for frame in frames]]
    video = np.stack(frames)[None].astype(np.float32) / 255 if len(frames) else np.zeros((1, 0, 0, 0, 3), np.float32)
    return torch.from_numpy(video).permute(0, 1, 4, 2, 3) if output_type == "pt" else video
