"""Exact arithmetic of PyTorch's networks."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exact() -> Iterator[None]:
    """Disable gradients and, on a GPU, TF32 and benchmarked algorithms: equal inputs give equal float32 results."""
    import torch

    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        yield
