"""Adapters before training, and model folders from which training starts."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fantasyportrait.checkpoints.model_folder import WanCheckpoint
from fantasyportrait.checkpoints.model_writer import open_expression_encoder, write_model_folder
from fantasyportrait.checkpoints.tensors import open_tensors
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import AUGMENTED, MODEL_CONFIGS, AdapterConfig, BackboneConfig


def write_untrained_model(
    out: Path, expression: Path, base: WanCheckpoint, *, augment: str, seed: int, dtype: torch.dtype
) -> list[str]:
    """Write a model folder with a new adapter; return lines for the user.

    Args:
        out: the folder.
        expression: `pd_fpg.pth`, or an adapter's file that includes the expression encoder.
        base: the Wan2.1 download.
        augment: a key of `AUGMENTED`, a row of the paper's Table 3.
        seed: random seed of the adapter.
        dtype: data type of the adapter.
    """
    encoder = open_expression_encoder(open_tensors(expression))
    config = new_adapter_config(base.backbone, augment)
    adapter = {name: tensor.to(dtype) for name, tensor in new_adapter(config, seed).items()}
    messages = write_model_folder(out, adapter, dict(encoder), base, config=vars(config), origin="untrained")
    return [*messages, f"wrote {out}: its adapter is untrained and does not move the portrait"]


def new_adapter(config: AdapterConfig, seed: int) -> dict[str, Tensor]:
    """Return the weights of an adapter before training: motion projections are zero, so that it adds nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MotionAdapter(config).state_dict()


def new_adapter_config(backbone: BackboneConfig, augment: str) -> AdapterConfig:
    """Return the size of a new adapter: that of the project's model with this backbone, else as released."""
    sizes = {(m.adapter.num_layers, m.adapter.dim): m.adapter for m in MODEL_CONFIGS.values()}
    size = backbone.num_layers, backbone.dim
    config = sizes.get(size, AdapterConfig(num_layers=size[0], dim=size[1]))
    return replace(config, augmented=AUGMENTED[augment])
