"""Plain implementation of the same network, the baseline of `benchmarks.fantasyportrait`.

It runs eagerly with PyTorch's `scaled_dot_product_attention`, projects the motion's keys and values at every step, and
evaluates every guidance branch in full, the one without expression with its motion multiplied by zero. It uses the
weights of the modules in `fantasyportrait` but none of their code.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fantasyportrait.diffusion.flow_matching import GuidanceBranch
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.transformer import MotionTransformer


def guided_velocity(
    model: MotionTransformer,
    adapter: MotionAdapter,
    tokens: Tensor,
    mask: Tensor | None,
    latents: Tensor,
    timestep: Tensor,
    prompts: dict[str, Tensor],
    image: Tensor,
    branches: Sequence[GuidanceBranch],
) -> Tensor:
    """Return the weighted sum of the velocities of all branches."""
    total: Any = 0
    for branch in branches:
        scale = 1.0 if branch.expression else 0.0
        total = total + branch.weight * velocity(
            model, adapter, tokens, mask, scale, latents, timestep, prompts[branch.prompt], image
        )
    return total


def velocity(
    model: MotionTransformer,
    adapter: MotionAdapter,
    tokens: Tensor,
    mask: Tensor | None,
    scale: float,
    latents: Tensor,
    timestep: Tensor,
    text: Tensor,
    image: Tensor,
) -> Tensor:
    """Return the velocity of one evaluation; `tokens` are (1, f, N L, C)."""
    f, h, w = (n // p for n, p in zip(latents.shape[2:], model.config.patch_size, strict=True))
    x = model.patch_embedding(latents).flatten(2).transpose(1, 2)
    cos, sin = model.rope(latents)
    temb, modulation, text, image = model.condition_embedder(timestep, text, image)
    modulation = modulation.view(1, 6, -1)
    for block, layer in zip(model.blocks, adapter.layers, strict=True):
        x = _block(block, layer, x, text, image, modulation, cos, sin, tokens, mask, scale)
    shift, scale_out = (model.scale_shift_table + temb[:, None]).chunk(2, 1)
    x = (F.layer_norm(x.float(), x.shape[-1:], eps=1e-6) * (1 + scale_out) + shift).to(x.dtype)
    x = F.linear(x, model.proj_out.weight, model.proj_out.bias)
    return x.view(1, f, h, w, 1, 2, 2, -1).permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(1, -1, f, 2 * h, 2 * w).float()


def _block(block, layer, x, text, image, modulation, cos, sin, tokens, mask, scale) -> Tensor:
    shift1, scale1, gate1, shift2, scale2, gate2 = (block.scale_shift_table + modulation.float()).chunk(6, 1)
    heads, attn = block.attn1.heads, block.attn1

    y = (F.layer_norm(x.float(), x.shape[-1:], eps=1e-6) * (1 + scale1) + shift1).to(x.dtype)
    query = _rotate(_split(_rms(_linear(attn.to_q, y), attn.norm_q), heads), cos, sin)
    key = _rotate(_split(_rms(_linear(attn.to_k, y), attn.norm_k), heads), cos, sin)
    y = _linear(attn.to_out[0], _attend(query, key, _split(_linear(attn.to_v, y), heads)))
    x = (x.float() + y * gate1).to(x.dtype)

    attn = block.attn2
    y = F.layer_norm(x.float(), x.shape[-1:], block.norm2.weight.float(), block.norm2.bias.float(), 1e-6).to(x.dtype)
    query = _split(_rms(_linear(attn.to_q, y), attn.norm_q), heads)
    out = _attend(
        query, _split(_rms(_linear(attn.to_k, text), attn.norm_k), heads), _split(_linear(attn.to_v, text), heads)
    )
    image_key = _split(_rms(_linear(attn.add_k_proj, image), attn.norm_added_k), heads)
    out = out + _attend(query, image_key, _split(_linear(attn.add_v_proj, image), heads))
    out = out + scale * _motion(query, layer, tokens, mask, heads)
    x = x + _linear(attn.to_out[0], out)

    y = (F.layer_norm(x.float(), x.shape[-1:], eps=1e-6) * (1 + scale2) + shift2).to(x.dtype)
    y = _linear(block.ffn.net[2], F.gelu(_linear(block.ffn.net[0].proj, y), approximate="tanh"))
    return (x.float() + y.float() * gate2).to(x.dtype)


def _motion(query: Tensor, layer, tokens: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    num_frames = tokens.shape[1]
    key, value = (_linear(p, tokens)[0].unflatten(-1, (heads, -1)).transpose(1, 2) for p in (layer.to_k, layer.to_v))
    frames = query[0].unflatten(1, (num_frames, -1)).transpose(0, 1)
    mask = None if mask is None else mask[0].repeat_interleave(key.shape[2] // mask.shape[-1], -1).unsqueeze(1)
    out = F.scaled_dot_product_attention(frames, key, value, attn_mask=mask)
    return out.transpose(1, 2).flatten(2).flatten(0, 1).unsqueeze(0)


def _linear(layer, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


def _rms(x: Tensor, norm) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], norm.weight, 1e-6)


def _split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = cos.transpose(1, 2)[..., ::2], sin.transpose(1, 2)[..., ::2]
    even, odd = x[..., ::2], x[..., 1::2]
    out = torch.empty_like(x)
    out[..., ::2], out[..., 1::2] = even * cos - odd * sin, even * sin + odd * cos
    return out


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
