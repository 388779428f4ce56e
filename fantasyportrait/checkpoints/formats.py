"""Detection of checkpoint formats, reading under internal names, and sizes inferred from shapes."""

import re
from dataclasses import dataclass
from typing import Any

from exprbench.core.errors import UserError
from exprbench.core.state_dicts import Shapes, compare_shapes
from fantasyportrait.checkpoints.key_mapping import ADAPTER, BACKBONE, IMAGE_ENCODER, TEXT_ENCODER, VAE, KeyMapping
from fantasyportrait.checkpoints.tensors import Tensors
from fantasyportrait.model.configs import AUGMENTED, AdapterConfig, BackboneConfig

WRAPPERS = ("model.diffusion_model.", "diffusion_model.", "module.", "pd_fpg.", "state_dict.", "model_state.")
OPTIONAL = ("num_batches_tracked",)  # of batch norms; not used for inference


@dataclass(frozen=True, kw_only=True)
class Format:
    """Component of a model in one layout.

    `signature` lists tensors that only this format has. `key_mapping` leads to internal names; None if names are
    internal already.
    """

    component: str
    layout: str
    signature: tuple[str, ...]
    key_mapping: KeyMapping | None = None

    def __str__(self) -> str:
        return f"{self.component}, {self.layout} layout"


_KEY = "ip_adapter_single_stream_k_proj.weight"
FORMATS = (
    Format(component="adapter", layout="our", signature=("linear.head.weight", "layers.0.to_k.weight")),
    Format(
        component="adapter",
        layout="released",
        signature=("proj_model.eye_proj.weight", f"ip_adapter.blocks.0.cross_attn.processor.{_KEY}"),
        key_mapping=ADAPTER,
    ),
    Format(
        component="adapter",
        layout="flat",
        signature=("proj_model.eye_proj.weight", f"ip_adapter.blocks.0.cross_attn.{_KEY}"),
        key_mapping=ADAPTER,
    ),
    Format(component="expression encoder", layout="published", signature=("model.conv6.weight", "to_mouth.0.weight")),
    Format(
        component="backbone",
        layout="published",
        signature=("blocks.0.self_attn.q.weight", "patch_embedding.weight"),
        key_mapping=BACKBONE,
    ),
    Format(
        component="backbone", layout="diffusers", signature=("blocks.0.attn1.to_q.weight", "patch_embedding.weight")
    ),
    Format(
        component="VAE",
        layout="published",
        signature=("encoder.downsamples.0.residual.0.gamma", "conv2.weight"),
        key_mapping=VAE,
    ),
    Format(
        component="VAE", layout="diffusers", signature=("encoder.down_blocks.0.norm1.gamma", "post_quant_conv.weight")
    ),
    Format(component="VAE", layout="patches", signature=("first.basis", "rest.basis")),
    Format(
        component="text encoder",
        layout="published",
        signature=("token_embedding.weight", "blocks.0.pos_embedding.embedding.weight"),
        key_mapping=TEXT_ENCODER,
    ),
    Format(
        component="text encoder",
        layout="transformers",
        signature=("shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"),
    ),
    Format(
        component="image encoder",
        layout="published",
        signature=("visual.cls_embedding", "visual.transformer.0.attn.to_qkv.weight"),
        key_mapping=IMAGE_ENCODER,
    ),
    Format(component="image encoder", layout="transformers", signature=("vision_model.embeddings.class_embedding",)),
    Format(component="image encoder", layout="transformers 5", signature=("embeddings.class_embedding",)),
)


def detect_format(tensors: Tensors) -> tuple[Format, Tensors] | None:
    """Return the format of tensors and the tensors without the name prefix of a wrapper; None if it is unknown."""
    for prefix in ("", *WRAPPERS):
        inner = tensors.select_prefix(prefix) if prefix else tensors
        for file_format in FORMATS:
            if all(name in inner for name in file_format.signature):
                return file_format, inner
    return None


def open_as(component: str, tensors: Tensors) -> Tensors:
    """Return the tensors of a file of `component` under internal names; tensors of unknown names keep theirs.

    Raises:
        UserError: the file contains something else.
    """
    detected = detect_format(tensors)
    if detected is None or detected[0].component != component:
        first = next(iter(tensors), "nothing")
        content = f"the {detected[0]}" if detected else f"no known model ({len(tensors)} tensors, {first} ...)"
        raise UserError(f"{tensors.source} holds {content}; expected the {component}")
    file_format, inner = detected
    if file_format.layout == "flat":
        inner = inner.rename({n: re.sub(r"(\.cross_attn)\.(?=ip_adapter_)", r"\1.processor.", n) for n in inner})
        inner = inner.rename({n: n for n in inner if not n.startswith("pd_fpg.")})
    if file_format.component == "image encoder" and file_format.key_mapping:
        inner = _split_qkv(inner)
    elif file_format.layout == "transformers" and file_format.component == "image encoder":
        inner = inner.select_prefix("vision_model.")
    if file_format.key_mapping is None:
        return inner
    return inner.rename({name: file_format.key_mapping.to_internal(name) or name for name in inner})


