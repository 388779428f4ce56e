"""Model at the start of a run: built on the meta device and sharded, then each process reads its own shards."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.formats import check_shapes
from fantasyportrait.checkpoints.loading import get_shapes, on_meta_device
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.new_adapter import new_adapter
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import AdapterConfig
from fantasyportrait.model.transformer import MotionTransformer, build_transformer
from fantasyportrait.training.draws import counter_hash
from fantasyportrait.training.sharding import COMPUTE_DTYPES, TrainingRanks, shard_model
from fantasyportrait.training.trainable import TrainableModel, select_trained
from fantasyportrait.training.training_config import TrainingConfig


def build_model(
    config: TrainingConfig,
    folder: ModelFolder,
    adapter: AdapterConfig,
    device: torch.device,
    ranks: TrainingRanks | None = None,
    *,
    continue_adapter: bool,
) -> TrainableModel:
    """Build the model, shard it, and load the backbone and a new adapter, or that of the folder.

    A process reads and keeps its own rows of every tensor, so that its memory is that of its shards and of one whole
    tensor. What is trained is in float32; a frozen backbone is in the data type of the computation. New weights depend
    on the seed, not on the number of processes.

    Raises:
        UserError: the folder's adapter has other learnable tokens than the recipe, or the base is incomplete.
    """
    if continue_adapter and folder.adapter != adapter:
        raise UserError(f"the adapter of {folder.path} has other learnable tokens than augment {config.augment!r}")
    with on_meta_device():
        model = TrainableModel(build_transformer(folder.base.backbone), MotionAdapter(adapter))
    backbone = folder.base.tensors("backbone")
    check_shapes(get_shapes(model.backbone), backbone, "backbone")
    select_trained(model, config.backbone, rank=config.lora_rank, alpha=config.lora_alpha)
    _set_dtypes(model, COMPUTE_DTYPES[config.precision])
    if config.checkpointing:
        model.backbone.enable_gradient_checkpointing()
    if config.compile:
        model.backbone.compile_repeated_blocks(dynamic=True)
    shard_model(model, ranks or TrainingRanks(), device, config.precision)
    adapter_weights = folder.adapter_tensors() if continue_adapter else new_adapter(adapter, config.seed)
    fill(model, lambda name, like: _initial(name, like, backbone, adapter_weights, config.seed), device)
    model.backbone.rope.to(device)
    return model


def _set_dtypes(model: TrainableModel, frozen: torch.dtype) -> None:
    exact = MotionTransformer._keep_in_fp32_modules
    for name, parameter in model.named_parameters():
        is_fast = not parameter.requires_grad and not any(part in name for part in exact)
        parameter.data = parameter.data.to(frozen if is_fast else torch.float32)


def _initial(
    name: str, like: Tensor, backbone: Mapping[str, Tensor], adapter: Mapping[str, Tensor], seed: int
) -> Tensor:
    part, _, rest = name.partition(".")
    if part == "adapter":
        return adapter[rest]
    if rest.endswith(".lora_b.weight"):
        return torch.zeros(like.shape)
    if rest.endswith(".lora_a.weight"):
        generator = torch.Generator().manual_seed(counter_hash(seed, rest, 0, "LoRA") >> 1)
        return nn.init.kaiming_uniform_(torch.empty(like.shape), a=5**0.5, generator=generator)
    return backbone[rest.replace(".base.", ".")]


@torch.no_grad()
def fill(model: nn.Module, read: Callable[[str, Tensor], Tensor], device: torch.device) -> None:
    """Set the parameters of a model on the meta device, sharded or not.

    Args:
        model: in place.
        read: returns the whole value of a parameter, from its name and the parameter.
        device: of the parameters; only this process's rows are copied to it.
    """
    state = {name: _place(read(name, p), p, device) for name, p in model.named_parameters()}
    model.load_state_dict(state, assign=True)


def _place(value: Tensor, like: Tensor, device: torch.device) -> Tensor:
    if not isinstance(like, DTensor):
        return value.to(device, like.dtype, copy=True)
    mesh = like.device_mesh
    start = mesh.get_local_rank() * -(-len(like) // mesh.size())  # FSDP2 shards rows like torch.chunk
    rows = value[start : start + len(like.to_local())].to(device, like.dtype, copy=True)
    return DTensor.from_local(rows, mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride())
