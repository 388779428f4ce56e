"""Which model a file holds, its size from its shapes, and an account of every tensor."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.key_mapping import ADAPTER, BACKBONE, IMAGE_ENCODER, TEXT_ENCODER, VAE, KeyMapping
from fantasyportrait.checkpoints.tensors import Tensors
from fantasyportrait.model.configs import AUGMENTED, AdapterConfig, BackboneConfig

Shapes = Mapping[str, tuple[int, ...]]

WRAPPERS = ("model.diffusion_model.", "diffusion_model.", "module.", "pd_fpg.", "state_dict.", "model_state.")


@dataclass(frozen=True, kw_only=True)
class Format:
    """A model in one layout. `signs` are tensors that nothing else has; `names` lead to our layout."""

    model: str
    layout: str
    signs: tuple[str, ...]
    names: KeyMapping | None = None

    def __str__(self) -> str:
        return f"{self.model}, {self.layout} layout"


_KEY = "ip_adapter_single_stream_k_proj.weight"
FORMATS = (
    Format(model="adapter", layout="our", signs=("linear.head.weight", "layers.0.to_k.weight")),
    Format(
        model="adapter",
        layout="released",
        signs=("proj_model.eye_proj.weight", f"ip_adapter.blocks.0.cross_attn.processor.{_KEY}"),
        names=ADAPTER,
    ),
    Format(
        model="adapter",
        layout="flat",
        signs=("proj_model.eye_proj.weight", f"ip_adapter.blocks.0.cross_attn.{_KEY}"),
        names=ADAPTER,
    ),
    Format(model="expression encoder", layout="published", signs=("model.conv6.weight", "to_mouth.0.weight")),
    Format(
        model="backbone",
        layout="published",
        signs=("blocks.0.self_attn.q.weight", "patch_embedding.weight"),
        names=BACKBONE,
    ),
    Format(model="backbone", layout="diffusers", signs=("blocks.0.attn1.to_q.weight", "patch_embedding.weight")),
    Format(
        model="VAE", layout="published", signs=("encoder.downsamples.0.residual.0.gamma", "conv2.weight"), names=VAE
    ),
    Format(model="VAE", layout="diffusers", signs=("encoder.down_blocks.0.norm1.gamma", "post_quant_conv.weight")),
    Format(
        model="text encoder",
        layout="published",
        signs=("token_embedding.weight", "blocks.0.pos_embedding.embedding.weight"),
        names=TEXT_ENCODER,
    ),
    Format(
        model="text encoder",
        layout="transformers",
        signs=("shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"),
    ),
    Format(
        model="image encoder",
        layout="published",
        signs=("visual.cls_embedding", "visual.transformer.0.attn.to_qkv.weight"),
        names=IMAGE_ENCODER,
    ),
    Format(model="image encoder", layout="transformers", signs=("vision_model.embeddings.class_embedding",)),
)


def detect_format(tensors: Tensors) -> tuple[Format, Tensors] | None:
    """What the tensors are, and the same under names without the wrapping some files have; None: something else."""
    for prefix in ("", *WRAPPERS):
        inner = tensors.under(prefix) if prefix else tensors
        for kind in FORMATS:
            if all(sign in inner for sign in kind.signs):
                return kind, inner
    return None


def open_as(model: str, tensors: Tensors) -> Tensors:
    """The tensors of a file that must hold `model`, under our names; unknown ones keep theirs.

    Raises:
        UserError: the file holds something else.
    """
    found = detect_format(tensors)
    if found is None or found[0].model != model:
        holds = (
            f"the {found[0]}" if found else f"no model known here ({len(tensors)} tensors, {next(iter(tensors))} ...)"
        )
        raise UserError(f"{tensors.where} holds {holds}; expected the {model}")
    kind, inner = found
    if kind.layout == "flat":
        inner = inner.renamed({n: re.sub(r"(\.cross_attn)\.(?=ip_adapter_)", r"\1.processor.", n) for n in inner})
        inner = inner.renamed({n: n for n in inner if not n.startswith("pd_fpg.")})
    if kind.model == "image encoder":
        inner = _split_qkv(inner) if kind.names else inner.under("vision_model.")
    if kind.names is None:
        return inner
    return inner.renamed({name: kind.names.ours(name) or name for name in inner})


def _split_qkv(tensors: Tensors) -> Tensors:
    """The published image encoder with queries, keys and values apart, and its embeddings in transformers' shapes."""
    parts = {}
    for name in (n for n in tensors if n.startswith("visual.")):
        tensor = tensors[name]
        if ".to_qkv." in name:
            parts |= {name.replace("to_qkv", w): t for w, t in zip("qkv", tensor.chunk(3), strict=True)}
        elif name in ("visual.cls_embedding", "visual.pos_embedding"):
            parts[name] = tensor.squeeze()
        else:
            parts[name] = tensor
    return Tensors(parts, tensors.where)


