"""Loading of modules: built on the meta device, then filled tensor by tensor on the target device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.formats import check_shapes, infer_image_encoder_config, infer_text_encoder_config
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.tensors import Tensors
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.patch_autoencoder import PatchAutoencoder
from fantasyportrait.model.transformer import MotionTransformer, build_transformer

M = TypeVar("M", bound=nn.Module)
WeightTransform = Callable[[str, Tensor], Tensor]  # from a weight's name and value to its new value


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Create parameters of modules on the meta device, without memory; buffers are created as usual."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        yield


def load_weights(
    module: M,
    tensors: Tensors,
    *,
    component: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    keep_fp32: tuple[str, ...] = (),
    transform: WeightTransform | None = None,
    strict: bool = True,
) -> M:
    """Load weights into a module on the meta device, set evaluation mode and turn gradients off.

    Args:
        module: filled in place and returned.
        tensors: weights by the module's names.
        component: name of the component, for error messages.
        device: target device.
        dtype: target data type of floating-point weights.
        keep_fp32: weights whose names contain one of these stay in float32.
        transform: applied to each weight on the device, before it is set.
        strict: whether unexpected tensors are errors.

    Raises:
        UserError: tensors are missing, of another shape or, if `strict`, unexpected.
    """
    check_shapes(get_shapes(module), tensors, component, strict=strict)
    for name in module.state_dict():
        if name in tensors:
            is_fp32 = any(part in name for part in keep_fp32)
            tensor = tensors[name]
            if tensor.is_floating_point():
                tensor = tensor.to(device, torch.float32 if is_fp32 else dtype)
            _set_tensor(module, name, transform(name, tensor) if transform else tensor.to(device))
    return module.eval().requires_grad_(False)


def _set_tensor(module: nn.Module, name: str, tensor: Tensor) -> None:
    *path, last = name.split(".")
    owner = module.get_submodule(".".join(path))
    if last in owner._parameters:
        owner._parameters[last] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[last] = tensor


def check_model_folder(folder: ModelFolder) -> None:
    """Check the tensors of all components by name and shape, from headers alone.

    Raises:
        UserError: a component is missing, broken, or belongs to a different model than the others.
    """
    base = folder.base
    adapter, backbone = folder.adapter, base.backbone
    check_adapter_fits(adapter.dim, adapter.num_layers, base)
    with on_meta_device():
        modules = build_transformer(backbone), MotionAdapter(adapter), ExpressionEncoder()
    check_shapes(get_shapes(modules[0]), base.tensors("backbone"), "backbone")
    check_shapes(get_shapes(modules[1]), folder.adapter_tensors(), "adapter")
    check_shapes(get_shapes(modules[2]), folder.expression_tensors(), "expression encoder", strict=False)
    check_shapes(get_shapes(_build_empty_vae(base)), base.tensors("VAE"), "VAE")
    image = base.tensors("image encoder")
    image_encoder = _vision_model(_build_empty_image_encoder(base, image))
    check_shapes(get_shapes(image_encoder), image, "image encoder", strict=False)


def check_adapter_fits(dim: int, num_layers: int, base: WanCheckpoint) -> None:
    """Raise UserError if an adapter's width or number of layers differs from the base's backbone."""
    backbone = base.backbone
    if (dim, num_layers) != (backbone.dim, backbone.num_layers):
        raise UserError(
            f"the adapter is for a backbone of width {dim} and {num_layers} layers; "
            f"{base.path} has width {backbone.dim} and {backbone.num_layers} layers"
        )


def get_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a module's tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def load_transformer(
    base: WanCheckpoint,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    transform: WeightTransform | None = None,
    on_block_loaded: Callable[[nn.Module], None] | None = None,
) -> MotionTransformer:
    """Load the backbone.

    Args:
        base: the checkpoint.
        dtype: data type of the weights, except those that diffusers keeps in float32.
        device: target device.
        transform: applied to each weight, such as the fusion of LoRAs.
        on_block_loaded: called with each block once it is loaded, for example to quantise it, so that at most one block
            is in memory in its original data type.
    """
    with on_meta_device():
        model = build_transformer(base.backbone)
    tensors = base.tensors("backbone")
    check_shapes(get_shapes(model), tensors, "backbone")
    options: dict[str, Any] = {
        "component": "backbone",
        "device": device,
        "dtype": dtype,
        "keep_fp32": tuple(MotionTransformer._keep_in_fp32_modules),
    }
    for i, block in enumerate(model.blocks):
        prefix = f"blocks.{i}."
        load_weights(block, tensors.select_prefix(prefix), transform=_with_prefix(transform, prefix), **options)
        if on_block_loaded:
            on_block_loaded(block)
    rest = tensors.rename({n: n for n in tensors if not n.startswith("blocks.")})
    blocks, model.blocks = model.blocks, nn.ModuleList()
    load_weights(model, rest, transform=transform, **options)
    model.blocks = blocks
    model.rope.to(device)
    return model


def _with_prefix(transform: WeightTransform | None, prefix: str) -> WeightTransform | None:
    return None if transform is None else lambda name, tensor: transform(prefix + name, tensor)


def load_adapter(
    folder: ModelFolder, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> MotionAdapter:
    """Load the motion adapter."""
    with on_meta_device():
        adapter = MotionAdapter(folder.adapter)
    return load_weights(adapter, folder.adapter_tensors(), component="adapter", device=device, dtype=dtype)


def load_expression_encoder(folder: ModelFolder, *, device: torch.device | str = "cpu") -> ExpressionEncoder:
    """Load the PD-FGC encoder in float32."""
    with on_meta_device():
        encoder = ExpressionEncoder()
    tensors = folder.expression_tensors()
    return load_weights(encoder, tensors, component="expression encoder", device=device, strict=False)


def load_vae(base: WanCheckpoint, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """Load the VAE as diffusers' `AutoencoderKLWan`; that of tiny models can be a `PatchAutoencoder`."""
    return load_weights(_build_empty_vae(base), base.tensors("VAE"), component="VAE", device=device, dtype=dtype)


