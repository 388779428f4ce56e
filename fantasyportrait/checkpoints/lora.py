"""LoRA files for the backbone (distilled few-step models, styles), fused into its weights while they are loaded.

Fused weights cost no time per step and work with 8-bit weights, offloading and compilation.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from exprbench.core.errors import UserError
from exprbench.core.progress import say
from fantasyportrait.checkpoints.lora_names import group_by_layer
from fantasyportrait.checkpoints.tensors import open_tensors

Shape = tuple[int, ...]
Parts = dict[str, Tensor]

LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


class Lora:
    """LoRA, LoKr or LoHa of the backbone: one file with its strength.

    `layers` maps each layer of the backbone to the file's tensors for it, by part: the factors of a change of its
    weight with their `alpha`, and full differences of its `weight`, its `bias` or of a bare parameter (`modulation`).
    """

    def __init__(self, path: Path, backbone_shapes: Mapping[str, Shape], scale: float = 1.0) -> None:
        """Read a file's header; its tensors are read when they are fused.

        Args:
            path: safetensors file with names as in diffusers, the published layout, kohya's trainer or LyCORIS.
            backbone_shapes: shapes of the backbone's tensors, by name.
            scale: strength.

        Raises:
            UserError: the file is not a LoRA, is of a method that is not supported, is for another model, or changes
                nothing.
        """
        self.path, self.scale = path, scale
        self.tensors = tensors = open_tensors(path)
        self.layers, unknown = group_by_layer(str(path), tensors, set(backbone_shapes))
        if not self.layers:
            first = next(iter(tensors), "nothing")
            raise UserError(f"{path} has no LoRA for this backbone; its first tensor is {first}")
        if unpaired := [layer for layer, parts in self.layers.items() if not _is_complete(set(parts))]:
            raise UserError(f"{path} lacks one of two matrices for {len(unpaired)} layers ({unpaired[0]} ...)")
        if unknown:
            say(f"{path.name}: skipped {len(unknown)} of {len(tensors)} tensors of unknown layers ({unknown[0]} ...)")
        for name, shape in self._delta_shapes():
            _check_shape(path, name, shape, backbone_shapes)
        if not any(self._changes(layer) for layer in self.layers):
            raise UserError(f"{path} changes nothing: all its differences are zero; use another file or leave it out")

    def _delta_shapes(self) -> Iterator[tuple[str, Shape]]:
        """Yield the name of each changed tensor of the backbone and the shape of what is added to it."""
        for layer, parts in self.layers.items():
            shapes = {part: self.tensors.shape(key) for part, key in parts.items()}
            if (shape := _product_shape(shapes)) is not None:
                yield f"{layer}.weight", shape
            names = {"weight": f"{layer}.weight", "bias": f"{layer}.bias", "modulation": layer}
            names["up_bias"] = names["bias"]
            yield from ((name, shapes[part]) for part, name in names.items() if part in shapes)

    def _changes(self, layer: str) -> bool:
        """Return whether a difference of this layer is not zero."""
        parts = self._read(layer, torch.device("cpu"))
        full = any(parts[part].any() for part in ("weight", "bias", "modulation", "up_bias") if part in parts)
        factors = [parts[part] for part in parts if part not in ("weight", "bias", "modulation", "up_bias")]
        return full or (len(factors) > 1 and all(bool(factor.any()) for factor in factors))

    def __str__(self) -> str:
        return f"{self.path.name}:{self.scale:g}"

    def fuse(self, name: str, tensor: Tensor) -> Tensor:
        """Return the backbone's tensor of this name with the LoRA added; unchanged if the file has nothing for it.

        Raises:
            UserError: the difference has NaN or infinite values.
        """
        layer, _, last = name.rpartition(".")
        delta = self._read(name, tensor.device).get("modulation")
        if last == "weight":
            delta = _weight_delta(self._read(layer, tensor.device))
        elif last == "bias":
            delta = _bias_delta(self._read(layer, tensor.device))
        if delta is None:
            return tensor
        if not torch.isfinite(delta).all():
            raise UserError(f"{self.path} has NaN or infinite values for {name}; use another file")
        return (tensor.float() + self.scale * delta.view(tensor.shape)).to(tensor.dtype)

    def _read(self, layer: str, device: torch.device) -> Parts:
        parts = self.layers.get(layer, {})
        return {part: self.tensors[key].to(device).float() for part, key in parts.items()}


def _is_complete(parts: set[str]) -> bool:
    """Return whether all factors of a low-rank change are there; a layer can also have full differences only."""
    if any(part.startswith("hada") for part in parts):
        return parts.issuperset(LOHA)
    if any(part.startswith("lokr") for part in parts):
        return all(f"lokr_w{i}" in parts or {f"lokr_w{i}_a", f"lokr_w{i}_b"} <= parts for i in (1, 2))
    return ("down" in parts) == ("up" in parts) and not ("up_bias" in parts and "up" not in parts)


def _product_shape(shapes: dict[str, Shape]) -> Shape | None:
    """Return the shape of the product of a layer's factors, or None if it has none."""
    if "down" in shapes:
        return (shapes["up"][0], *shapes["down"][1:]) if shapes["up"][1] == shapes["down"][0] else (0,)
    if "hada_w1_a" in shapes:
        return shapes["hada_w1_a"][0], shapes["hada_w1_b"][1]
    if not any(part.startswith("lokr") for part in shapes):
        return None
    first, second = (
        shapes.get(f"lokr_w{i}") or (shapes[f"lokr_w{i}_a"][0], *shapes[f"lokr_w{i}_b"][1:]) for i in (1, 2)
    )
    return first[0] * second[0], first[1] * second[1], *second[2:]


