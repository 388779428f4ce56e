"""Exponential moving average of the trainable parameters, in float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialAverage:
    """Average of a module's trainable parameters: e <- d e + (1 - d) p, with a smaller d in the first steps.

    The average starts at the parameters' values. d is min(decay, (1 + n) / (10 + n)) in update n, counted from 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.num_updates = decay, 0
        self.values = {n: p.detach().float().clone() for n, p in module.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the current parameters into the average."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        for name, parameter in module.named_parameters():
            if name in self.values:
                self.values[name].mul_(decay).add_(parameter.detach().float(), alpha=1 - decay)

    @contextmanager
    def swapped_in(self, module: nn.Module) -> Iterator[None]:
        """Replace the parameters by their average for a block."""
        parameters = {n: p for n, p in module.named_parameters() if n in self.values}
        saved = {n: p.detach().clone() for n, p in parameters.items()}
        try:
            _copy(self.values, parameters)
            yield
        finally:
            _copy(saved, parameters)


@torch.no_grad()
def _copy(values: dict[str, Tensor], parameters: dict[str, nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