def _build_empty_vae(base: WanCheckpoint) -> Any:
    from diffusers import AutoencoderKLWan

    if base.config("VAE").get("_class_name") == "PatchAutoencoder":
        with on_meta_device():
            return PatchAutoencoder()
    config = {k: v for k, v in base.config("VAE").items() if not k.startswith("_")}
    if "z_dim" not in config:  # published files have no configuration of the VAE
        config = {"base_dim": base.tensors("VAE").shape("encoder.conv_in.weight")[0]}
    with on_meta_device():
        return AutoencoderKLWan(**config)


def load_text_encoder(
    base: WanCheckpoint, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.bfloat16
) -> Any:
    """Load the text encoder as transformers' `UMT5EncoderModel`."""
    from transformers import UMT5Config, UMT5EncoderModel

    tensors = base.tensors("text encoder")
    tensors = tensors.rename({n: n for n in tensors if n != "encoder.embed_tokens.weight"})
    with on_meta_device():
        model = UMT5EncoderModel(UMT5Config(**infer_text_encoder_config(tensors.shapes)))
    model.encoder.embed_tokens = nn.Identity()  # tied to `shared`, which is loaded once
    load_weights(model, tensors, component="text encoder", device=device, dtype=dtype)
    model.encoder.embed_tokens = model.shared
    return model


def load_image_encoder(
    base: WanCheckpoint, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Any:
    """Load the image encoder as transformers' `CLIPVisionModel`."""
    tensors = base.tensors("image encoder")
    model = _build_empty_image_encoder(base, tensors)
    load_weights(_vision_model(model), tensors, component="image encoder", device=device, dtype=dtype, strict=False)
    for buffer in model.buffers():
        buffer.data = buffer.to(device)
    return model


def _build_empty_image_encoder(base: WanCheckpoint, tensors: Tensors) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = infer_image_encoder_config(tensors.shapes, base.image_encoder_num_heads)
    with on_meta_device():
        return CLIPVisionModel(CLIPVisionConfig(**config))


def _vision_model(model: Any) -> Any:
    """Return the module whose tensor names have no prefix; some versions of transformers nest it."""
    return getattr(model, "vision_model", model)
