"""Mapping of tensor names between the published layouts and those used here (diffusers, transformers, our own)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from exprbench.core.errors import UserError


@dataclass(frozen=True)
class KeyMapping:
    """One-to-one mapping between published and internal names.

    `modules` maps the beginnings of names, with `{}` for a layer's number, and `submodules` what follows them.
    `top_level` maps the beginnings of names outside all `modules`. The rest of a name, such as `weight`, is kept.
    """

    modules: dict[str, str]
    submodules: dict[str, str]
    top_level: dict[str, str]

    def to_internal(self, published: str) -> str | None:
        """Return the internal name of a published tensor, or None if it is unknown."""
        return _translate(published, self.modules, self.submodules, self.top_level)

    def to_published(self, internal: str) -> str | None:
        """Return the published name of an internal tensor, or None if the published layout has no such tensor."""
        tables = (self.modules, self.submodules, self.top_level)
        return _translate(internal, *({new: old for old, new in table.items()} for table in tables))

    def map_to_internal(self, published: Iterable[str]) -> dict[str, str]:
        """Map published names to internal ones, without those that are unknown."""
        return {name: new for name in published if (new := self.to_internal(name))}

    def map_to_published(self, internal: Iterable[str]) -> dict[str, str]:
        """Map internal names to published ones.

        Raises:
            UserError: the published layout has no place for a tensor.
        """
        names = {name: self.to_published(name) for name in internal}
        if unknown := [name for name, new in names.items() if new is None]:
            raise UserError(f"the published layout has no place for {unknown[0]} and {len(unknown) - 1} others")
        return names  # type: ignore[return-value]


def _translate(name: str, modules: dict[str, str], submodules: dict[str, str], top_level: dict[str, str]) -> str | None:
    for module in sorted(modules, key=len, reverse=True):
        match = re.match(re.escape(module).replace(r"\{\}", r"(\d+)") + r"\.", name)
        if match:
            submodule = _replace_prefix(name[match.end() :], submodules)
            return submodule and f"{modules[module].format(*match.groups())}.{submodule}"
    return _replace_prefix(name, top_level)


def _replace_prefix(name: str, table: dict[str, str]) -> str | None:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        new = table.get(".".join(parts[:length]))
        if new is not None:
            return ".".join([new, *parts[length:]])
    return None


def _attention(published: str, internal: str) -> dict[str, str]:
    names = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0", "norm_q": "norm_q", "norm_k": "norm_k"}
    return {f"{published}.{a}": f"{internal}.{b}" for a, b in names.items()}


BACKBONE = KeyMapping(
    modules={"blocks.{}": "blocks.{}"},
    submodules={
        **_attention("self_attn", "attn1"),
        **_attention("cross_attn", "attn2"),
        "cross_attn.k_img": "attn2.add_k_proj",
        "cross_attn.v_img": "attn2.add_v_proj",
        "cross_attn.norm_k_img": "attn2.norm_added_k",
        "norm3": "norm2",  # the affine norm before cross-attention
        "ffn.0": "ffn.net.0.proj",
        "ffn.2": "ffn.net.2",
        "modulation": "scale_shift_table",
    },
    top_level={
        "patch_embedding": "patch_embedding",
        "time_embedding.0": "condition_embedder.time_embedder.linear_1",
        "time_embedding.2": "condition_embedder.time_embedder.linear_2",
        "text_embedding.0": "condition_embedder.text_embedder.linear_1",
        "text_embedding.2": "condition_embedder.text_embedder.linear_2",
        "time_projection.1": "condition_embedder.time_proj",
        "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
        "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
        "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
        "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
        "head.modulation": "scale_shift_table",
        "head.head": "proj_out",
    },
)

ADAPTER = KeyMapping(
    modules={
        "ip_adapter.blocks.{}.cross_attn.processor": "layers.{}",
        "mouth_proj_model.layers.{}.0": "augment.mouth.layers.{}",
        "mouth_proj_model.layers.{}.1": "augment.mouth.layers.{}.feed",
        "mouth_proj_model": "augment.mouth",
        "emo_proj_model.layers.{}.0": "augment.emotion.layers.{}",
        "emo_proj_model.layers.{}.1": "augment.emotion.layers.{}.feed",
        "emo_proj_model": "augment.emotion",
    },
    submodules={
        "ip_adapter_single_stream_k_proj": "to_k",
        "ip_adapter_single_stream_v_proj": "to_v",
        "latents": "queries",
        "norm1": "norm_given",
        "norm2": "norm_queries",
        **{name: name for name in ("proj_in", "proj_out", "norm_out", "to_q", "to_kv", "to_out", "0", "1", "3")},
    },
    top_level={
        "proj_model.headpose_proj": "linear.head",
        "proj_model.eye_proj": "linear.eyes",
        "proj_model.emo_proj": "linear.emotion",
        "proj_model.mouth_proj": "linear.mouth",
        "proj_model.norm": "norm",
    },
)

TEXT_ENCODER = KeyMapping(
    modules={"blocks.{}": "encoder.block.{}"},
    submodules={
        "norm1": "layer.0.layer_norm",
        **{f"attn.{w}": f"layer.0.SelfAttention.{w}" for w in "qkvo"},
        "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
        "norm2": "layer.1.layer_norm",
        "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
        "ffn.fc1": "layer.1.DenseReluDense.wi_1",
        "ffn.fc2": "layer.1.DenseReluDense.wo",
    },
    top_level={"token_embedding": "shared", "norm": "encoder.final_layer_norm"},
)

IMAGE_ENCODER = KeyMapping(  # its queries, keys and values are published in one tensor
    modules={"visual.transformer.{}": "encoder.layers.{}"},
    submodules={
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        **{f"attn.{w}": f"self_attn.{w}_proj" for w in "qkv"},
        "attn.proj": "self_attn.out_proj",
        "mlp.0": "mlp.fc1",
        "mlp.2": "mlp.fc2",
    },
    top_level={
        "visual.cls_embedding": "embeddings.class_embedding",
        "visual.pos_embedding": "embeddings.position_embedding.weight",
        "visual.patch_embedding": "embeddings.patch_embedding",
        "visual.pre_norm": "pre_layrnorm",
        "visual.post_norm": "post_layernorm",
    },
)

_SIDES = ("encoder", "decoder")
_UP_STAGE = ("resnets.0", "resnets.1", "resnets.2", "upsamplers.0")  # published as one list over all stages
_MIDDLE = ("resnets.0", "attentions.0", "resnets.1")
VAE = KeyMapping(
    modules={
        **{f"decoder.upsamples.{i}": f"decoder.up_blocks.{i // 4}.{_UP_STAGE[i % 4]}" for i in range(15)},
        **{f"{side}.middle.{i}": f"{side}.mid_block.{name}" for side in _SIDES for i, name in enumerate(_MIDDLE)},
        "encoder.downsamples.{}": "encoder.down_blocks.{}",
    },
    submodules={
        "residual.0": "norm1",
        "residual.2": "conv1",
        "residual.3": "norm2",
        "residual.6": "conv2",
        "shortcut": "conv_shortcut",
        **{name: name for name in ("resample", "time_conv", "norm", "to_qkv", "proj")},
    },
    top_level={
        "conv1": "quant_conv",
        "conv2": "post_quant_conv",
        **{f"{side}.conv1": f"{side}.conv_in" for side in _SIDES},
        **{f"{side}.head.0": f"{side}.norm_out" for side in _SIDES},
        **{f"{side}.head.2": f"{side}.conv_out" for side in _SIDES},
    },
)
