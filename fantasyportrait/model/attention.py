"""Attention processors of the backbone: self-attention, and masked cross-attention to text, image and motion, Eq. (4).

Legend: B batch, S tokens on this device, f latent frames, p tokens per frame, N people, L motion tokens per person and
frame, H heads, E head width.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fantasyportrait.model.context_parallel import TokenShards

NUM_TEXT_TOKENS = 512


class LayerMotion(NamedTuple):
    """Motion keys and values of one layer.

    `key` and `value` are (B, f, N L, H E). `mask`, (B, f, p, N) bool, marks the people whose motion tokens each token
    attends to; None means all, as for one person. Tokens that attend to no person get zeros.
    """

    key: Tensor
    value: Tensor
    mask: Tensor | None
    tokens_per_frame: int

    def to(self, device: torch.device) -> "LayerMotion":
        """Return a copy on a device."""
        key, value, mask = (t if t is None else t.to(device, non_blocking=True) for t in self[:3])
        return LayerMotion(key, value, mask, self.tokens_per_frame)

    def slice_frames(self, start: int, stop: int) -> "LayerMotion":
        """Return latent frames `start ... stop - 1`."""
        key, value, mask = (t if t is None else t[:, start:stop] for t in self[:3])
        return LayerMotion(key, value, mask, self.tokens_per_frame)


def motion_attention(query: Tensor, motion: LayerMotion) -> Tensor:
    """Attend from the tokens (B, f p, H, E) of whole frames to the motion tokens of their frame; the shape is kept.

    Scores of masked people are minus infinity before the softmax, so that neither values nor gradients pass between
    the regions of two people, in any precision. (Eq. (4) as printed multiplies the scores by the mask; a score of zero
    would still give the other person a weight of exp(0).)
    """
    num_heads = query.shape[2]
    frames = query.unflatten(1, (-1, motion.tokens_per_frame)).flatten(0, 1).transpose(1, 2)  # (B f, H, p, E)
    key, value = (t.flatten(0, 1).unflatten(-1, (num_heads, -1)).transpose(1, 2) for t in (motion.key, motion.value))
    key, value = key.type_as(frames), value.type_as(frames)
    if motion.mask is None:
        out = F.scaled_dot_product_attention(frames, key, value)
    else:
        mask = motion.mask.flatten(0, 1)
        has_person = mask.any(-1, keepdim=True)  # a row of minus infinity only would give NaN
        allowed = (mask | ~has_person).repeat_interleave(key.shape[2] // mask.shape[-1], -1).unsqueeze(1)
        out = F.scaled_dot_product_attention(frames, key, value, attn_mask=allowed)  # Eq. (4)
        out = out * has_person.unsqueeze(1)
    return out.transpose(1, 2).reshape(query.shape)


def partial_motion_attention(query: Tensor, motion: LayerMotion, start: int) -> Tensor:
    """Compute motion attention for a contiguous part of the tokens, which can begin and end within a frame.

    Args:
        query: (B, S, H, E), the tokens from index `start` on.
        motion: of all frames.
        start: index of the first token.

    Returns:
        (B, S, H, E); padding tokens beyond the last frame get zeros.
    """
    tokens_per_frame, num_frames = motion.tokens_per_frame, motion.key.shape[1]
    num_valid = max(0, min(query.shape[1], num_frames * tokens_per_frame - start))
    if not num_valid:
        return torch.zeros_like(query)
    first, last = start // tokens_per_frame, -(-(start + num_valid) // tokens_per_frame)
    before, after = start - first * tokens_per_frame, last * tokens_per_frame - start - num_valid
    whole = F.pad(query[:, :num_valid], (0, 0, 0, 0, before, after))
    out = motion_attention(whole, motion.slice_frames(first, last))[:, before : before + num_valid]
    return F.pad(out, (0, 0, 0, 0, 0, query.shape[1] - num_valid))


def apply_rotary_emb(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embeddings to (B, S, H, E): neighbouring channels are rotated by their position's angle."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[..., ::2], sin[..., ::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).type_as(x)


class _AttentionProcessor:
    """Base of the attention processors, with the attributes that diffusers sets."""

    _attention_backend = None  # set by diffusers' `set_attention_backend`
    _parallel_config = None
    shards: TokenShards | None = None  # set by `context_parallel.shard_tokens`

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Compute attention without a mask by the chosen kernel; all tensors are (B, S, H, E)."""
        from diffusers.models.attention_dispatch import dispatch_attention_fn

        return dispatch_attention_fn(query, key, value, backend=self._attention_backend).type_as(query)


class SelfAttention(_AttentionProcessor):
    """Self-attention as in diffusers, over tokens that can be sharded over several devices."""

    def __call__(
        self, attn: Any, hidden_states: Tensor, _context: None, _mask: None, rotary: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Compute self-attention, (B, S, H E) to (B, S, H E)."""
        query = apply_rotary_emb(attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1)), *rotary)
        key = apply_rotary_emb(attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1)), *rotary)
        value = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        if self.shards is None:
            out = self.attend(query, key, value)
        else:
            out = self.shards.to_tokens(self.attend(*(self.shards.to_heads(t) for t in (query, key, value))))
        return attn.to_out[0](out.flatten(2))


class MaskedCrossAttention(_AttentionProcessor):
    """Cross-attention of one query to text, image and motion; without motion, that of Wan."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        context: Tensor,
        _mask: None = None,
        _rotary: None = None,
        motion: LayerMotion | None = None,
    ) -> Tensor:
        """Compute cross-attention, (B, S, H E) to (B, S, H E); `context` is the image tokens, then the text tokens."""
        image, text = context.split([context.shape[1] - NUM_TEXT_TOKENS, NUM_TEXT_TOKENS], 1)
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        keys_values = (
            (attn.norm_k(attn.to_k(text)), attn.to_v(text)),
            (attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image)),
        )
        out = sum(self.attend(query, *(t.unflatten(2, (attn.heads, -1)) for t in pair)) for pair in keys_values)
        if motion is not None:
            motion = motion.to(query.device)
            if self.shards:
                attended = partial_motion_attention(query, motion, self.shards.start)
            else:
                attended = motion_attention(query, motion)
            out = out + attended.type_as(out)
        return attn.to_out[0](out.flatten(2))
