"""Tensor names of LoRA files of the common trainers, mapped to layers of the backbone; read without PyTorch."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.key_mapping import BACKBONE

PREFIXES = (
    *("base_model.model.", "pipe.dit.", "diffusion_model.", "transformer.", "model.", "dit."),
    *("lora_unet_", "lora_transformer_", "lycoris_", "_"),
)
_ADAPTER = r"(?:\.\w+)?"  # PEFT inserts the name of the adapter
PARTS = {  # endings of tensor names
    rf"lora_A{_ADAPTER}\.weight|lora_down{_ADAPTER}\.weight|lora\.down\.weight": "down",
    rf"lora_B{_ADAPTER}\.weight|lora_up{_ADAPTER}\.weight|lora\.up\.weight": "up",
    rf"lora_B{_ADAPTER}\.bias": "up_bias",
    r"alpha": "alpha",
    r"diff": "weight",
    r"diff_b": "bias",
    r"diff_m": "modulation",
    **{rf"lokr_w{i}{half}": f"lokr_w{i}{half}" for i in (1, 2) for half in ("", "_a", "_b")},
    **{rf"hada_w{i}_{half}": f"hada_w{i}_{half}" for i in (1, 2) for half in "ab"},
}
UNSUPPORTED = {  # endings of other methods
    rf"dora_scale|lora_magnitude_vector{_ADAPTER}(?:\.weight)?": "DoRA",
    r"lokr_t2|hada_t[12]|lora_mid\.weight": "a Tucker decomposition",
    r"oft_\w+(?:\.weight)?|vera_\w+(?:\.weight)?": "OFT or VeRA",
    r"[ab][12]\.weight": "GLoRA",
    r"on_input|ia3_\w+(?:\.weight)?": "IA3",
    r"set_weight|reshape_weight": "replaced weights",
}
_KNOWN = re.compile(rf"(?P<layer>.+)\.(?P<part>{'|'.join(PARTS)})")
_OTHER = re.compile(rf"(?P<layer>.+)\.(?P<part>{'|'.join(UNSUPPORTED)})")


def group_by_layer(
    source: str, keys: Iterable[str], backbone_names: set[str]
) -> tuple[dict[str, dict[str, str]], list]:
    """Group a file's tensor names by layer of the backbone and part; return also those of unknown layers.

    Layers can be named as in diffusers or as published, with dots, underscores or a mixture, after any prefix of
    `PREFIXES`. The layer of a bare parameter, such as a block's modulation, is its own name.

    Raises:
        UserError: the file uses a method that is not supported, or has a tensor of a known layer that is not known.
    """
    layers = _layer_names(backbone_names)
    grouped: dict[str, dict[str, str]] = defaultdict(dict)
    unknown = []
    for key in keys:
        match = _KNOWN.fullmatch(key)
        if match is None:
            _refuse_other_methods(source, key, layers)
        part = _lookup(match["part"], PARTS) if match else ""
        layer = _find_layer(match["layer"], layers, is_modulation=part == "modulation") if match else None
        if layer is None:
            unknown.append(key)
        else:
            grouped[layer][part] = key
    return dict(grouped), unknown


def _lookup(part: str, table: dict[str, str]) -> str:
    return next(value for pattern, value in table.items() if re.fullmatch(pattern, part))


def _refuse_other_methods(source: str, key: str, layers: dict[str, str]) -> None:
    if match := _OTHER.fullmatch(key):
        method = _lookup(match["part"], UNSUPPORTED)
        raise UserError(f"{source} uses {method} ({key} ...), which is not supported; use a LoRA, LoKr or LoHa file")
    if any(_find_layer(key.rsplit(".", n)[0], layers) for n in (1, 2)):
        raise UserError(f"{source} has {key}, which is no part of a LoRA, LoKr or LoHa; use such a file")


def _layer_names(backbone_names: set[str]) -> dict[str, str]:
    """Return the internal name of every layer and bare parameter by its names with underscores only."""
    layers = {}
    for internal in backbone_names:
        layer = _without_kind(internal)
        layers[_flatten(layer)] = layers[_flatten(_without_kind(BACKBONE.to_published(internal) or internal))] = layer
    return layers


def _without_kind(name: str) -> str:
    return name.removesuffix(".weight").removesuffix(".bias")


def _flatten(name: str) -> str:
    return name.replace(".", "_")


def _find_layer(name: str, layers: dict[str, str], *, is_modulation: bool = False) -> str | None:
    """Return the internal name of a layer; a `diff_m` can be named by the module that has the modulation."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    name = _flatten(name)
    return layers.get(f"{name}_modulation", layers.get(name)) if is_modulation else layers.get(name)


def parse_lora(text: str) -> tuple[Path, float]:
    """Parse `file.safetensors:0.8` to (path, 0.8); the strength is 1 if it is left out.

    Raises:
        UserError: the strength is not a number, or is 0.
    """
    path, _, scale = text.partition(":") if re.search(r":[^/\\]*$", text) else (text, "", "1")
    try:
        strength = float(scale)
    except ValueError:
        raise UserError(f"--lora is {text!r}; expected FILE or FILE:STRENGTH, like few-step.safetensors:0.8") from None
    if not strength or not math.isfinite(strength):
        raise UserError(f"--lora is {text!r}, of strength {scale}; expected a finite number other than 0")
    return Path(path), strength