def _split_qkv(tensors: Tensors) -> Tensors:
    """Split queries, keys and values of the published image encoder; reshape embeddings as transformers does.

    The textual half and the projection to the space shared with it are left out: the backbone does not use them.
    """
    split = {}
    for name in (n for n in tensors if n.startswith("visual.") and n != "visual.head"):
        tensor = tensors[name]
        if ".to_qkv." in name:
            split |= {name.replace("to_qkv", w): t for w, t in zip("qkv", tensor.chunk(3), strict=True)}
        elif name in ("visual.cls_embedding", "visual.pos_embedding"):
            split[name] = tensor.squeeze()
        else:
            split[name] = tensor
    return Tensors(split, tensors.source)


def check_shapes(expected: Shapes, tensors: Tensors, component: str, *, strict: bool = True) -> None:
    """Check a file's tensors against those of a component by name and shape.

    Raises:
        UserError: a tensor is missing or of another shape or, if `strict`, there are unexpected tensors.
    """
    mismatch = compare_shapes(expected, tensors.shapes, optional=OPTIONAL)
    if not (mismatch.is_exact if strict else mismatch.is_complete):
        raise UserError(f"{tensors.source} does not fit the {component}: {mismatch}")


def infer_adapter_config(shapes: Shapes) -> AdapterConfig:
    """Infer the size of an adapter from its shapes under internal names."""
    augmented = tuple(name for name in AUGMENTED["all"] if f"augment.{name}.queries" in shapes)
    first = f"augment.{augmented[0]}." if augmented else ""
    sizes = {"query_dim": shapes[first + "queries"][-1], "depth": _count(shapes, first + "layers")} if augmented else {}
    return AdapterConfig(
        num_layers=_count(shapes, "layers"),
        dim=shapes["layers.0.to_k.weight"][0],
        token_dim=shapes["linear.head.weight"][0],
        augmented=augmented,
        **sizes,
    )


def infer_backbone_config(shapes: Shapes, num_heads: int | None = None) -> BackboneConfig:
    """Infer the size of a backbone from its shapes in diffusers' layout; heads are 128 wide if `num_heads` is None."""
    dim, in_channels = shapes["patch_embedding.weight"][:2]
    num_heads = num_heads or max(1, dim // 128)
    embedder = "condition_embedder"
    return BackboneConfig(
        num_layers=_count(shapes, "blocks"),
        num_attention_heads=num_heads,
        attention_head_dim=dim // num_heads,
        ffn_dim=shapes["blocks.0.ffn.net.0.proj.weight"][0],
        freq_dim=shapes[f"{embedder}.time_embedder.linear_1.weight"][1],
        text_dim=shapes[f"{embedder}.text_embedder.linear_1.weight"][1],
        image_dim=shapes.get(f"{embedder}.image_embedder.norm1.weight", (0,))[0],
        in_channels=in_channels,
        out_channels=shapes["proj_out.weight"][0] // 4,
    )


def infer_text_encoder_config(shapes: Shapes) -> dict[str, Any]:
    """Infer arguments of `UMT5Config` from the shapes in transformers' layout."""
    attention, feed_forward = (f"encoder.block.0.layer.{i}" for i in (0, 1))
    num_buckets, num_heads = shapes[f"{attention}.SelfAttention.relative_attention_bias.weight"]
    vocab_size, d_model = shapes["shared.weight"]
    return {
        "vocab_size": vocab_size,
        "d_model": d_model,
        "d_kv": shapes[f"{attention}.SelfAttention.q.weight"][0] // num_heads,
        "d_ff": shapes[f"{feed_forward}.DenseReluDense.wi_0.weight"][0],
        "num_heads": num_heads,
        "num_layers": _count(shapes, "encoder.block"),
        "relative_attention_num_buckets": num_buckets,
        "feed_forward_proj": "gated-gelu",
    }


def infer_image_encoder_config(shapes: Shapes, num_heads: int | None = None) -> dict[str, Any]:
    """Infer arguments of `CLIPVisionConfig` from the shapes; heads are 80 wide if `num_heads` is None."""
    hidden = shapes["embeddings.class_embedding"][-1]
    patch = shapes["embeddings.patch_embedding.weight"][-1]
    positions = shapes["embeddings.position_embedding.weight"][-2]
    return {
        "hidden_size": hidden,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_attention_heads": num_heads or max(1, hidden // 80),
        "num_hidden_layers": _count(shapes, "encoder.layers"),
        "patch_size": patch,
        "image_size": round((positions - 1) ** 0.5) * patch,
        "hidden_act": "gelu",
    }


def _count(shapes: Shapes, module: str) -> int:
    """Return the number of layers in a module list."""
    indices = {int(m[1]) for name in shapes if (m := re.match(re.escape(module) + r"\.(\d+)\.", name))}
    return max(indices, default=-1) + 1
