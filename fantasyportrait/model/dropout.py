"""Dropped conditions of training, per sample. A dropped expression is a sample of zero people, see `motion_tokens`."""

import torch
from torch import Tensor


def drop_reference(image: Tensor, portrait: Tensor, dropped: Tensor) -> tuple[Tensor, Tensor]:
    """Return the reference image's CLIP tokens and latents, both zero in the samples whose reference is dropped.

    The mask channels of the latents become zero too: no frame is given. The image embedder maps zero tokens to one
    vector, from its biases, so image attention then adds a constant that depends neither on the portrait nor on the
    query; Wan's own weights were not trained with it.

    Args:
        image: CLIP tokens (B, 257, C).
        portrait: mask and latents (B, 20, f, h, w), see `image_condition`.
        dropped: (B,) bool.
    """
    is_kept = ~dropped
    return (
        torch.where(is_kept[:, None, None], image, torch.zeros_like(image)),
        torch.where(is_kept[:, None, None, None, None], portrait, torch.zeros_like(portrait)),
    )
