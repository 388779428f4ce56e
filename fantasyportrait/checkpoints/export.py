"""Writing of tensors in a given layout: shards with an index, one file, or the released pickles."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exprbench.core.errors import UserError
from exprbench.core.files import atomic_path, write_json
from fantasyportrait.checkpoints.formats import infer_image_encoder_config, infer_text_encoder_config
from fantasyportrait.checkpoints.key_mapping import ADAPTER, BACKBONE, IMAGE_ENCODER, TEXT_ENCODER, VAE
from fantasyportrait.checkpoints.model_folder import WanCheckpoint
from fantasyportrait.checkpoints.tensors import Tensors, save_tensors

MAX_SHARD_BYTES = 5_000_000_000
GROUPS = ("proj_model", "mouth_proj_model", "emo_proj_model", "ip_adapter")
LAYOUTS = ("diffusers", "published")


def save_shards(folder: Path, stem: str, tensors: Tensors, *, max_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write `stem.safetensors`, or shards with an index if it would be larger than `max_bytes`."""
    shards = list(_split_shards(tensors, max_bytes))
    if len(shards) == 1:
        save_tensors(folder / f"{stem}.safetensors", tensors)
        return
    weight_map = {}
    for i, names in enumerate(shards, 1):
        file = f"{stem}-{i:05d}-of-{len(shards):05d}.safetensors"
        save_tensors(folder / file, {name: tensors[name] for name in names})
        weight_map.update(dict.fromkeys(names, file))
    total = sum(_num_bytes(tensors, name) for name in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / f"{stem}.safetensors.index.json", index)


def _split_shards(tensors: Tensors, max_bytes: int) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name in tensors:
        if names and size + _num_bytes(tensors, name) > max_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += _num_bytes(tensors, name)
    yield names


def _num_bytes(tensors: Tensors, name: str) -> int:
    return torch.Size(tensors.shape(name)).numel() * tensors.dtype(name).itemsize


