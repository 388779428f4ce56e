"""The backbone made ready for a machine: changed by LoRAs, quantised, offloaded, compiled, its kernels chosen."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.progress import say
from fantasyportrait.checkpoints.loading import Change, load_transformer
from fantasyportrait.checkpoints.lora import Lora, parse_lora
from fantasyportrait.checkpoints.model_folder import Base
from fantasyportrait.model.transformer import MotionTransformer
from fantasyportrait.runtime.memory import GIB, MemoryPlan
from fantasyportrait.runtime.offloading import offload
from fantasyportrait.settings import RuntimeConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.bfloat16, "int8": torch.bfloat16}
QUANTISED = ("fp8", "int8")
EXACT_KERNELS = ("native", "_native_cudnn", "flash", "_flash_3")  # diffusers' names; `sage` and its kin approximate


def find_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:1` as a device; under torchrun every process takes its own GPU.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device is {name!r}, and PyTorch finds no GPU; leave it out or say cpu")
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device is {name!r}; expected cpu, cuda or one GPU like cuda:1") from error
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise UserError(f"--device is {name!r}; there are {torch.cuda.device_count()} GPUs, counted from 0")
    return device


def memory_gib(device: torch.device, vram: float) -> tuple[float, float]:
    """(GPU memory to stay under, main memory available); a given limit is also set as PyTorch's own."""
    import psutil

    ram = psutil.virtual_memory().available / GIB
    if device.type != "cuda":
        return float("inf"), ram
    free, total = (n / GIB for n in torch.cuda.mem_get_info(device))
    if not vram:
        return free, ram
    torch.cuda.set_per_process_memory_fraction(min(1.0, vram / total), device)
    return min(vram, free), ram


def room_gib(device: torch.device, vram: float) -> float:
    """GPU memory still to be had, under the limit if there is one."""
    if device.type != "cuda":
        return float("inf")
    held, kept = torch.cuda.memory_allocated(device) / GIB, torch.cuda.memory_reserved(device) / GIB
    free = torch.cuda.mem_get_info(device)[0] / GIB + kept - held
    return min(free, vram - held) if vram else free


def load_backbone(
    base: Base, plan: MemoryPlan, runtime: RuntimeConfig, device: torch.device, loras: Sequence[Lora] = ()
) -> MotionTransformer:
    """The transformer under a plan."""
    resident = plan.offload == "none"
    home = device if resident else torch.device("cpu")
    model = load_transformer(
        base,
        dtype=DTYPES[plan.weights],
        device=home,
        change=_changes(loras) if loras else None,
        each_block=quantiser(plan.weights, device, home),
    )
    if not resident:
        offload(model, device, plan.offload, quantised=plan.weights in QUANTISED)
    if runtime.compile == "yes" or (runtime.compile == "auto" and device.type == "cuda" and resident):
        compile_blocks(model, insist=runtime.compile == "yes")
    return model


def compile_blocks(model: MotionTransformer, *, insist: bool, **options: Any) -> None:
    """Compile a block for all; where that fails (no Triton, no C compiler) it runs as it is, unless insisted on."""
    import torch._dynamo.config

    torch._dynamo.config.suppress_errors = not insist
    if not insist:
        logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    model.compile_repeated_blocks(**options)


def read_loras(given: Iterable[str], base: Base) -> list[Lora]:
    """LoRAs by their headers.

    Raises:
        UserError: a file is missing, or changes another model.
    """
    known = base.tensors("backbone").shapes
    return [Lora(path, known, scale) for path, scale in map(parse_lora, given)]


def _changes(loras: Sequence[Lora]) -> Change:
    def change(name: str, tensor: Tensor) -> Tensor:
        for lora in loras:
            tensor = lora.change(name, tensor)
        return tensor

    return change


def quantiser(weights: str, device: torch.device, home: torch.device) -> Callable[[nn.Module], None] | None:
    """What makes a block's matrices 8-bit, on the GPU where there is one, and leaves it where it was."""
    if weights not in QUANTISED:
        return None
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise UserError(f"{weights} weights need torchao: pip install torchao") from error
    config = Int8WeightOnlyConfig() if weights == "int8" else Float8WeightOnlyConfig()

    def quantise(block: nn.Module) -> None:
        block.to(device)
        quantize_(block, config)
        block.to(home)

    return quantise


def choose_attention(model: MotionTransformer, name: str, device: torch.device, num_tokens: int) -> str:
    """Set the attention kernel: the one named, or the fastest of those that compute the same to rounding.

    Raises:
        UserError: the named kernel is not to be had here.
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
    best = min(times_s, key=times_s.__getitem__)
    model.set_attention_backend(best)
    say(f"attention by {best}")
    return best


def check_attention(name: str) -> None:
    """Refuse a kernel diffusers has no name for.

    Raises:
        UserError: that is so.
    """
    from diffusers.models.attention_dispatch import AttentionBackendName

    known = sorted(kernel.value for kernel in AttentionBackendName)
    if name not in ("auto", *known):
        raise unknown_name("attention kernel", name, known)


def _time_attention(model: MotionTransformer, kernel: str, device: torch.device, num_tokens: int) -> float:
    """Seconds one self-attention takes; infinite where the kernel is not to be had."""
    heads, width = model.config.num_attention_heads, model.config.attention_head_dim
    query = torch.randn(1, num_tokens, heads, width, device=device, dtype=torch.bfloat16)
    try:
        model.set_attention_backend(kernel)
        attend = model.blocks[0].attn1.processor.attend
        attend(query, query, query)
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        attend(query, query, query)
        torch.cuda.synchronize(device)
    except Exception:  # not installed, not for this GPU, not for this shape: every kernel says so in its own way
        return float("inf")
    return time.perf_counter() - start
