"""Attention in the backbone's blocks: self-attention, and masked cross-attention to text, image and motion, Eq. (4).

Legend: B batch, S tokens on this device, f latent frames, p tokens a frame, N people, L motion tokens a person and
frame, H heads, E head width.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fantasyportrait.model.context_parallel import TokenShards

TEXT_TOKENS = 512


class LayerMotion(NamedTuple):
    """What one layer's motion attention reads.

    `key` and `value` are (B, f, N L, H E). `mask`, (B, f, p, N) bool, says which people's tokens each token attends
    to; None: everybody's, as with one person. A token that sees nobody gets nothing.
    """

    key: Tensor
    value: Tensor
    mask: Tensor | None
    tokens_a_frame: int

    def on(self, device: torch.device) -> "LayerMotion":
        """The same on the device where it is needed."""
        key, value, mask = (t if t is None else t.to(device, non_blocking=True) for t in self[:3])
        return LayerMotion(key, value, mask, self.tokens_a_frame)

    def frames(self, first: int, last: int) -> "LayerMotion":
        """That of latent frames `first ... last`."""
        key, value, mask = (t if t is None else t[:, first:last] for t in self[:3])
        return LayerMotion(key, value, mask, self.tokens_a_frame)


def motion_attention(query: Tensor, motion: LayerMotion) -> Tensor:
    """The tokens (B, f p, H, E) of whole frames attend to their frame's motion tokens; the same shape comes back.

    Scores of people a token does not see are minus infinity before the softmax, so that neither a value nor a gradient
    passes between two people's regions, in any precision. (Eq. (4) as printed multiplies the scores by the mask; a
    score of zero would still let exp(0) of the other person in.)
    """
    num_heads = query.shape[2]
    frames = query.unflatten(1, (-1, motion.tokens_a_frame)).flatten(0, 1).transpose(1, 2)  # (B f, H, p, E)
    key, value = (t.flatten(0, 1).unflatten(-1, (num_heads, -1)).transpose(1, 2) for t in (motion.key, motion.value))
    key, value = key.type_as(frames), value.type_as(frames)
    if motion.mask is None:
        out = F.scaled_dot_product_attention(frames, key, value)
    else:
        mask = motion.mask.flatten(0, 1)
        somebody = mask.any(-1, keepdim=True)  # no row may be all minus infinity
        allowed = (mask | ~somebody).repeat_interleave(key.shape[2] // mask.shape[-1], -1).unsqueeze(1)
        out = F.scaled_dot_product_attention(frames, key, value, attn_mask=allowed)  # Eq. (4)
        out = out * somebody.unsqueeze(1)
    return out.transpose(1, 2).reshape(query.shape)


def motion_attention_of_part(query: Tensor, motion: LayerMotion, start: int) -> Tensor:
    """Motion attention of the tokens from `start` on, which need not begin or end with a frame; those beyond get 0."""
    per_frame, num_frames = motion.tokens_a_frame, motion.key.shape[1]
    real = max(0, min(query.shape[1], num_frames * per_frame - start))
    if not real:
        return torch.zeros_like(query)
    first, last = start // per_frame, -(-(start + real) // per_frame)
    before, after = start - first * per_frame, last * per_frame - start - real
    whole = F.pad(query[:, :real], (0, 0, 0, 0, before, after))
    out = motion_attention(whole, motion.frames(first, last))[:, before : before + real]
    return F.pad(out, (0, 0, 0, 0, 0, query.shape[1] - real))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding: neighbouring channels of (B, S, H, E) turned by the angle of their position."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[..., ::2], sin[..., ::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).type_as(x)


class _Attention:
    """What diffusers expects of an attention processor."""

    _attention_backend = None  # set by diffusers' `set_attention_backend`
    _parallel_config = None
    shards: TokenShards | None = None  # set by `parallel.shard_tokens`

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Plain attention by whichever kernel was chosen; (B, S, H, E) all."""
        from diffusers.models.attention_dispatch import dispatch_attention_fn

        return dispatch_attention_fn(query, key, value, backend=self._attention_backend).type_as(query)


class SelfAttention(_Attention):
    """As diffusers' own, over tokens that may be spread over several devices."""

    def __call__(
        self, attn: Any, hidden_states: Tensor, _context: None, _mask: None, rotary: tuple[Tensor, Tensor]
    ) -> Tensor:
        """(B, S, H E) to the same."""
        query = rotate(attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1)), *rotary)
        key = rotate(attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1)), *rotary)
        value = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        if self.shards is None:
            out = self.attend(query, key, value)
        else:
            out = self.shards.to_tokens(self.attend(*(self.shards.to_heads(t) for t in (query, key, value))))
        return attn.to_out[0](out.flatten(2))


class MaskedCrossAttention(_Attention):
    """Text, image and motion attended to by one query; without motion it is plain Wan's cross-attention."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        context: Tensor,
        _mask: None = None,
        _rotary: None = None,
        motion: LayerMotion | None = None,
    ) -> Tensor:
        """(B, S, H E) to the same; `context` holds the image's tokens, then the text's."""
        image, text = context.split([context.shape[1] - TEXT_TOKENS, TEXT_TOKENS], 1)
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        pairs = (
            (attn.norm_k(attn.to_k(text)), attn.to_v(text)),
            (attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image)),
        )
        out = sum(self.attend(query, *(t.unflatten(2, (attn.heads, -1)) for t in pair)) for pair in pairs)
        if motion is not None:
            motion = motion.on(query.device)
            start = self.shards.start if self.shards else 0
            attended = (
                motion_attention_of_part(query, motion, start) if self.shards else motion_attention(query, motion)
            )
            out = out + attended.type_as(out)
        return attn.to_out[0](out.flatten(2))
