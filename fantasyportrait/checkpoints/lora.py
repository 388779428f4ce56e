"""Low-rank changes to the backbone (distilled few-step models, styles), added to the weights while they are loaded.

Added, not run beside them: no time a step, and 8-bit weights, offloading and compilation never hear of it.
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


class Lora:
    """One file's changes, by the names of the backbone's layers."""

    def __init__(self, path: Path, known: Mapping[str, Shape], scale: float = 1.0) -> None:
        """Read a file's header; its tensors are read when they are applied.

        Args:
            path: safetensors, in diffusers', the published or kohya's naming.
            known: shapes of the backbone's tensors, by name.
            scale: how strongly to apply it.

        Raises:
            UserError: it is no LoRA, or one for another model.
        """
        self.path, self.scale = path, scale
        self.tensors = tensors = open_tensors(path)
        self.layers, unknown = _layers(tensors, set(known))
        if not self.layers:
            raise UserError(f"{path} holds no LoRA for this backbone (it begins with {next(iter(tensors), 'nothing')})")
        if halved := [layer for layer, parts in self.layers.items() if ("down" in parts) != ("up" in parts)]:
            raise UserError(f"{path} lacks one of the two halves for {len(halved)} layers ({halved[0]} ...)")
        if unknown:
            told = f"{len(unknown)} of {len(tensors)} tensors, for layers there are not ({unknown[0]} ...)"
            say(f"{path.name}: left out {told}")
        for name, shape in self._shapes():
            if math.prod(shape) != math.prod(known.get(name, (0,))):
                told = list(known[name]) if name in known else "not there"
                raise UserError(
                    f"{path} changes {name} by {list(shape)}, which is {told} here: it is for another model"
                )

    def _shapes(self) -> Iterator[tuple[str, Shape]]:
        """Of what is added, with the name of the tensor it is added to."""
        for layer, parts in self.layers.items():
            shapes = {part: self.tensors.shape(key) for part, key in parts.items()}
            if "down" in shapes:
                yield f"{layer}.weight", (shapes["up"][0], *shapes["down"][1:])
            places = {"weight": f"{layer}.weight", "bias": f"{layer}.bias", "itself": layer}
            yield from ((place, shapes[part]) for part, place in places.items() if part in shapes)

    def __str__(self) -> str:
        return f"{self.path.name}:{self.scale:g}"

    def change(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor of this name with what the file adds to it."""
        layer, _, last = name.rpartition(".")
        added = None
        if last == "weight":
            added = self._of_weight(layer, tensor.device)
        elif last == "bias":
            added = self._read(layer, "bias", tensor.device)
        if added is None:
            added = self._read(name, "itself", tensor.device)
        if added is None:
            return tensor
        return (tensor.float() + self.scale * added.view(tensor.shape)).to(tensor.dtype)

    def _of_weight(self, layer: str, device: torch.device) -> Tensor | None:
        """What to add to a layer's weight: its low-rank halves multiplied, its whole difference, or both."""
        added = self._read(layer, "weight", device)
        down, up, alpha = (self._read(layer, part, device) for part in ("down", "up", "alpha"))
        if down is None or up is None:
            return added
        scale = 1.0 if alpha is None else float(alpha) / len(down)
        product = scale * (up.flatten(1) @ down.flatten(1)).view(len(up), *down.shape[1:])
        return product if added is None else added + product

    def _read(self, layer: str, part: str, device: torch.device) -> Tensor | None:
        key = self.layers.get(layer, {}).get(part)
        return None if key is None else self.tensors[key].to(device).float()


def _layers(tensors: Tensors, known: set[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """For each of the backbone's layers, the file's tensors by their part in the change; and those that fit none."""
    flat = {_published(name).replace(".", "_"): name for name in {n.rpartition(".")[0] for n in known} if name}
    layers: dict[str, dict[str, str]] = defaultdict(dict)
    unknown = []
    for key in tensors:
        match = re.fullmatch(rf"(.+)\.({'|'.join(re.escape(p) for p in PARTS)})", _bare(key))
        layer = _ours(match[1], known, flat) if match else None
        if match is None or layer is None:
            unknown.append(key)
        else:
            layers[layer][PARTS[match[2]]] = key
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
