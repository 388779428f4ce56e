"""What else the backbone is told: the prompt, and what CLIP sees in the portrait."""

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
from fantasyportrait.model.attention import TEXT_TOKENS
from fantasyportrait.model.vae import to_unit

END_OF_TEXT = 1  # all an empty prompt holds


def clean(prompt: str) -> str:
    """The prompt as the text encoder was trained on it: repaired, unescaped, single spaces."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", text).strip()


def token_ids(prompt: str, tokenizer: Path | None) -> list[int]:
    """Token ids of a prompt, 512 at most; the empty one needs no tokenizer."""
    if not prompt.strip():
        return [END_OF_TEXT]
    if tokenizer is None:
        raise UserError(
            "the base has no tokenizer (google/umt5-xxl or tokenizer), which a prompt needs; leave it empty"
        )
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer)(clean(prompt), truncation=True, max_length=TEXT_TOKENS).input_ids


@torch.no_grad()
def embed_prompt(text_encoder: Any, ids: list[int]) -> Tensor:
    """(1, 512, text_dim) float32, zeros beyond the prompt, all of which is attended to."""
    device = next(text_encoder.parameters()).device
    states = text_encoder(input_ids=torch.tensor([ids], device=device)).last_hidden_state.float().cpu()
    return F.pad(states, (0, 0, 0, TEXT_TOKENS - states.shape[1]))


@torch.no_grad()
def embed_image(image_encoder: Any, image: np.ndarray) -> Tensor:
    """(1, 257, image_dim): the last hidden states but one of the whole portrait, squeezed into CLIP's square.

    Bicubic without smoothing, aspect ratio not kept: as the published weights were trained.
    """
    weight = next(image_encoder.parameters())
    side = image_encoder.config.image_size
    square = F.interpolate(to_unit(image), size=(side, side), mode="bicubic", align_corners=False)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    pixels = ((square + 1) / 2 - mean) / std
    return image_encoder(pixels.to(weight), output_hidden_states=True).hidden_states[-2]
