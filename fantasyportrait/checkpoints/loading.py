"""Modules with their weights: built without memory, then filled tensor by tensor on the device they are for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.formats import image_encoder_config, require_all, text_encoder_config
from fantasyportrait.checkpoints.model_folder import Base, ModelFolder
from fantasyportrait.checkpoints.tensors import Tensors
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.transformer import MotionTransformer, build_transformer

M = TypeVar("M", bound=nn.Module)
Change = Callable[[str, Tensor], Tensor]  # of a named weight before it takes its place


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Modules made here have the shapes of their parameters and nothing else; their buffers are real."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        yield


def fill(
    module: M,
    tensors: Tensors,
    *,
    what: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    keep_fp32: tuple[str, ...] = (),
    change: Change | None = None,
    strict: bool = True,
) -> M:
    """Give an empty module its weights; a name that contains one of `keep_fp32` stays in float32.

    Raises:
        UserError: tensors are missing, of another shape or, if strict, too many.
    """
    wanted = module.state_dict()
    require_all(shapes_of(module), tensors, what, strict=strict)
    for name in wanted:
        if name in tensors:
            kept = any(part in name for part in keep_fp32)
            tensor = tensors[name]
            if tensor.is_floating_point():
                tensor = tensor.to(device, torch.float32 if kept else dtype)
            _place(module, name, change(name, tensor) if change else tensor.to(device))
    return module.eval().requires_grad_(False)


def _place(module: nn.Module, name: str, tensor: Tensor) -> None:
    *path, last = name.split(".")
    owner = module.get_submodule(".".join(path))
    if last in owner._parameters:
        owner._parameters[last] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[last] = tensor


def check(folder: ModelFolder) -> None:
    """Hold every tensor of the parts against what they should be, by headers alone.

    Raises:
        UserError: a part is missing, broken, or of another model than the rest.
    """
    base = folder.base
    adapter, backbone = folder.adapter, base.backbone
    if (adapter.dim, adapter.num_layers) != (backbone.dim, backbone.num_layers):
        raise UserError(
            f"the adapter is for a backbone of width {adapter.dim} and {adapter.num_layers} layers; "
            f"{base.path} has width {backbone.dim} and {backbone.num_layers} layers"
        )
    with on_meta_device():
        modules = build_transformer(backbone), MotionAdapter(adapter), ExpressionEncoder()
    require_all(shapes_of(modules[0]), base.tensors("backbone"), "backbone")
    require_all(shapes_of(modules[1]), folder.adapter_tensors(), "adapter")
    require_all(shapes_of(modules[2]), folder.expression_tensors(), "expression encoder", strict=False)
    require_all(shapes_of(_empty_vae(base)), base.tensors("VAE"), "VAE")
    image = base.tensors("image encoder")
    require_all(shapes_of(_inner(_empty_image_encoder(base, image))), image, "image encoder", strict=False)


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of every tensor of a module, by name."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def load_transformer(
    base: Base,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    change: Change | None = None,
    each_block: Callable[[nn.Module], None] | None = None,
) -> MotionTransformer:
    """The backbone. `each_block` is called with every block as soon as it is filled (to quantise it, say), so that no
    more than one is ever in memory as it was on the disk.
    """
    with on_meta_device():
        model = build_transformer(base.backbone)
    tensors = base.tensors("backbone")
    require_all(shapes_of(model), tensors, "backbone")
    kept = tuple(MotionTransformer._keep_in_fp32_modules)
    parts = [f"blocks.{i}." for i in range(len(model.blocks))]
    for part, block in zip(parts, model.blocks, strict=True):
        inner = None if change is None else lambda name, t, part=part: change(part + name, t)  # type: ignore[misc]
        fill(block, tensors.under(part), what="backbone", device=device, dtype=dtype, keep_fp32=kept, change=inner)
        if each_block:
            each_block(block)
    rest = tensors.renamed({n: n for n in tensors if not n.startswith("blocks.")})
    blocks, model.blocks = model.blocks, nn.ModuleList()
    fill(model, rest, what="backbone", device=device, dtype=dtype, keep_fp32=kept, change=change)
    model.blocks = blocks
    model.rope.to(device)
    return model


def load_adapter(
    folder: ModelFolder, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> MotionAdapter:
    """What the paper adds."""
    with on_meta_device():
        adapter = MotionAdapter(folder.adapter)
    return fill(adapter, folder.adapter_tensors(), what="adapter", device=device, dtype=dtype)


def load_expression_encoder(folder: ModelFolder, *, device: torch.device | str = "cpu") -> ExpressionEncoder:
    """PD-FGC, always in float32."""
    with on_meta_device():
        encoder = ExpressionEncoder()
    return fill(encoder, folder.expression_tensors(), what="expression encoder", device=device, strict=False)


def load_vae(base: Base, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """diffusers' `AutoencoderKLWan`."""
    return fill(_empty_vae(base), base.tensors("VAE"), what="VAE", device=device, dtype=dtype)


def _empty_vae(base: Base) -> Any:
    from diffusers import AutoencoderKLWan

    config = {k: v for k, v in base.config("VAE").items() if not k.startswith("_")}
    if "z_dim" not in config:  # published: the files do not say
        config = {"base_dim": base.tensors("VAE").shape("encoder.conv_in.weight")[0]}
    with on_meta_device():
        return AutoencoderKLWan(**config)


def load_text_encoder(base: Base, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.bfloat16) -> Any:
    """transformers' `UMT5EncoderModel`."""
    from transformers import UMT5Config, UMT5EncoderModel

    tensors = base.tensors("text encoder")
    tensors = tensors.renamed({n: n for n in tensors if n != "encoder.embed_tokens.weight"})
    with on_meta_device():
        model = UMT5EncoderModel(UMT5Config(**text_encoder_config(tensors.shapes)))
    model.encoder.embed_tokens = nn.Identity()  # it is `shared` once more
    fill(model, tensors, what="text encoder", device=device, dtype=dtype)
    model.encoder.embed_tokens = model.shared
    return model


def load_image_encoder(base: Base, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """transformers' `CLIPVisionModel`, whose modules bear a prefix in some of its versions."""
    tensors = base.tensors("image encoder")
    model = _empty_image_encoder(base, tensors)
    fill(_inner(model), tensors, what="image encoder", device=device, dtype=dtype, strict=False)
    for buffer in model.buffers():
        buffer.data = buffer.to(device)
    return model


def _empty_image_encoder(base: Base, tensors: Tensors) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    with on_meta_device():
        return CLIPVisionModel(CLIPVisionConfig(**image_encoder_config(tensors.shapes, base.image_heads)))


def _inner(model: Any) -> Any:
    """The image encoder without the prefix its modules bear in some versions."""
    return getattr(model, "vision_model", model)
