"""The memory planner's constants, traced: every allocation of a full-size block and VAE, on no GPU at all.

PyTorch's fake tensors have shapes and no data, so the 14B model's largest moments can be followed on a laptop. What is
counted is what tensors occupy; CUDA's context and the allocator's gaps are the planner's reserve. On a CPU the process
really took 2 % (float32) and 9 % (bfloat16) more than was traced.
"""

import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from exprbench.core.cli_base import Parser
from fantasyportrait.model import vae as decoding
from fantasyportrait.model.configs import SIZES, BackboneConfig
from fantasyportrait.model.motion_tokens import MotionTokens
from fantasyportrait.model.transformer import MotionTransformer, build_transformer
from fantasyportrait.runtime.memory import DECODER_BYTES, ENCODER_BYTES, HIDDEN_STATES, TILE

CLIPS = {"720x720": (90, 90), "480x832": (104, 60)}
NUM_LATENT = 21


class Peak(TorchDispatchMode):
    """Bytes of the tensors made within it: `now`, and the most there were at once, `peak`."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.known = {t.untyped_storage()._cdata for t in known}
        self.live: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, function: Callable[..., Any], _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._see(leaf.untyped_storage())
        return out

    def _see(self, storage: Any) -> None:
        key = storage._cdata
        if key in self.known or key in self.live:
            return
        self.live[key] = storage.nbytes()
        self.now += self.live[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self.live.pop(key, 0)


def traced(function: Callable[[], Any], known: Iterable[Tensor]) -> int:
    """Most bytes at once that a call allocates."""
    mode = Peak(known)
    with mode, torch.no_grad():
        function()
    return mode.peak


def hidden_states(size: BackboneConfig, grid: tuple[int, int], dtype: torch.dtype) -> float:
    """The fullest moment of two blocks, in tensors of (tokens, width)."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build_transformer(BackboneConfig(**{**vars(size), "num_layers": 2}))
        for name, parameter in model.named_parameters():
            if not any(part in name for part in MotionTransformer._keep_in_fp32_modules):
                parameter.data = parameter.data.to(dtype)
        motion = MotionTokens([(torch.empty(1, NUM_LATENT, 97, size.dim, dtype=dtype),) * 2] * 2)
        inputs = (
            torch.empty(1, size.in_channels, NUM_LATENT, *grid, dtype=dtype),
            torch.empty(1),
            torch.empty(1, 512, size.text_dim, dtype=dtype),
            torch.empty(1, 257, size.image_dim, dtype=dtype),
        )
        pairs = [t for pair in motion.keys_values for t in pair]
        peak = traced(lambda: model(*inputs, motion), [*model.parameters(), *model.buffers(), *inputs, *pairs])
    tokens = NUM_LATENT * grid[0] * grid[1] // 4
    return peak / (tokens * size.dim * dtype.itemsize)


def vae_bytes(grid: tuple[int, int]) -> tuple[float, float]:
    """Bytes a pixel of the VAE's decoder and encoder, in float32, without tiles."""
    from diffusers import AutoencoderKLWan

    with FakeTensorMode(allow_non_fake_inputs=True), mock.patch.object(decoding, "_to_frames", return_value=()):
        vae = AutoencoderKLWan().eval()
        latents = torch.empty(1, 16, 3, *grid)
        clip = torch.empty(1, 3, 9, 8 * grid[0], 8 * grid[1])
        known = [*vae.parameters(), *vae.buffers(), latents, clip]
        decoder = traced(lambda: list(decoding.decode(vae, latents)), known)
        encoder = traced(lambda: vae.encode(clip), known)
    pixels = 64 * grid[0] * grid[1]
    return decoder / pixels, encoder / pixels


def rows(clips: dict[str, tuple[int, int]], size: BackboneConfig) -> list[tuple[str, float, float]]:
    """(what, traced, the planner's constant)."""
    found = []
    for name, grid in clips.items():
        for kind, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
            found.append(
                (f"{name}, hidden states alive, {kind}", hidden_states(size, grid, dtype), HIDDEN_STATES[kind])
            )
        decoder, encoder = vae_bytes(grid)
        found.append((f"{name}, VAE decoder, bytes a pixel", decoder, float(DECODER_BYTES)))
        found.append((f"{name}, VAE encoder, bytes a pixel", encoder, float(ENCODER_BYTES)))
    decoder, _ = vae_bytes((TILE // 8, TILE // 8))
    return [*found, (f"a tile of {TILE}, VAE decoder, bytes a pixel", decoder, float(DECODER_BYTES))]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; status 3 where a constant is below what was traced."""
    Parser(
        prog="python -m benchmarks.fantasyportrait_memory", description=__doc__.split("\n", maxsplit=1)[0]
    ).parse_args(argv)
    table = rows(CLIPS, SIZES["14b"].backbone)
    print(f"{'':44}{'traced':>10}{'planned':>10}")
    for what, found, planned in table:
        print(f"{what:44}{found:10.1f}{planned:10.1f}{'   TOO LITTLE' if found > 1.01 * planned else ''}")
    return 3 if any(found > 1.01 * planned for _, found, planned in table) else 0


if __name__ == "__main__":
    sys.exit(main())
