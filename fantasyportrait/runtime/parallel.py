"""Several devices: guidance branches on different ones, and one branch's tokens spread over several (Ulysses).

Started by torchrun. Ranks form a grid of cases x branches x tokens, tokens innermost, where links are fastest.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exprbench.core.errors import UserError
from fantasyportrait.model.context_parallel import TokenShards


@dataclass(frozen=True)
class Ranks:
    """This process's place in the grid. Group handles are None where a dimension has one member."""

    case: int = 0
    num_cases: int = 1
    branch: int = 0
    num_branches: int = 1
    branch_group: Any = None
    shards: TokenShards | None = None

    @property
    def writes(self) -> bool:
        """Is this the process of its case that decodes and writes?"""
        return self.branch == 0 and (self.shards is None or self.shards.rank == 0)

    def own(self, branches: Sequence[Any]) -> list[Any]:
        """The guidance branches this process evaluates."""
        return list(branches[self.branch :: self.num_branches])

    def add_up(self, velocity: Tensor) -> Tensor:
        """The sum of every branch's weighted velocity."""
        if self.branch_group is not None:
            torch.distributed.all_reduce(velocity, group=self.branch_group)
        return velocity


def join(*, device: torch.device, guidance: int = 1, context: int = 1, num_heads: int | None = None) -> Ranks:
    """Take a place among the processes torchrun started; alone, the only one.

    Args:
        device: of this process.
        guidance: over how many devices the branches of a step are spread.
        context: over how many the tokens of a branch.
        num_heads: of the backbone, which `context` must divide.

    Raises:
        UserError: the numbers do not fit.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world % (guidance * context):
        raise UserError(f"{world} processes do not divide into {guidance} branches x {context} parts of the tokens")
    if num_heads and num_heads % context:
        raise UserError(f"{num_heads} heads do not spread over {context} devices; choose a divisor")
    if world == 1:
        return Ranks()
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(torch.distributed.destroy_process_group)
    shape = (world // (guidance * context), guidance, context)
    mesh = torch.distributed.init_device_mesh(device.type, shape, mesh_dim_names=("case", "branch", "token"))
    case, branch, token = mesh.get_coordinate()
    shards = TokenShards(mesh.get_group("token"), context, token) if context > 1 else None
    return Ranks(
        case=case,
        num_cases=shape[0],
        branch=branch,
        num_branches=guidance,
        branch_group=mesh.get_group("branch") if guidance > 1 else None,
        shards=shards,
    )
