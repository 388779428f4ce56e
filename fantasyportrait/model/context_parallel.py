"""Context parallelism: the tokens of one guidance branch sharded over several devices (Ulysses)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class TokenShards:
    """This device's shard of a token sequence; all shards have equal length, the last ones are padded with zeros.

    Between attentions every device has some tokens of all heads; in self-attention, all tokens of some heads.
    `num_tokens` and `shard_size` are set by `split`.
    """

    group: Any
    num_shards: int
    rank: int
    num_tokens: int = 0
    shard_size: int = 0

    @property
    def start(self) -> int:
        """Return the index of this shard's first token."""
        return self.rank * self.shard_size

    def split(self, x: Tensor) -> Tensor:
        """Return this device's shard of (B, S, ...)."""
        self.num_tokens, self.shard_size = x.shape[1], -(-x.shape[1] // self.num_shards)
        shard = x[:, self.start : self.start + self.shard_size]
        return _pad_tokens(shard, self.shard_size - shard.shape[1])

    def gather(self, x: Tensor) -> Tensor:
        """Gather the whole sequence from the shards of all devices.

        The gradient of a shard is the sum over devices. If every device computes the same loss from the whole sequence,
        average the gradients of the parameters over the devices, as FSDP and DDP do.
        """
        return _AllGather.apply(x, self)[:, : self.num_tokens]

    def to_heads(self, x: Tensor) -> Tensor:
        """Exchange tokens for heads: (B, S / n, H, E) on each of n devices to (B, S, H / n, E)."""
        x = x.unflatten(2, (self.num_shards, -1)).permute(2, 1, 0, 3, 4)  # (n, s, B, h, E)
        return _AllToAll.apply(x, self.group).flatten(0, 1).transpose(0, 1)[:, : self.num_tokens]

    def to_tokens(self, x: Tensor) -> Tensor:
        """Exchange heads for tokens: (B, S, H / n, E) on each of n devices to (B, S / n, H, E)."""
        x = _pad_tokens(x, self.num_shards * self.shard_size - x.shape[1])
        x = x.unflatten(1, (self.num_shards, -1)).permute(1, 3, 2, 0, 4)  # (n, h, s, B, E)
        return _AllToAll.apply(x, self.group).flatten(0, 1).permute(2, 1, 0, 3)


class _AllToAll(torch.autograd.Function):
    """Exchange of equal parts along the first dimension; its gradient is exchanged back in the same way.

    `torch.distributed.nn` has the same functions, but their backward passes fail in groups without rank 0 on gloo.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        x = x.contiguous()
        out = torch.empty_like(x)
        torch.distributed.all_to_all_single(out, x, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _AllToAll.apply(gradient, ctx.group), None


class _AllGather(torch.autograd.Function):
    """Concatenation of the shards of all devices along the tokens; the gradient of a shard is summed over devices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shards: TokenShards) -> Tensor:
        ctx.group, ctx.tokens = shards.group, slice(shards.start, shards.start + shards.shard_size)
        parts = [torch.empty_like(x) for _ in range(shards.num_shards)]
        torch.distributed.all_gather(parts, x.contiguous(), group=shards.group)
        return torch.cat(parts, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total, group=ctx.group)
        return total[:, ctx.tokens], None


def _pad_tokens(x: Tensor, num_tokens: int) -> Tensor:
    return nn.functional.pad(x, (*(0, 0) * (x.dim() - 2), 0, num_tokens)) if num_tokens else x


def shard_tokens(model: nn.Module, shards: TokenShards | None) -> None:
    """Shard a transformer's tokens over the devices of `shards`; None turns sharding off."""
    model.shards = shards
    for block in model.blocks:
        block.attn1.processor.shards = block.attn2.processor.shards = shards
