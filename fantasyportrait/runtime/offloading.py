"""Weights that lie in main memory and come to the GPU a block, or a layer, ahead of their use."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

CHUNK_BYTES = 1 << 30
ALIGNMENT = 256


def offload(model: nn.Module, device: torch.device, mode: str, *, quantised: bool = False) -> None:
    """Let diffusers bring a model's weights when they are needed.

    Args:
        model: in main memory.
        device: where it computes.
        mode: `block` or `leaf`, what is brought at once.
        quantised: its matrices are torchao's, which cannot be pinned in place: a copy is, a block at a time.
    """
    from diffusers.hooks import apply_group_offloading

    streams = device.type == "cuda"
    if streams and not quantised:
        pack([*model.parameters(), *model.buffers()], pinned=True)
    apply_group_offloading(
        model,
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type=f"{mode}_level",
        num_blocks_per_group=1 if mode == "block" else None,
        use_stream=streams,
        record_stream=streams,
        low_cpu_mem_usage=quantised,
    )


def pack(tensors: Iterable[Tensor], *, pinned: bool, chunk_bytes: int = CHUNK_BYTES) -> None:
    """Move tensors, one at a time, into chunks of (pinned) memory.

    PyTorch rounds each pinned allocation up to a power of two, which would cost 14B's weights two fifths more, and
    diffusers pins all of a model before it lets go of what it pinned, which would take them twice.
    """
    chunk, used = torch.empty(0, dtype=torch.uint8), chunk_bytes
    for tensor in tensors:
        if used + tensor.nbytes > len(chunk):
            chunk, used = torch.empty(max(chunk_bytes, tensor.nbytes), dtype=torch.uint8, pin_memory=pinned), 0
        place = chunk[used : used + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        tensor.data = place.copy_(tensor.data)
        used += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
