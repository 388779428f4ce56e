"""Wan's video transformer with motion: diffusers' modules and weights, with one more argument passed to every block.

The classes here add no weights. Without motion the output equals that of diffusers' model up to rounding.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import (
    WanTimeTextImageEmbedding,
    WanTransformer3DModel,
    WanTransformerBlock,
)
from torch import Tensor, nn

from fantasyportrait.model.attention import LayerMotion, MaskedCrossAttention, SelfAttention
from fantasyportrait.model.block_residual import BlockResidual
from fantasyportrait.model.configs import BackboneConfig
from fantasyportrait.model.context_parallel import TokenShards
from fantasyportrait.model.motion_tokens import MotionTokens


class MotionBlock(WanTransformerBlock):
    """Transformer block: self-attention, masked cross-attention to text, image and motion, feed-forward."""

    def forward(  # noqa: D102
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
        motion: LayerMotion | None = None,
    ) -> Tensor:
        modulation = (self.scale_shift_table + temb).chunk(6, dim=1)
        shift, scale, gate, ff_shift, ff_scale, ff_gate = modulation
        x = hidden_states
        x = _add(x, self.attn1(_modulate(self.norm1, x, scale, shift), None, None, rotary_emb), gate)
        x = x + self.attn2(
            self.norm2(x.float()).type_as(x), encoder_hidden_states, None, None, motion=motion
        )  # Eq. (4)
        return _add(x, self.ffn(_modulate(self.norm3, x, ff_scale, ff_shift)), ff_gate)


def _modulate(norm: nn.Module, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return (norm(x.float()) * (1 + scale) + shift).type_as(x)


def _add(x: Tensor, update: Tensor, gate: Tensor) -> Tensor:
    return (x.float() + update * gate).type_as(x)


class MotionTransformer(WanTransformer3DModel):
    """`WanTransformer3DModel` whose blocks take motion; build it with `build_transformer`."""

    _repeated_blocks = ["MotionBlock"]  # noqa: RUF012
    _no_split_modules = ["MotionBlock"]  # noqa: RUF012
    _keep_in_fp32_modules = [*WanTransformer3DModel._keep_in_fp32_modules, "time_proj"]  # noqa: RUF012
    shards: TokenShards | None = None

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_image: Tensor,
        motion: MotionTokens | None = None,
        residual: BlockResidual | None = None,
    ) -> Tensor:
        """Predict the velocity of noisy latents.

        Args:
            hidden_states: (B, 36, f, h, w): 16 channels of noisy latents, 20 of the image condition.
            timestep: (B,), 1000 for pure noise, 0 for clean latents.
            encoder_hidden_states: (B, 512, text_dim), zero beyond the prompt.
            encoder_hidden_states_image: (B, 257, image_dim).
            motion: motion keys and values of each layer; None for no motion.
            residual: residual of the blocks, which is added instead of running them, or stored; None for neither.

        Returns:
            (B, 16, f, h, w).
        """
        rotary = self.rope(hidden_states)
        grid = tuple(n // p for n, p in zip(hidden_states.shape[2:], self.config.patch_size, strict=True))
        x = self.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous()
        temb, modulation, text, image = self.condition_embedder(
            timestep, encoder_hidden_states, encoder_hidden_states_image
        )
        context = torch.cat([image, text], 1)
        modulation = modulation.unflatten(1, (6, -1))
        if self.shards:
            x, rotary = self.shards.split(x), tuple(self.shards.split(t) for t in rotary)
        rotary = tuple(t.clone() for t in rotary)  # no views: torch.compile would specialise on the shape of their base
        if residual is not None and residual.reuse:
            x = residual.add_to(x)
        else:
            embedded = x
            layers = motion.layers(grid[1] * grid[2]) if motion else [None] * len(self.blocks)
            for block, layer_motion in zip(self.blocks, layers, strict=True):
                x = self._run_block(block, x, context, modulation, rotary, layer_motion)
            if residual is not None:
                residual.store(x - embedded)
        shift, scale = (self.scale_shift_table + temb.unsqueeze(1)).chunk(2, dim=1)
        x = self.proj_out(_modulate(self.norm_out, x, scale, shift))
        return self._unpatchify(self.shards.gather(x) if self.shards else x, grid)

    def _run_block(self, block: Callable[..., Tensor], *inputs: Any) -> Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)

    def _unpatchify(self, x: Tensor, grid: tuple[int, ...]) -> Tensor:
        x = x.unflatten(2, (*self.config.patch_size, -1)).unflatten(1, grid)  # (B, f, h, w, pf, ph, pw, C)
        return x.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


class ConditionEmbedder(WanTimeTextImageEmbedding):
    """Embedding of the timestep, the prompt and the image, with the timestep's in float32.

    diffusers rounds the timestep's embedding to the type of the prompt and projects it in that type; in bfloat16, this
    doubles the error of the modulation.
    """

    def forward(  # noqa: D102
        self, timestep: Tensor, encoder_hidden_states: Tensor, encoder_hidden_states_image: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with torch.autocast(timestep.device.type, enabled=False):
            sinusoids = self.timesteps_proj(timestep)
            temb = self.time_embedder(sinusoids.to(self.time_embedder.linear_1.weight.dtype)).float()
            modulation = self.time_proj(self.act_fn(temb).to(self.time_proj.weight.dtype)).float()
        text, image = self.text_embedder(encoder_hidden_states), self.image_embedder(encoder_hidden_states_image)
        return temb, modulation, text, image


class SinusoidalTimesteps(nn.Module):
    """Sinusoidal embedding of timesteps, (B,) to (B, dim), in float64 as in training of the weights.

    In float32, as in diffusers, the angle of a timestep near 1000 is off by 3e-5, and so is the velocity.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, timestep: Tensor) -> Tensor:  # noqa: D102
        half = self.dim // 2
        exponents = torch.arange(half, dtype=torch.float64, device=timestep.device) / half
        angles = timestep.double()[:, None] * 10000.0**-exponents
        return torch.cat([angles.cos(), angles.sin()], 1).float()


def build_transformer(config: BackboneConfig) -> MotionTransformer:
    """Build a transformer of the given size, in evaluation mode and without gradients."""
    model = MotionTransformer(**config.to_diffusers())
    for block in model.blocks:
        block.__class__ = MotionBlock  # the same modules, one more argument
        block.attn1.processor, block.attn2.processor = SelfAttention(), MaskedCrossAttention()
    model.condition_embedder.__class__ = ConditionEmbedder
    model.condition_embedder.timesteps_proj = SinusoidalTimesteps(config.freq_dim)
    return model.eval().requires_grad_(False)
