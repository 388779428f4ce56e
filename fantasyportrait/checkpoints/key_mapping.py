"""What the same tensor is called in two layouts: here and in diffusers, and as its authors published it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from exprbench.core.errors import UserError


@dataclass(frozen=True)
class KeyMapping:
    """A one-to-one dictionary between published names and ours.

    `places` pairs the beginnings of names, `{}` standing for a layer's number, and `parts` what follows them; `alone`
    pairs the beginnings of names outside all places. What follows a part, `weight` say, stays.
    """

    places: dict[str, str]
    parts: dict[str, str]
    alone: dict[str, str]

    def ours(self, published: str) -> str | None:
        """Our name of a published tensor; None for one we do not know."""
        return _translate(published, self.places, self.parts, self.alone)

    def published(self, ours: str) -> str | None:
        """The published name of our tensor; None for one that was never published."""
        return _translate(ours, *({b: a for a, b in pairs.items()} for pairs in (self.places, self.parts, self.alone)))

    def to_ours(self, published: Iterable[str]) -> dict[str, str]:
        """Published names with ours, without those we do not know."""
        return {name: new for name in published if (new := self.ours(name))}

    def to_published(self, ours: Iterable[str]) -> dict[str, str]:
        """Our names with the published ones."""
        names = {name: self.published(name) for name in ours}
        if strange := [name for name, new in names.items() if new is None]:
            raise UserError(f"the published layout has no place for {strange[0]} and {len(strange) - 1} others")
        return names  # type: ignore[return-value]


def _translate(name: str, places: dict[str, str], parts: dict[str, str], alone: dict[str, str]) -> str | None:
    for place in sorted(places, key=len, reverse=True):
        match = re.match(re.escape(place).replace(r"\{\}", r"(\d+)") + r"\.", name)
        if match:
            new_part = _part(name[match.end() :], parts)
            return new_part and f"{places[place].format(*match.groups())}.{new_part}"
    return _part(name, alone)


def _part(name: str, parts: dict[str, str]) -> str | None:
    words = name.split(".")
    for count in range(len(words), 0, -1):
        new = parts.get(".".join(words[:count]))
        if new is not None:
            return ".".join([new, *words[count:]])
    return None


def _attention(place: str, new_place: str) -> dict[str, str]:
    names = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0", "norm_q": "norm_q", "norm_k": "norm_k"}
    return {f"{place}.{a}": f"{new_place}.{b}" for a, b in names.items()}


BACKBONE = KeyMapping(
    places={"blocks.{}": "blocks.{}"},
    parts={
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
    alone={
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
    places={
        "ip_adapter.blocks.{}.cross_attn.processor": "layers.{}",
        "mouth_proj_model.layers.{}.0": "augment.mouth.layers.{}",
        "mouth_proj_model.layers.{}.1": "augment.mouth.layers.{}.feed",
        "mouth_proj_model": "augment.mouth",
        "emo_proj_model.layers.{}.0": "augment.emotion.layers.{}",
        "emo_proj_model.layers.{}.1": "augment.emotion.layers.{}.feed",
        "emo_proj_model": "augment.emotion",
    },
    parts={
        "ip_adapter_single_stream_k_proj": "to_k",
        "ip_adapter_single_stream_v_proj": "to_v",
        "latents": "queries",
        "norm1": "norm_given",
        "norm2": "norm_queries",
        **{same: same for same in ("proj_in", "proj_out", "norm_out", "to_q", "to_kv", "to_out", "0", "1", "3")},
    },
    alone={
        "proj_model.headpose_proj": "linear.head",
        "proj_model.eye_proj": "linear.eyes",
        "proj_model.emo_proj": "linear.emotion",
        "proj_model.mouth_proj": "linear.mouth",
        "proj_model.norm": "norm",
    },
)

TEXT_ENCODER = KeyMapping(
    places={"blocks.{}": "encoder.block.{}"},
    parts={
        "norm1": "layer.0.layer_norm",
        **{f"attn.{w}": f"layer.0.SelfAttention.{w}" for w in "qkvo"},
        "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
        "norm2": "layer.1.layer_norm",
        "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
        "ffn.fc1": "layer.1.DenseReluDense.wi_1",
        "ffn.fc2": "layer.1.DenseReluDense.wo",
    },
    alone={"token_embedding": "shared", "norm": "encoder.final_layer_norm"},
)

IMAGE_ENCODER = KeyMapping(  # its queries, keys and values are published in one tensor
    places={"visual.transformer.{}": "encoder.layers.{}"},
    parts={
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        **{f"attn.{w}": f"self_attn.{w}_proj" for w in "qkv"},
        "attn.proj": "self_attn.out_proj",
        "mlp.0": "mlp.fc1",
        "mlp.2": "mlp.fc2",
    },
    alone={
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
    places={
        **{f"decoder.upsamples.{i}": f"decoder.up_blocks.{i // 4}.{_UP_STAGE[i % 4]}" for i in range(15)},
        **{f"{side}.middle.{i}": f"{side}.mid_block.{where}" for side in _SIDES for i, where in enumerate(_MIDDLE)},
        "encoder.downsamples.{}": "encoder.down_blocks.{}",
    },
    parts={
        "residual.0": "norm1",
        "residual.2": "conv1",
        "residual.3": "norm2",
        "residual.6": "conv2",
        "shortcut": "conv_shortcut",
        **{same: same for same in ("resample", "time_conv", "norm", "to_qkv", "proj")},
    },
    alone={
        "conv1": "quant_conv",
        "conv2": "post_quant_conv",
        **{f"{side}.conv1": f"{side}.conv_in" for side in _SIDES},
        **{f"{side}.head.0": f"{side}.norm_out" for side in _SIDES},
        **{f"{side}.head.2": f"{side}.conv_out" for side in _SIDES},
    },
)
