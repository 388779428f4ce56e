"""Low-rank changes to the backbone (distilled few-step models, styles), added to the weights while they are loaded.

Added, not run beside them: no time a step, and 8-bit weights, offloading and compilation never hear of it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from exprbench.errors import UserError
from exprbench.progress import say
from fantasyportrait.checkpoints.names import BACKBONE
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors

PREFIXES = ("base_model.model.", "diffusion_model.", "transformer.", "model.", "lora_unet_")
PARTS = {  # endings as the various trainers write them
    "lora_A.weight": "down",
    "lora_A.default.weight": "down",
    "lora_down.weight": "down",
    "lora_B.weight": "up",
    "lora_B.default.weight": "up",
    "lora_up.weight": "up",
    "alpha": "alpha",
    "diff": "weight",
    "diff_b": "bias",
    "diff_m": "itself",
}


@dataclass
class LoraLayer:
    """The change of one of the backbone's layers."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    itself: Tensor | None = None

    def of_weight(self, device: torch.device) -> Tensor | None:
        """What to add to the weight, float32."""
        added = None if self.weight is None else self.weight.to(device).float()
        if self.down is not None and self.up is not None:
            down, up = self.down.to(device).float(), self.up.to(device).float()
            scale = 1.0 if self.alpha is None else float(self.alpha) / len(down)
            product = scale * (up.flatten(1) @ down.flatten(1)).view(len(up), *down.shape[1:])
            added = product if added is None else added + product
        return added


class Lora:
    """One file's changes, by the names of the backbone's layers."""

    def __init__(self, path: Path, known: Iterable[str], scale: float = 1.0) -> None:
        """Read a file.

        Args:
            path: safetensors, in diffusers', the published or kohya's naming.
            known: names of the backbone's tensors.
            scale: how strongly to apply it.

        Raises:
            UserError: it is no LoRA, or one for another model.
        """
        self.scale = scale
        tensors = open_tensors(path)
        self.layers, unknown = _layers(tensors, set(known))
        if not self.layers:
            raise UserError(f"{path} holds no LoRA for this backbone (it begins with {next(iter(tensors))})")
        if unknown:
            told = f"{len(unknown)} of {len(tensors)} tensors, for layers there are not ({unknown[0]} ...)"
            say(f"{path.name}: left out {told}")

    def change(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor of this name with what the file adds to it."""
        layer, _, last = name.rpartition(".")
        added = None
        if last == "weight" and layer in self.layers:
            added = self.layers[layer].of_weight(tensor.device)
        elif last == "bias" and layer in self.layers:
            added = self.layers[layer].bias
        elif name in self.layers:
            added = self.layers[name].itself
        if added is None:
            return tensor
        if added.numel() != tensor.numel():
            raise UserError(f"the LoRA changes {name} by {list(added.shape)}, which is {list(tensor.shape)} here")
        added = added.to(tensor.device).float().view(tensor.shape)
        return (tensor.float() + self.scale * added).to(tensor.dtype)


def _layers(tensors: Tensors, known: set[str]) -> tuple[dict[str, LoraLayer], list[str]]:
    flat = {_published(name).replace(".", "_"): name for name in {n.rpartition(".")[0] for n in known} if name}
    layers: dict[str, LoraLayer] = defaultdict(LoraLayer)
    unknown = []
    for key in tensors:
        match = re.fullmatch(rf"(.+)\.({'|'.join(re.escape(p) for p in PARTS)})", _bare(key))
        layer = _ours(match[1], known, flat) if match else None
        if match is None or layer is None:
            unknown.append(key)
        else:
            setattr(layers[layer], PARTS[match[2]], tensors[key])
    return dict(layers), unknown


def _bare(key: str) -> str:
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _published(layer: str) -> str:
    name = BACKBONE.published(f"{layer}.weight")
    return name.removesuffix(".weight") if name else layer


def _ours(layer: str, known: set[str], flat: dict[str, str]) -> str | None:
    """Our name of a layer (or of a tensor that is no layer's), from any of the three namings."""
    for name in (layer, BACKBONE.ours(layer), flat.get(layer)):
        if name and (f"{name}.weight" in known or name in known):
            return name
    return None


def parse_lora(text: str) -> tuple[Path, float]:
    """`file.safetensors:0.8` to (path, 0.8); the strength may be left out.

    Raises:
        UserError: the strength is no number.
    """
    path, _, scale = text.partition(":") if re.search(r":[^/\\]*$", text) else (text, "", "1")
    try:
        return Path(path), float(scale)
    except ValueError:
        raise UserError(f"--lora is {text!r}; expected FILE or FILE:STRENGTH, like few-step.safetensors:0.8") from None
