"""Loading of the backbone for a device: LoRA fusion, quantisation, offloading, compilation, attention kernels."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.progress import say
from fantasyportrait.checkpoints.loading import WeightTransform, load_transformer
from fantasyportrait.checkpoints.lora import Lora
from fantasyportrait.checkpoints.lora_names import parse_lora
from fantasyportrait.checkpoints.model_folder import WanCheckpoint
from fantasyportrait.model.transformer import MotionTransformer
from fantasyportrait.runtime.memory import GIB, MemoryPlan
from fantasyportrait.runtime.offloading import offload
from fantasyportrait.runtime.quantisation import QUANTISED_DTYPES, quantise_linears
from fantasyportrait.settings import RuntimeConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.bfloat16, "int8": torch.bfloat16}
EXACT_KERNELS = ("native", "_native_cudnn", "flash", "_flash_3")  # diffusers' names; `sage` and others approximate


def resolve_device(name: str) -> torch.device:
    """Return the device named `auto`, `cpu`, `cuda` or `cuda:1`; under torchrun, `cuda` is the process's own GPU.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device is {name!r}, but PyTorch finds no GPU; use --device cpu or leave it out")
    named_index = name != "cuda"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device is {name!r}; expected cpu, cuda or one GPU such as cuda:1") from error
    if device.type == "cuda" and named_index and num_local_processes() > 1:
        raise UserError(
            f"--device is {name!r}, one GPU for {num_local_processes()} processes; use --device cuda, a GPU for each"
        )
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise UserError(f"--device is {name!r}; there are {torch.cuda.device_count()} GPUs, counted from 0")
    return device


