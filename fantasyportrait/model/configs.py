"""Configurations of the backbone and of the motion adapter, and the model sizes of this project."""

from dataclasses import dataclass
from typing import Any

FEATURES = {"head": 6, "eyes": 6, "emotion": 30, "mouth": 512}  # dimensions, in the order of the 554-d feature
AUGMENTED = {  # rows of the paper's Table 3: features with learnable tokens
    "selective": ("mouth", "emotion"),
    "none": (),
    "all": ("mouth", "emotion", "head", "eyes"),
}
PATCH = 16  # side of a token in pixels; the sides of a video are multiples of it
HEAD_DIM = 64  # in the attention of the learnable tokens
NUM_QUERIES = {"mouth": 16, "emotion": 4, "head": 4, "eyes": 4}


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Sizes of the motion adapter: expression-augmented encoder and projections into the backbone's layers."""

    num_layers: int = 40
    dim: int = 5120
    token_dim: int = 2048
    query_dim: int = 1280
    depth: int = 4
    augmented: tuple[str, ...] = AUGMENTED["selective"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "augmented", tuple(self.augmented))
        if unknown := set(self.augmented) - set(FEATURES):
            raise ValueError(f"augmented contains {sorted(unknown)}; expected names among {', '.join(FEATURES)}")
        if self.query_dim % HEAD_DIM:
            raise ValueError(f"query_dim is {self.query_dim}; expected a multiple of {HEAD_DIM}, the width of a head")

    @property
    def token_features(self) -> tuple[str, ...]:
        """Return the feature of each token of a frame: one linear token per feature, then the learnable tokens."""
        return (*FEATURES, *(name for name in self.augmented for _ in range(NUM_QUERIES[name])))

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens per frame: 24 as released."""
        return len(self.token_features)


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Sizes of the Wan2.1 image-to-video backbone, named as in diffusers' `WanTransformer3DModel`."""

    num_layers: int = 40
    num_attention_heads: int = 40
    attention_head_dim: int = 128
    ffn_dim: int = 13824
    freq_dim: int = 256
    text_dim: int = 4096
    image_dim: int = 1280
    in_channels: int = 36
    out_channels: int = 16

    @property
    def dim(self) -> int:
        """Return the width of the hidden states."""
        return self.num_attention_heads * self.attention_head_dim

    def to_diffusers(self) -> dict[str, Any]:
        """Return the keyword arguments of `WanTransformer3DModel`."""
        return {**vars(self), "added_kv_proj_dim": self.dim}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Configuration of a whole model: backbone, adapter, and arguments of the VAE and the encoders."""

    backbone: BackboneConfig
    adapter: AdapterConfig
    vae: dict[str, Any]
    text_encoder: dict[str, Any]
    image_encoder: dict[str, Any]


_UMT5_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64, "num_layers": 24, "vocab_size": 256384}
_VIT_H = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 16,
    "num_hidden_layers": 32,
    "patch_size": 14,
}
_SMALL_BACKBONE = BackboneConfig(num_layers=30, num_attention_heads=12, ffn_dim=8960)
_TINY_BACKBONE = BackboneConfig(
    num_layers=2, num_attention_heads=2, attention_head_dim=24, ffn_dim=96, freq_dim=32, text_dim=24, image_dim=160
)
_CPU_BACKBONE = BackboneConfig(  # wider than the 64 latents of a token, which the tiny one cannot pass on
    num_layers=3, num_attention_heads=4, attention_head_dim=32, ffn_dim=256, freq_dim=32, text_dim=24, image_dim=160
)
_TINY_TEXT = {"d_model": 24, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 1, "vocab_size": 64}
_TINY_IMAGE = {
    "hidden_size": 160,  # heads are 80 wide: published files do not give the number of heads
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "patch_size": 14,
}

MODEL_CONFIGS = {
    "14b": ModelConfig(
        backbone=BackboneConfig(),
        adapter=AdapterConfig(),
        vae={},
        text_encoder=_UMT5_XXL,
        image_encoder=_VIT_H,
    ),
    "1.3b": ModelConfig(
        backbone=_SMALL_BACKBONE,
        adapter=AdapterConfig(num_layers=_SMALL_BACKBONE.num_layers, dim=_SMALL_BACKBONE.dim),
        vae={},
        text_encoder=_UMT5_XXL,
        image_encoder=_VIT_H,
    ),
    "small": ModelConfig(
        backbone=_CPU_BACKBONE,
        adapter=AdapterConfig(
            num_layers=_CPU_BACKBONE.num_layers, dim=_CPU_BACKBONE.dim, token_dim=64, query_dim=128, depth=1
        ),
        vae={"base_dim": 4},
        text_encoder=_TINY_TEXT,
        image_encoder=_TINY_IMAGE,
    ),
    "tiny": ModelConfig(
        backbone=_TINY_BACKBONE,
        adapter=AdapterConfig(
            num_layers=_TINY_BACKBONE.num_layers,
            dim=_TINY_BACKBONE.dim,
            token_dim=64,
            query_dim=128,
            depth=1,
        ),
        vae={"base_dim": 4},
        text_encoder=_TINY_TEXT,
        image_encoder=_TINY_IMAGE,
    ),
}
