"""Offloading of weights to CPU memory; a block or a layer is moved to the GPU ahead of its use."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

CHUNK_BYTES = 1 << 30
ALIGNMENT = 256


def offload(model: nn.Module, device: torch.device, mode: str) -> None:
    """Enable diffusers' group offloading of a model.

    Args:
        model: in CPU memory; its tensors are moved into pinned memory if the device is not the CPU.
        device: where it computes.
        mode: `block` or `leaf`, the unit that is moved.
    """
    from diffusers.hooks import apply_group_offloading

    use_stream = device.type != "cpu"
    if use_stream:
        pack([*model.parameters(), *model.buffers()], pinned=True)
    apply_group_offloading(
        model,
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type=f"{mode}_level",
        num_blocks_per_group=1 if mode == "block" else None,
        use_stream=use_stream,
        record_stream=use_stream,
    )


def pack(tensors: Iterable[Tensor], *, pinned: bool, chunk_bytes: int = CHUNK_BYTES) -> None:
    """Move tensors, one at a time, into large chunks of (pinned) CPU memory.

    PyTorch rounds each pinned allocation up to a power of two, which would add two fifths to the weights of the 14B
    model. diffusers pins a whole model before it releases the unpinned weights, which would double them.
    """
    chunk, used = torch.empty(0, dtype=torch.uint8), chunk_bytes
    for tensor in tensors:
        if used + tensor.nbytes > len(chunk):
            chunk, used = torch.empty(max(chunk_bytes, tensor.nbytes), dtype=torch.uint8, pin_memory=pinned), 0
        view = chunk[used : used + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        tensor.data = view.copy_(tensor.data)
        used += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