def _check_shape(path: Path, name: str, shape: Shape, backbone_shapes: Mapping[str, Shape]) -> None:
    expected = backbone_shapes.get(name)
    if expected is None:
        raise UserError(
            f"{path} is for another model: it changes {name} by {list(shape)}; the backbone has no such tensor"
        )
    is_matrix = name.endswith(".weight")
    if math.prod(shape) != math.prod(expected) or (is_matrix and shape[0] != expected[0]):
        raise UserError(f"{path} is for another model: it changes {name} by {list(shape)}; expected {list(expected)}")


def _weight_delta(parts: Parts) -> Tensor | None:
    """Return the change of a layer's weight: the product of the factors, a full difference, or both."""
    full, product = parts.get("weight"), None
    if "down" in parts:
        down, up = parts["down"], parts["up"]
        product = (up.flatten(1) @ down.flatten(1)).view(len(up), *down.shape[1:])
    elif "hada_w1_a" in parts:
        product = (parts["hada_w1_a"] @ parts["hada_w1_b"]) * (parts["hada_w2_a"] @ parts["hada_w2_b"])
    elif _rank(parts) or "lokr_w1" in parts:
        product = _kronecker_product(parts)
    if product is not None:
        product = _scale(parts) * product
    return full if product is None else product if full is None else product + full.view(product.shape)


def _bias_delta(parts: Parts) -> Tensor | None:
    full, product = parts.get("bias"), parts.get("up_bias")
    if product is None:
        return full
    return _scale(parts) * product + (0 if full is None else full)


def _kronecker_product(parts: Parts) -> Tensor:
    first, second = (
        parts[f"lokr_w{i}"] if f"lokr_w{i}" in parts else _matmul(parts[f"lokr_w{i}_a"], parts[f"lokr_w{i}_b"])
        for i in (1, 2)
    )
    return torch.kron(first.view(*first.shape, *[1] * (second.dim() - first.dim())), second)


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.flatten(1)).view(len(a), *b.shape[1:])


def _scale(parts: Parts) -> float:
    """Return alpha / rank, or 1 if there is no alpha or, as in a LoKr of two full factors, no rank."""
    rank = _rank(parts)
    return float(parts["alpha"]) / rank if "alpha" in parts and rank else 1.0


def _rank(parts: Parts) -> int:
    names = ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")
    return next((len(parts[name]) for name in names if name in parts), 0)
