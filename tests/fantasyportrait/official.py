"""Deterministic weights with which the fixtures of the released code were computed, and models that have them."""

import zlib

import numpy as np
import torch

from fantasyportrait.checkpoints.key_mapping import ADAPTER, BACKBONE
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import AdapterConfig, BackboneConfig
from fantasyportrait.model.motion_tokens import MotionTokens
from fantasyportrait.model.transformer import build_transformer

PROJECTION = "blocks.{}.cross_attn.processor.ip_adapter_single_stream_{}_proj.weight"
BACKBONE_SIZE = BackboneConfig(
    num_layers=2, num_attention_heads=2, attention_head_dim=32, ffn_dim=128, freq_dim=32, text_dim=24
)


def fill(key, shape):
    """Return values that depend only on the published name and the shape."""
    shape = tuple(shape)
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    values = (rng.random(shape) * 2 - 1).astype(np.float32)
    spread = np.float32(np.sqrt(3.0 / np.prod(shape[1:]))) if len(shape) > 1 else None
    if key.endswith("modulation"):
        values *= np.float32(0.1)
    elif key.endswith("latents"):
        values *= np.float32(np.sqrt(3.0 / shape[-1]))
    elif key == "model.conv6.weight":
        values -= values.mean(axis=(2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
        values *= np.float32(4.0 * np.sqrt(3.0 / np.prod(shape[1:])))
    elif spread is not None:
        values *= spread
    elif key.endswith("running_var"):
        values = np.float32(1) + np.float32(0.5) * np.abs(values)
    elif key.endswith(".weight"):
        values = np.float32(1) + np.float32(0.1) * values
    else:
        values *= np.float32(0.1)
    return torch.from_numpy(np.asarray(values))


def backbone(keys):
    model = build_transformer(BACKBONE_SIZE)
    plain = {k: s for k, s in keys["dit"].items() if "ip_adapter" not in k}
    model.load_state_dict({BACKBONE.to_internal(k): fill(k, s) for k, s in plain.items()})
    return model


def adapter(keys, **config):
    model = MotionAdapter(AdapterConfig(num_layers=2, dim=BACKBONE_SIZE.dim, **config))
    for i in range(2):
        keys = {**keys, **{PROJECTION.format(i, w): [BACKBONE_SIZE.dim, 2048] for w in "kv"}}
    states = {ADAPTER.to_internal(f"ip_adapter.{k}" if "ip_adapter" in k else k): fill(k, s) for k, s in keys.items()}
    model.load_state_dict(states)
    return model


def projected(windows, scale=1.0, mask=None):
    """Return motion tokens from windows (1, f, tokens, 2048), by the deterministic projections."""
    pairs = []
    for i in range(2):
        key, value = (windows @ fill(PROJECTION.format(i, w), (BACKBONE_SIZE.dim, 2048)).T for w in "kv")
        pairs.append((key, value * scale))
    return MotionTokens(pairs, mask)