def save_pickle(path: Path, state: Mapping[str, Any]) -> None:
    """Write a pickle of tensors atomically, as in the published files."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def save_adapter(out: Path, adapter: Tensors, expression: Tensors, layout: str) -> list[Path]:
    """Write an adapter and expression encoder as two pickles (`released`) or one safetensors file (`flat`).

    Raises:
        UserError: the layout has no place for the adapter's tensors, as for one that augments all features.
    """
    published = adapter.rename(ADAPTER.map_to_published(adapter))
    if layout == "flat":
        path = out / "fantasyportrait.safetensors"
        flat = {name.replace(".processor.", "."): tensor for name, tensor in published.items()}
        save_tensors(path, {**flat, **{f"pd_fpg.{name}": tensor for name, tensor in expression.items()}})
        return [path]
    paths = [out / "fantasyportrait_model.ckpt", out / "pd_fpg.pth"]
    save_pickle(paths[0], {group: dict(published.select_prefix(f"{group}.")) for group in GROUPS})
    save_pickle(paths[1], dict(expression))
    return paths


def save_base(base: WanCheckpoint, out: Path, layout: str) -> list[str]:
    """Write a Wan2.1 download in another layout; return the components it does not have, which are skipped."""
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    skipped = []
    for component, save in (_SAVE_AS_DIFFUSERS if layout == "diffusers" else _SAVE_AS_PUBLISHED).items():
        if base.has(component):
            save(base, out)
        else:
            skipped.append(component)
    if base.tokenizer:
        folder = out / ("tokenizer" if layout == "diffusers" else "google/umt5-xxl")
        shutil.copytree(base.tokenizer, folder, dirs_exist_ok=True)
    return skipped


def _backbone_to_diffusers(base: WanCheckpoint, out: Path) -> None:
    config = {"_class_name": "WanTransformer3DModel", "patch_size": [1, 2, 2], **base.backbone.to_diffusers()}
    save_shards(out / "transformer", "diffusion_pytorch_model", base.tensors("backbone"))
    write_json(out / "transformer/config.json", config)


def _vae_to_diffusers(base: WanCheckpoint, out: Path) -> None:
    tensors = base.tensors("VAE")
    save_shards(out / "vae", "diffusion_pytorch_model", tensors)
    config = {"_class_name": "AutoencoderKLWan", "base_dim": tensors.shape("encoder.conv_in.weight")[0], "z_dim": 16}
    write_json(out / "vae/config.json", config)


def _text_encoder_to_diffusers(base: WanCheckpoint, out: Path) -> None:
    tensors = base.tensors("text encoder")
    save_shards(out / "text_encoder", "model", tensors)
    config = {"architectures": ["UMT5EncoderModel"], "model_type": "umt5", **infer_text_encoder_config(tensors.shapes)}
    write_json(out / "text_encoder/config.json", config)


def _image_encoder_to_diffusers(base: WanCheckpoint, out: Path) -> None:
    tensors, num_heads = base.tensors("image encoder"), base.image_encoder_num_heads
    save_shards(out / "image_encoder", "model", tensors.rename({n: f"vision_model.{n}" for n in tensors}))
    config = {"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model"}
    config |= infer_image_encoder_config(tensors.shapes, num_heads)
    write_json(out / "image_encoder/config.json", config)


def _backbone_to_published(base: WanCheckpoint, out: Path) -> None:
    tensors, size = base.tensors("backbone"), base.backbone
    save_shards(out, "diffusion_pytorch_model", tensors.rename(BACKBONE.map_to_published(tensors)))
    config = {
        "_class_name": "WanModel",
        "model_type": "i2v",
        "dim": size.dim,
        "ffn_dim": size.ffn_dim,
        "freq_dim": size.freq_dim,
        "in_dim": size.in_channels,
        "out_dim": size.out_channels,
        "num_heads": size.num_attention_heads,
        "num_layers": size.num_layers,
        "text_len": 512,
        "eps": 1e-6,
    }
    write_json(out / "config.json", config)


def _vae_to_published(base: WanCheckpoint, out: Path) -> None:
    tensors = base.tensors("VAE")
    save_pickle(out / "Wan2.1_VAE.pth", dict(tensors.rename(VAE.map_to_published(tensors))))


def _text_encoder_to_published(base: WanCheckpoint, out: Path) -> None:
    tensors = base.tensors("text encoder")
    names = TEXT_ENCODER.map_to_published(n for n in tensors if n != "encoder.embed_tokens.weight")
    save_pickle(out / "models_t5_umt5-xxl-enc-bf16.pth", dict(tensors.rename(names)))


def _image_encoder_to_published(base: WanCheckpoint, out: Path) -> None:
    """Write the visual half of the published file; diffusers' layout has no textual half."""
    tensors = base.tensors("image encoder")
    names = IMAGE_ENCODER.map_to_published(n for n in tensors if IMAGE_ENCODER.to_published(n))
    published = join_qkv(dict(tensors.rename(names)))
    save_pickle(out / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", published)


def join_qkv(split: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join queries, keys and values of the image encoder and add leading dimensions to embeddings, as published."""
    joined = {}
    for name, tensor in split.items():
        if ".attn.q." in name:
            joined[name.replace(".q.", ".to_qkv.")] = torch.cat([split[name.replace(".q.", f".{w}.")] for w in "qkv"])
        elif name in ("visual.cls_embedding", "visual.pos_embedding"):
            joined[name] = tensor.view(1, -1, tensor.shape[-1])
        elif ".attn.k." not in name and ".attn.v." not in name:
            joined[name] = tensor
    return joined


_SAVE_AS_DIFFUSERS = {
    "backbone": _backbone_to_diffusers,
    "VAE": _vae_to_diffusers,
    "text encoder": _text_encoder_to_diffusers,
    "image encoder": _image_encoder_to_diffusers,
}
_SAVE_AS_PUBLISHED = {
    "backbone": _backbone_to_published,
    "VAE": _vae_to_published,
    "text encoder": _text_encoder_to_published,
    "image encoder": _image_encoder_to_published,
}
