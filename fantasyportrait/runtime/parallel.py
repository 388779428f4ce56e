"""Several devices: guidance parallelism over branches and context parallelism over the tokens of a branch (Ulysses).

Processes are started by torchrun. Ranks form a grid of cases x branches x tokens, with tokens innermost, where links
are fastest.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from exprbench.core.errors import UserError
from fantasyportrait.model.context_parallel import TokenShards


@dataclass(frozen=True)
class Ranks:
    """Position of this process in the grid. Process groups are None for dimensions of size one."""

    case: int = 0
    num_cases: int = 1
    branch: int = 0
    num_branches: int = 1
    branch_group: Any = None
    shards: TokenShards | None = None

    @property
    def is_writer(self) -> bool:
        """Return whether this process decodes and writes the video of its case."""
        return self.branch == 0 and (self.shards is None or self.shards.rank == 0)

    def select_branches(self, branches: Sequence[Any]) -> list[Any]:
        """Return the guidance branches that this process evaluates."""
        return list(branches[self.branch :: self.num_branches])

    def sum_branches(self, velocity: Tensor) -> Tensor:
        """Return the sum of the weighted velocities of all branches (all-reduce, in place)."""
        if self.branch_group is not None:
            torch.distributed.all_reduce(velocity, group=self.branch_group)
        return velocity

    def agree_on_minimum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Return the element-wise minimum over the processes that share a video, so that all make the same plan."""
        smallest = torch.tensor(values, dtype=torch.float64, device=device)
        for group in (self.shards.group if self.shards else None, self.branch_group):
            if group is not None:
                torch.distributed.all_reduce(smallest, torch.distributed.ReduceOp.MIN, group=group)
        return smallest.tolist()


def init_distributed(
    *, device: torch.device, guidance_parallel: int = 1, context_parallel: int = 1, num_heads: int | None = None
) -> Ranks:
    """Initialise the process group if torchrun started several processes, and return this process's position.

    Args:
        device: device of this process.
        guidance_parallel: number of devices that share the branches of a step.
        context_parallel: number of devices that share the tokens of a branch.
        num_heads: attention heads of the backbone, a multiple of `context_parallel`.

    Raises:
        UserError: the numbers of processes, devices and heads do not divide.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size % (guidance_parallel * context_parallel):
        raise UserError(
            f"the number of processes is {world_size}; expected a multiple of --guidance-parallel {guidance_parallel} "
            f"x --context-parallel {context_parallel}"
        )
    if num_heads and num_heads % context_parallel:
        raise UserError(f"--context-parallel is {context_parallel}; expected a divisor of the {num_heads} heads")
    if world_size == 1:
        return Ranks()
    num_cases = world_size // (guidance_parallel * context_parallel)
    mesh = init_mesh(device, case=num_cases, branch=guidance_parallel, token=context_parallel)
    return Ranks(
        case=mesh.get_local_rank("case"),
        num_cases=num_cases,
        branch=mesh.get_local_rank("branch"),
        num_branches=guidance_parallel,
        branch_group=mesh.get_group("branch") if guidance_parallel > 1 else None,
        shards=token_shards(mesh),
    )


def init_mesh(device: torch.device, **sizes: int) -> DeviceMesh:
    """Initialise the process group, unless it is, and return the grid of all processes with named dimensions."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(torch.distributed.destroy_process_group)
    return torch.distributed.init_device_mesh(device.type, tuple(sizes.values()), mesh_dim_names=tuple(sizes))


def token_shards(mesh: DeviceMesh) -> TokenShards | None:
    """Return this process's share of the tokens in the dimension `token` of a grid; None if it has size one."""
    size = mesh["token"].size()
    return TokenShards(mesh.get_group("token"), size, mesh.get_local_rank("token")) if size > 1 else None
