"""Residual of the backbone's blocks, which can replace their computation in a denoising step."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class BlockResidual:
    """Residual of the blocks, output minus input, at the last computed step of one window and guidance branch.

    The backbone adds it instead of running its blocks if `reuse` is set, and stores it otherwise. It is kept in CPU
    memory: it is as large as the hidden states, and moving it takes a small part of the time of the blocks. `growth`
    holds the growth of every stored residual over the one before, if `measure` is set.
    """

    measure: bool = False
    reuse: bool = False
    value: Tensor = field(default_factory=lambda: torch.empty(0))
    growth: list[float] = field(default_factory=list)

    @property
    def is_stored(self) -> bool:
        """Return whether a step was computed before."""
        return self.value.numel() > 0

    def store(self, residual: Tensor) -> None:
        """Keep a residual (B, S, C)."""
        if self.measure:
            self.growth.append(self._measure_growth(residual))
        if not self.is_stored:
            self.value = torch.empty_like(residual, device="cpu", pin_memory=residual.is_cuda)
        self.value.copy_(residual, non_blocking=True)

    def _measure_growth(self, residual: Tensor) -> float:
        """Return the norm of a residual relative to that of the one before, the mean over tokens; 1 for the first."""
        if not self.is_stored:
            return 1.0
        before = torch.linalg.norm(self.value.to(residual.device).float(), dim=-1)
        return float((torch.linalg.norm(residual.float(), dim=-1) / (before + 1e-8)).mean())

    def add_to(self, hidden_states: Tensor) -> Tensor:
        """Return hidden states with the residual added, in place of the blocks' output."""
        return hidden_states + self.value.to(hidden_states.device, non_blocking=True)