@dataclass(frozen=True, kw_only=True)
class Account:
    """Every difference between the tensors a model has and those a file holds."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Is every tensor of the model there, in its shape?"""
        return not (self.missing or self.misshapen)

    def __str__(self) -> str:
        told = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshapen}
        return "; ".join(f"{len(names)} {what} ({_first(names)})" for what, names in told.items() if names) or "none"


def _first(names: tuple[str, ...], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def account(expected: Shapes, found: Shapes, *, unused: str = "num_batches_tracked") -> Account:
    """Hold a file's shapes against a model's; names ending in `unused` may be absent."""
    return Account(
        missing=tuple(n for n in expected if n not in found and not n.endswith(unused)),
        unexpected=tuple(n for n in found if n not in expected),
        misshapen=tuple(
            f"{n} {list(found[n])} for {list(expected[n])}" for n in expected if n in found and found[n] != expected[n]
        ),
    )


def require_all(expected: Shapes, tensors: Tensors, model: str, *, strict: bool = True) -> None:
    """Refuse a file in which a tensor of the model is missing or of another shape, or (strict) that holds others."""
    found = account(expected, tensors.shapes)
    if not found.complete or (strict and found.unexpected):
        raise UserError(f"{tensors.where} does not fit the {model}: {found}")


def adapter_config(shapes: Shapes) -> AdapterConfig:
    """The size of an adapter, from its shapes in our layout."""
    augmented = tuple(name for name in AUGMENTED["all"] if f"augment.{name}.queries" in shapes)
    asked = f"augment.{augmented[0]}." if augmented else ""
    known = {"query_dim": shapes[asked + "queries"][-1], "depth": _count(shapes, asked + "layers")} if augmented else {}
    return AdapterConfig(
        num_layers=_count(shapes, "layers"),
        dim=shapes["layers.0.to_k.weight"][0],
        token_dim=shapes["linear.head.weight"][0],
        augmented=augmented,
        **known,
    )


def backbone_config(shapes: Shapes, num_heads: int | None = None) -> BackboneConfig:
    """The size of a backbone, from its shapes in diffusers' layout; heads are 128 wide unless their number is given."""
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


def text_encoder_config(shapes: Shapes) -> dict[str, Any]:
    """Arguments of `UMT5Config`, from the shapes in transformers' layout."""
    attention, feed = (f"encoder.block.0.layer.{i}" for i in (0, 1))
    num_buckets, num_heads = shapes[f"{attention}.SelfAttention.relative_attention_bias.weight"]
    vocab_size, d_model = shapes["shared.weight"]
    return {
        "vocab_size": vocab_size,
        "d_model": d_model,
        "d_kv": shapes[f"{attention}.SelfAttention.q.weight"][0] // num_heads,
        "d_ff": shapes[f"{feed}.DenseReluDense.wi_0.weight"][0],
        "num_heads": num_heads,
        "num_layers": _count(shapes, "encoder.block"),
        "relative_attention_num_buckets": num_buckets,
        "feed_forward_proj": "gated-gelu",
    }


def image_encoder_config(shapes: Shapes, num_heads: int | None = None) -> dict[str, Any]:
    """Arguments of `CLIPVisionConfig`, from the shapes; heads are 80 wide unless their number is given."""
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


def _count(shapes: Shapes, place: str) -> int:
    numbers = {int(m[1]) for name in shapes if (m := re.match(re.escape(place) + r"\.(\d+)\.", name))}
    return max(numbers, default=-1) + 1
