"""LoRA files for the backbone (distilled few-step models, styles), fused into its weights while they are loaded.

Fused weights cost no time per step and work with 8-bit weights, offloading and compilation.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from exprbench.core.errors import UserError
from exprbench.core.progress import say
from fantasyportrait.checkpoints.key_mapping import BACKBONE
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors

Shape = tuple[int, ...]

PREFIXES = ("base_model.model.", "diffusion_model.", "transformer.", "model.", "lora_unet_")
PARTS = {  # endings of tensor names in the formats of the common trainers
    "lora_A.weight": "down",
    "lora_A.default.weight": "down",
    "lora_down.weight": "down",
    "lora_B.weight": "up",
    "lora_B.default.weight": "up",
    "lora_up.weight": "up",
    "alpha": "alpha",
    "diff": "weight",
    "diff_b": "bias",
    "diff_m": "parameter",
}


class Lora:
    """LoRA of the backbone: one file with its strength.

    `layers` maps each layer of the backbone to the file's tensors for it, by part: `down`, `up`, `alpha`, or a full
    difference of its `weight`, its `bias` or of a bare `parameter`.
    """

    def __init__(self, path: Path, backbone_shapes: Mapping[str, Shape], scale: float = 1.0) -> None:
        """Read a file's header; its tensors are read when they are fused.

        Args:
            path: safetensors file with names as in diffusers, the published layout or kohya's trainer.
            backbone_shapes: shapes of the backbone's tensors, by name.
            scale: strength.

        Raises:
            UserError: the file is not a LoRA, or is for another model.
        """
        self.path, self.scale = path, scale
        self.tensors = tensors = open_tensors(path)
        self.layers, unknown = _group_by_layer(tensors, set(backbone_shapes))
        if not self.layers:
            first = next(iter(tensors), "nothing")
            raise UserError(f"{path} has no LoRA for this backbone; its first tensor is {first}")
        if unpaired := [layer for layer, parts in self.layers.items() if ("down" in parts) != ("up" in parts)]:
            raise UserError(f"{path} lacks one of two matrices for {len(unpaired)} layers ({unpaired[0]} ...)")
        if unknown:
            say(f"{path.name}: skipped {len(unknown)} of {len(tensors)} tensors of unknown layers ({unknown[0]} ...)")
        for name, shape in self._delta_shapes():
            if math.prod(shape) != math.prod(backbone_shapes.get(name, (0,))):
                known = name in backbone_shapes
                expected = f"expected {list(backbone_shapes[name])}" if known else "the backbone has no such tensor"
                raise UserError(f"{path} is for another model: it changes {name} by {list(shape)}; {expected}")

    def _delta_shapes(self) -> Iterator[tuple[str, Shape]]:
        """Yield the name of each changed tensor of the backbone and the shape of what is added to it."""
        for layer, parts in self.layers.items():
            shapes = {part: self.tensors.shape(key) for part, key in parts.items()}
            if "down" in shapes:
                yield f"{layer}.weight", (shapes["up"][0], *shapes["down"][1:])
            names = {"weight": f"{layer}.weight", "bias": f"{layer}.bias", "parameter": layer}
            yield from ((name, shapes[part]) for part, name in names.items() if part in shapes)

    def __str__(self) -> str:
        return f"{self.path.name}:{self.scale:g}"

    def fuse(self, name: str, tensor: Tensor) -> Tensor:
        """Return the backbone's tensor of this name with the LoRA added; unchanged if the file has nothing for it."""
        layer, _, last = name.rpartition(".")
        delta = None
        if last == "weight":
            delta = self._weight_delta(layer, tensor.device)
        elif last == "bias":
            delta = self._read(layer, "bias", tensor.device)
        if delta is None:
            delta = self._read(name, "parameter", tensor.device)
        if delta is None:
            return tensor
        return (tensor.float() + self.scale * delta.view(tensor.shape)).to(tensor.dtype)

    def _weight_delta(self, layer: str, device: torch.device) -> Tensor | None:
        """Return the change of a layer's weight: the product of the low-rank matrices, a full difference, or both."""
        full = self._read(layer, "weight", device)
        down, up, alpha = (self._read(layer, part, device) for part in ("down", "up", "alpha"))
        if down is None or up is None:
            return full
        scale = 1.0 if alpha is None else float(alpha) / len(down)
        product = scale * (up.flatten(1) @ down.flatten(1)).view(len(up), *down.shape[1:])
        return product if full is None else full + product

    def _read(self, layer: str, part: str, device: torch.device) -> Tensor | None:
        key = self.layers.get(layer, {}).get(part)
        return None if key is None else self.tensors[key].to(device).float()


def _group_by_layer(tensors: Tensors, backbone_names: set[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the file's tensor names by layer of the backbone and part, and those that belong to none."""
    layers = {name.rpartition(".")[0] for name in backbone_names}
    kohya_names = {_published_layer(layer).replace(".", "_"): layer for layer in layers if layer}
    grouped: dict[str, dict[str, str]] = defaultdict(dict)
    unknown = []
    for key in tensors:
        match = re.fullmatch(rf"(.+)\.({'|'.join(re.escape(p) for p in PARTS)})", _strip_prefixes(key))
        layer = _internal_layer(match[1], backbone_names, kohya_names) if match else None
        if match is None or layer is None:
            unknown.append(key)
        else:
            grouped[layer][PARTS[match[2]]] = key
    return dict(grouped), unknown


def _strip_prefixes(key: str) -> str:
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _published_layer(layer: str) -> str:
    name = BACKBONE.to_published(f"{layer}.weight")
    return name.removesuffix(".weight") if name else layer


def _internal_layer(layer: str, backbone_names: set[str], kohya_names: dict[str, str]) -> str | None:
    """Return the internal name of a layer, or of a bare parameter, given in any of the three namings."""
    for name in (layer, BACKBONE.to_internal(layer), kohya_names.get(layer)):
        if name and (f"{name}.weight" in backbone_names or name in backbone_names):
            return name
    return None


def parse_lora(text: str) -> tuple[Path, float]:
    """Parse `file.safetensors:0.8` to (path, 0.8); the strength is 1 if it is left out.

    Raises:
        UserError: the strength is not a number.
    """
    path, _, scale = text.partition(":") if re.search(r":[^/\\]*$", text) else (text, "", "1")
    try:
        return Path(path), float(scale)
    except ValueError:
        raise UserError(f"--lora is {text!r}; expected FILE or FILE:STRENGTH, like few-step.safetensors:0.8") from None
