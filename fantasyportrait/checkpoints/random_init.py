"""Models of random weights, in the files and layouts of real ones: for tests, and for trying a machine out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from exprbench.core.errors import unknown_name
from exprbench.core.files import write_json
from fantasyportrait.checkpoints.export import save_shards
from fantasyportrait.checkpoints.model_folder import Base
from fantasyportrait.checkpoints.model_writer import write_folder
from fantasyportrait.checkpoints.tensors import Tensors
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import AUGMENTED, SIZES, AdapterConfig, Size
from fantasyportrait.model.transformer import build_transformer


def write_random_model(out: Path, size: str, seed: int = 0, augment: str = "selective") -> list[str]:
    """Write a model folder, its base inside, of random weights that depend on the seed alone.

    Args:
        out: the folder.
        size: a key of `SIZES`.
        seed: of the weights.
        augment: a row of the paper's Table 3, a key of `AUGMENTED`.
    """
    if size not in SIZES:
        raise unknown_name("size", size, list(SIZES))
    if augment not in AUGMENTED:
        raise unknown_name("augmentation", augment, list(AUGMENTED))
    sizes = SIZES[size]
    config = replace(sizes.adapter, augmented=AUGMENTED[augment])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _write_base(out / "base", sizes, torch.float32 if size == "tiny" else torch.bfloat16)
        adapter, expression = random_adapter(config), random_expression_encoder()
    told = write_folder(
        out,
        adapter.state_dict(),
        expression.state_dict(),
        Base(out / "base"),
        config=vars(config),
        origin=f"random-{size}-seed{seed}",
    )
    return [*told, f"wrote {out}: a {size} model of random weights"]


def random_adapter(config: AdapterConfig) -> MotionAdapter:
    """An adapter whose motion reaches the backbone: projections are not left at zero."""
    adapter = MotionAdapter(config)
    for layer in adapter.layers:
        for linear in (layer.to_k, layer.to_v):
            nn.init.normal_(linear.weight, std=2 * config.token_dim**-0.5)
    return adapter.eval()


def random_expression_encoder() -> ExpressionEncoder:
    """An encoder whose features follow the picture: the rectifier behind its last convolution is kept from closing."""
    encoder = ExpressionEncoder()
    weight = encoder.model.conv6.weight.data
    weight -= weight.mean(dim=(2, 3), keepdim=True)
    weight *= 8 / weight.std() / weight[0].numel() ** 0.5
    nn.init.normal_(encoder.model.fc.weight, std=28**-1)
    return encoder


def _write_base(out: Path, sizes: Size, dtype: torch.dtype) -> None:
    """One part after the other, so that no two large ones are in memory at once."""
    from diffusers import AutoencoderKLWan
    from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

    text = UMT5Config(**sizes.text_encoder, feed_forward_proj="gated-gelu")
    image = CLIPVisionConfig(**sizes.image_encoder, image_size=224, hidden_act="gelu")
    _write(out / "vae", "diffusion_pytorch_model", AutoencoderKLWan(**sizes.vae), {**sizes.vae, "z_dim": 16})
    backbone = _of(dtype, lambda: build_transformer(sizes.backbone))
    _write(out / "transformer", "diffusion_pytorch_model", backbone, sizes.backbone.for_diffusers())
    del backbone
    _write(out / "text_encoder", "model", _of(dtype, lambda: UMT5EncoderModel(text)), sizes.text_encoder)
    clip = CLIPVisionModel(image)
    _write(out / "image_encoder", "model", getattr(clip, "vision_model", clip), image.to_diff_dict(), "vision_model.")


def _of(dtype: torch.dtype, build: Callable[[], nn.Module]) -> nn.Module:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return build()
    finally:
        torch.set_default_dtype(usual)


def _write(folder: Path, stem: str, module: nn.Module, config: dict[str, Any], prefix: str = "") -> None:
    states = {prefix + n: t for n, t in module.state_dict().items() if n != "encoder.embed_tokens.weight"}
    save_shards(folder, stem, Tensors(states, str(folder)))
    write_json(folder / "config.json", config)
