"""One branch's tokens spread over several devices (Ulysses)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class TokenShards:
    """This device's part of a sequence that `num` devices share, equal parts, zeros at the end of the last.

    Between attentions every device holds some tokens of all heads; in self-attention all tokens of some heads.
    """

    group: Any
    num: int
    rank: int
    total: int = 0
    each: int = 0

    @property
    def start(self) -> int:
        """The first token held here."""
        return self.rank * self.each

    def split(self, x: Tensor) -> Tensor:
        """This device's part of (B, S, ...)."""
        self.total, self.each = x.shape[1], -(-x.shape[1] // self.num)
        part = x[:, self.start : self.start + self.each]
        return _pad_tokens(part, self.each - part.shape[1])

    def gather(self, x: Tensor) -> Tensor:
        """The whole from every device's part."""
        parts = [torch.empty_like(x) for _ in range(self.num)]
        torch.distributed.all_gather(parts, x.contiguous(), group=self.group)
        return torch.cat(parts, 1)[:, : self.total]

    def to_heads(self, x: Tensor) -> Tensor:
        """(B, S / num, H, E) on every device to (B, S, H / num, E)."""
        x = x.unflatten(2, (self.num, -1)).permute(2, 1, 0, 3, 4)  # (num, s, B, h, E)
        return self._exchange(x).flatten(0, 1).transpose(0, 1)[:, : self.total]

    def to_tokens(self, x: Tensor) -> Tensor:
        """(B, S, H / num, E) on every device to (B, S / num, H, E)."""
        x = _pad_tokens(x, self.num * self.each - x.shape[1])
        x = x.unflatten(1, (self.num, -1)).permute(1, 3, 2, 0, 4)  # (num, h, s, B, E)
        return self._exchange(x).flatten(0, 1).permute(2, 1, 0, 3)

    def _exchange(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        torch.distributed.all_to_all_single(out, x, group=self.group)
        return out


def _pad_tokens(x: Tensor, count: int) -> Tensor:
    return nn.functional.pad(x, (*(0, 0) * (x.dim() - 2), 0, count)) if count else x


def shard_tokens(model: nn.Module, shards: TokenShards | None) -> None:
    """Spread a transformer's tokens over the devices of `shards`."""
    model.shards = shards
    for block in model.blocks:
        block.attn1.processor.shards = block.attn2.processor.shards = shards
