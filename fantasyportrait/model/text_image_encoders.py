"""Encoding of the prompt (umT5) and of the portrait (CLIP) as conditioning of the backbone."""

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from exprbench.core.errors import UserError
from exprbench.core.normalization import CLIP_MEAN, CLIP_STD
from fantasyportrait.model.attention import NUM_TEXT_TOKENS
from fantasyportrait.model.vae import image_to_tensor

END_OF_TEXT = 1  # the only token of an empty prompt


def clean_prompt(prompt: str) -> str:
    """Return the prompt as in the text encoder's training: Unicode repaired, HTML unescaped, single spaces."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", text).strip()


def tokenize_prompt(prompt: str, tokenizer: Path | None) -> list[int]:
    """Return the token ids of a prompt, at most 512; the empty prompt needs no tokenizer.

    Raises:
        UserError: a tokenizer is needed and `tokenizer` is None.
    """
    if not prompt.strip():
        return [END_OF_TEXT]
    if tokenizer is None:
        raise UserError(
            "a prompt needs a tokenizer, and the base has no tokenizer (google/umt5-xxl or tokenizer); leave the "
            "prompt empty"
        )
    from transformers import AutoTokenizer

    tokenize = AutoTokenizer.from_pretrained(tokenizer)
    return tokenize(clean_prompt(prompt), truncation=True, max_length=NUM_TEXT_TOKENS).input_ids


@torch.no_grad()
def encode_prompt(text_encoder: Any, ids: list[int]) -> Tensor:
    """Encode token ids as (1, 512, text_dim) float32, zero beyond the prompt; the backbone attends to all 512."""
    device = next(text_encoder.parameters()).device
    states = text_encoder(input_ids=torch.tensor([ids], device=device)).last_hidden_state.float().cpu()
    return F.pad(states, (0, 0, 0, NUM_TEXT_TOKENS - states.shape[1]))


@torch.no_grad()
def encode_image(image_encoder: Any, image: np.ndarray) -> Tensor:
    """Encode an (H, W, 3) uint8 RGB portrait as (1, 257, image_dim), CLIP's second to last hidden states.

    The portrait is resized to CLIP's square without keeping its aspect ratio, bicubic and without antialiasing, as
    the published weights were trained.
    """
    weight = next(image_encoder.parameters())
    side = image_encoder.config.image_size
    square = F.interpolate(image_to_tensor(image), size=(side, side), mode="bicubic", align_corners=False)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    pixels = ((square + 1) / 2 - mean) / std
    return image_encoder(pixels.to(weight), output_hidden_states=True).hidden_states[-2]
