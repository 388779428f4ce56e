"""Processes of a training run: process group, FSDP2 shards of the parameters, context parallelism."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from exprbench.core.errors import UserError
from fantasyportrait.model.context_parallel import TokenShards, shard_tokens
from fantasyportrait.runtime.parallel import init_mesh, token_shards
from fantasyportrait.training.trainable import TrainableModel
from fantasyportrait.training.training_config import TrainingConfig

COMPUTE_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class TrainingRanks:
    """Position of this process: `data` of `num_data` shares of a batch; `shards` of the tokens of a clip, or None."""

    rank: int = 0
    world_size: int = 1
    data: int = 0
    num_data: int = 1
    shards: TokenShards | None = None

    @property
    def is_main(self) -> bool:
        """Return whether this process writes files and reports progress."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes."""
        return self.sum(value) / self.world_size

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        total = value.detach().clone()
        if self.world_size > 1:
            torch.distributed.all_reduce(total)
        return total

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            torch.distributed.barrier()


def init_training_ranks(device: torch.device, config: TrainingConfig, num_heads: int) -> TrainingRanks:
    """Initialise the process group if torchrun or Slurm started several processes, and return this one's position.

    Raises:
        UserError: the numbers of processes, heads and clips do not divide.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    config.accumulation(world_size)
    if num_heads % config.context_parallel:
        raise UserError(f"context_parallel is {config.context_parallel}; expected a divisor of the {num_heads} heads")
    if world_size == 1:
        return TrainingRanks()
    num_data = world_size // config.context_parallel
    mesh = init_mesh(device, data=num_data, token=config.context_parallel)
    return TrainingRanks(mesh.get_rank(), world_size, mesh.get_local_rank("data"), num_data, token_shards(mesh))


def shard_model(model: TrainableModel, ranks: TrainingRanks, device: torch.device, precision: str) -> None:
    """Shard the parameters over all processes with FSDP2, by block, and the tokens over those that share a clip.

    Parameters that are trained stay in float32; blocks compute in the data type of `precision`, gradients are reduced
    in float32. The timestep's embedding computes in float32. One process alone has nothing to shard.
    """
    shard_tokens(model.backbone, ranks.shards)
    if ranks.world_size == 1:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = torch.distributed.init_device_mesh(device.type, (ranks.world_size,))
    exact = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    fast = MixedPrecisionPolicy(
        param_dtype=COMPUTE_DTYPES[precision], reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    embedder = model.backbone.condition_embedder
    for module in (embedder.time_embedder, embedder.time_proj):
        fully_shard(module, mesh=mesh, mp_policy=exact)
    for module in (*model.backbone.blocks, *model.adapter.layers, model.backbone, model.adapter):
        fully_shard(module, mesh=mesh, mp_policy=fast)


def set_gradient_sync(model: TrainableModel, is_last: bool) -> None:
    """Reduce gradients over processes only in the last forward pass of a step."""
    for module in (model.backbone, model.adapter):
        if hasattr(module, "set_requires_gradient_sync"):
            module.set_requires_gradient_sync(is_last)


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor of all processes' shards; a plain tensor is returned as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def full_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the whole parameters and buffers of a sharded module in CPU memory; all processes take part."""
    return {name: full_tensor(tensor).detach().cpu() for name, tensor in module.state_dict().items()}


def memory_gib(device: torch.device) -> float:
    """Return the peak memory of this process: of the GPU, or resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import psutil

    return psutil.Process().memory_info().rss / 2**30


def autocast(device: torch.device, precision: str) -> Any:
    """Return the context in which a model computes in the data type of `precision`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