def num_local_processes() -> int:
    """Return the number of processes that torchrun started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def set_memory_limit(device: torch.device, vram_gib: float) -> tuple[float, float]:
    """Limit PyTorch to `vram_gib` of GPU memory; 0 sets no limit.

    Returns:
        (GPU memory, CPU memory) that this process can use, in GiB; GPU memory is infinite on a CPU. The processes of a
        machine share its CPU memory equally.
    """
    import psutil

    ram_gib = psutil.virtual_memory().available / GIB / num_local_processes()
    if device.type != "cuda":
        return float("inf"), ram_gib
    free_gib, total_gib = (n / GIB for n in torch.cuda.mem_get_info(device))
    if not vram_gib:
        return free_gib, ram_gib
    torch.cuda.set_per_process_memory_fraction(min(1.0, vram_gib / total_gib), device)
    return min(vram_gib, free_gib), ram_gib


def available_vram_gib(device: torch.device, vram_gib: float) -> float:
    """Return the GPU memory that can still be allocated, below the limit `vram_gib` unless it is 0."""
    if device.type != "cuda":
        return float("inf")
    allocated, reserved = torch.cuda.memory_allocated(device) / GIB, torch.cuda.memory_reserved(device) / GIB
    free = torch.cuda.mem_get_info(device)[0] / GIB + reserved - allocated
    return min(free, vram_gib - allocated) if vram_gib else free


def load_backbone(
    base: WanCheckpoint, plan: MemoryPlan, runtime: RuntimeConfig, device: torch.device, loras: Sequence[Lora] = ()
) -> MotionTransformer:
    """Load the transformer as the memory plan requires, with LoRAs fused into its weights."""
    is_resident = plan.offload == "none"
    storage_device = device if is_resident else torch.device("cpu")
    model = load_transformer(
        base,
        dtype=DTYPES[plan.weights],
        device=storage_device,
        transform=_fuse_all(loras) if loras else None,
        on_block_loaded=make_quantiser(plan.weights, device, storage_device),
    )
    if not is_resident:
        offload(model, device, plan.offload)
    if runtime.compile == "yes" or (runtime.compile == "auto" and device.type == "cuda" and is_resident):
        compile_blocks(model, required=runtime.compile == "yes")
    return model


def compile_blocks(model: MotionTransformer, *, required: bool, **options: Any) -> None:
    """Compile one block for all, with dynamic shapes: three graphs (no, one, several people) serve clips of all sizes.

    If a graph cannot be compiled (no Triton, no C compiler), report it and run eagerly, unless `required`.
    """
    import torch._dynamo.config

    torch._dynamo.config.suppress_errors = False  # errors and the limit of graphs would lead to eager mode unreported
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    model.compile_repeated_blocks(dynamic=True, **options)
    if not required:
        for block in model.blocks:
            block._compiled_call_impl = _with_eager_fallback(model, block)


def _with_eager_fallback(model: MotionTransformer, block: nn.Module) -> Callable[..., Tensor]:
    compiled = block._compiled_call_impl

    def run(*inputs: Any) -> Tensor:
        try:
            return compiled(*inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # each compiler has errors of its own; an error of the model is raised again below
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            say(f"the blocks run without torch.compile, which is slower: {reason} (--compile no hides this message)")
            for other in model.blocks:
                other._compiled_call_impl = None
            return block(*inputs)

    return run


def load_loras(specs: Iterable[str], base: WanCheckpoint) -> list[Lora]:
    """Open LoRA files given as FILE or FILE:STRENGTH; only their headers are read.

    Raises:
        UserError: a file is missing, or is for another model.
    """
    backbone_shapes = base.tensors("backbone").shapes
    return [Lora(path, backbone_shapes, scale) for path, scale in map(parse_lora, specs)]


def _fuse_all(loras: Sequence[Lora]) -> WeightTransform:
    def fuse(name: str, tensor: Tensor) -> Tensor:
        for lora in loras:
            tensor = lora.fuse(name, tensor)
        return tensor

    return fuse


def make_quantiser(
    weights: str, device: torch.device, storage_device: torch.device
) -> Callable[[nn.Module], None] | None:
    """Return a function that quantises a block's matrices on `device` and moves it to `storage_device`.

    Return None if `weights` is not an 8-bit type.
    """
    if weights not in QUANTISED_DTYPES:
        return None

    def quantise(block: nn.Module) -> None:
        block.to(device)
        quantise_linears(block, weights)
        block.to(storage_device)

    return quantise


def choose_attention(model: MotionTransformer, name: str, device: torch.device, num_tokens: int) -> str:
    """Set the attention kernel and return its name.

    Args:
        model: the backbone.
        name: a diffusers name, or `auto` for the fastest kernel that is exact up to rounding.
        device: where the model runs.
        num_tokens: sequence length at which kernels are timed.

    Raises:
        UserError: the named kernel cannot be used here.
    """
    if name != "auto":
        try:
            model.set_attention_backend(name)
        except Exception as error:  # diffusers raises whatever its check of the kernel raises
            raise UserError(f"--attention {name} cannot be used here: {str(error).splitlines()[0]}") from error
        return name
    if device.type != "cuda":
        return "native"
    times_s = {kernel: _time_attention(model, kernel, device, num_tokens) for kernel in EXACT_KERNELS}
    fastest = min(times_s, key=times_s.__getitem__)
    model.set_attention_backend(fastest)
    say(f"attention kernel: {fastest}")
    return fastest


def check_attention(name: str) -> None:
    """Raise UserError if diffusers has no attention kernel of this name."""
    from diffusers.models.attention_dispatch import AttentionBackendName

    known = sorted(kernel.value for kernel in AttentionBackendName)
    if name not in ("auto", *known):
        raise unknown_name("attention kernel", name, known)


def _time_attention(model: MotionTransformer, kernel: str, device: torch.device, num_tokens: int) -> float:
    """Return the seconds one self-attention takes, or infinity if the kernel is not available."""
    num_heads, head_dim = model.config.num_attention_heads, model.config.attention_head_dim
    query = torch.randn(1, num_tokens, num_heads, head_dim, device=device, dtype=torch.bfloat16)
    try:
        model.set_attention_backend(kernel)
        attend = model.blocks[0].attn1.processor.attend
        attend(query, query, query)
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        attend(query, query, query)
        torch.cuda.synchronize(device)
    except Exception:  # each kernel has its own error for: not installed, wrong GPU, wrong shape
        return float("inf")
    return time.perf_counter() - start
