"""Models of random weights in the same files and layouts as real ones, for tests and for trials of hardware."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from exprbench.core.errors import unknown_name
from exprbench.core.files import write_json
from fantasyportrait.checkpoints.export import save_shards
from fantasyportrait.checkpoints.model_folder import WanCheckpoint
from fantasyportrait.checkpoints.model_writer import write_model_folder
from fantasyportrait.checkpoints.tensors import Tensors
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import AUGMENTED, MODEL_CONFIGS, AdapterConfig, ModelConfig
from fantasyportrait.model.transformer import build_transformer


def write_random_model(out: Path, size: str, seed: int = 0, augment: str = "selective") -> list[str]:
    """Write a model folder with its base inside, of random weights that depend only on the seed.

    Args:
        out: the folder.
        size: a key of `MODEL_CONFIGS`.
        seed: random seed of the weights.
        augment: a key of `AUGMENTED`, a row of the paper's Table 3.

    Raises:
        UserError: the size or the row is unknown.
    """
    if size not in MODEL_CONFIGS:
        raise unknown_name("size", size, list(MODEL_CONFIGS))
    if augment not in AUGMENTED:
        raise unknown_name("augmentation", augment, list(AUGMENTED))
    model = MODEL_CONFIGS[size]
    config = replace(model.adapter, augmented=AUGMENTED[augment])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        write_random_base(out / "base", model, torch.float32 if size == "tiny" else torch.bfloat16)
        adapter, expression = random_adapter(config), random_expression_encoder()
    messages = write_model_folder(
        out,
        adapter.state_dict(),
        expression.state_dict(),
        WanCheckpoint(out / "base"),
        config=vars(config),
        origin=f"random-{size}-seed{seed}",
    )
    return [*messages, f"wrote {out}: a {size} model of random weights"]


def random_adapter(config: AdapterConfig) -> MotionAdapter:
    """Build an adapter of random weights whose motion projections, unlike at the start of training, are not zero."""
    adapter = MotionAdapter(config)
    for layer in adapter.layers:
        for linear in (layer.to_k, layer.to_v):
            nn.init.normal_(linear.weight, std=2 * config.token_dim**-0.5)
    return adapter.eval()


def random_expression_encoder() -> ExpressionEncoder:
    """Build an encoder whose features vary with the image: its last ReLU is kept from being zero everywhere."""
    encoder = ExpressionEncoder()
    weight = encoder.model.conv6.weight.data
    weight -= weight.mean(dim=(2, 3), keepdim=True)
    weight *= 8 / weight.std() / weight[0].numel() ** 0.5
    nn.init.normal_(encoder.model.fc.weight, std=28**-1)
    return encoder


def write_random_base(out: Path, model: ModelConfig, dtype: torch.dtype) -> None:
    """Write a Wan2.1 base in diffusers' layout, one component at a time to limit memory."""
    from diffusers import AutoencoderKLWan
    from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

    text = UMT5Config(**model.text_encoder, feed_forward_proj="gated-gelu")
    image = CLIPVisionConfig(**model.image_encoder, image_size=224, hidden_act="gelu")
    _write(out / "vae", "diffusion_pytorch_model", AutoencoderKLWan(**model.vae), {**model.vae, "z_dim": 16})
    backbone = _build_in_dtype(dtype, lambda: build_transformer(model.backbone))
    _write(out / "transformer", "diffusion_pytorch_model", backbone, model.backbone.to_diffusers())
    del backbone
    _write(out / "text_encoder", "model", _build_in_dtype(dtype, lambda: UMT5EncoderModel(text)), model.text_encoder)
    clip = CLIPVisionModel(image)
    _write(out / "image_encoder", "model", getattr(clip, "vision_model", clip), image.to_diff_dict(), "vision_model.")


def _build_in_dtype(dtype: torch.dtype, build: Callable[[], nn.Module]) -> nn.Module:
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return build()
    finally:
        torch.set_default_dtype(default)


def _write(folder: Path, stem: str, module: nn.Module, config: dict[str, Any], prefix: str = "") -> None:
    state = {prefix + n: t for n, t in module.state_dict().items() if n != "encoder.embed_tokens.weight"}
    save_shards(folder, stem, Tensors(state, str(folder)))
    write_json(folder / "config.json", config)
