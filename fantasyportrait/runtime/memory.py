"""How to stay under a given amount of GPU memory: estimates, and the choice they lead to.

Encoders, backbone and VAE come and go; what counts is the fullest moment. The constants are peaks of allocations traced
at full size by `benchmarks/fantasyportrait_memory.py`, which traces them again and holds the estimates against them.
"""

from dataclasses import dataclass

from exprbench.core.errors import UserError
from fantasyportrait.model.configs import AdapterConfig, BackboneConfig

GIB = 1 << 30
BYTES = {"fp32": 4.0, "bf16": 2.0, "fp8": 1.02, "int8": 1.02}  # 8-bit weights carry a scale a row
RESERVE_GIB = 1.5  # the CUDA context, kernels' workspaces, what the allocator cannot use
HIDDEN_STATES = {"fp32": 8.5, "bf16": 10.2}  # tensors of (tokens, width) alive at a block's fullest moment
TILE = 256
DECODER_BYTES = 19_500  # a pixel decoded at once, in float32, memory of the frames before included
ENCODER_BYTES = 14_100


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What lies where. `tile` is the side of the VAE's tiles; `keys` where the motion's keys and values are kept:
    `device`, `host`, or `nowhere`, where there are too many for either and every step computes them again.
    """

    weights: str
    offload: str
    tile: int | None
    keys: str
    estimate_gib: float

    def __str__(self) -> str:
        tiles = f", VAE in tiles of {self.tile}" if self.tile else ""
        where = "on the GPU" if self.offload == "none" else f"in main memory, brought by {self.offload}"
        return f"{self.weights} weights {where}{tiles}: about {self.estimate_gib:.0f} GiB of GPU memory"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a clip asks for: tokens of a window on this device, latent frames and people, pixels of a frame."""

    backbone: BackboneConfig
    adapter: AdapterConfig
    num_tokens: int
    num_latent: int
    num_people: int
    num_windows: int
    num_pixels: int

    @property
    def num_parameters(self) -> int:
        """Of the backbone."""
        b, d = self.backbone, self.backbone.dim
        block = 10 * d * d + 2 * d * b.ffn_dim + 24 * d + b.ffn_dim
        embedders = d * (b.text_dim + b.freq_dim + b.image_dim + 8 * d) + b.image_dim * (b.image_dim + 3)
        ends = 4 * (d * b.in_channels + d * b.out_channels + b.out_channels)
        return b.num_layers * block + embedders + ends + 16 * d

    def weights_gib(self, weights: str) -> float:
        """Memory of the backbone's weights."""
        return self.num_parameters * BYTES[weights] / GIB

    def activations_gib(self, weights: str) -> float:
        """What a block needs beside its weights, in eager mode."""
        kind = "fp32" if weights == "fp32" else "bf16"
        return HIDDEN_STATES[kind] * self.num_tokens * self.backbone.dim * BYTES[kind] / GIB

    def keys_gib(self, weights: str) -> float:
        """The motion's keys and values, of all windows."""
        tokens = self.num_windows * self.num_latent * self.num_people * (4 * self.adapter.num_tokens + 1)
        return tokens * self.adapter.dim * 2 * self.adapter.num_layers * (4 if weights == "fp32" else 2) / GIB

    def vae_gib(self, tile: int | None) -> float:
        """The VAE at work; with tiles, what it remembers of the others lies in main memory."""
        pixels = min(self.num_pixels, tile * tile) if tile else self.num_pixels
        return pixels * max(DECODER_BYTES, ENCODER_BYTES) / GIB


def choose(
    workload: Workload, *, vram_gib: float, ram_gib: float, weights: str = "auto", offload: str = "auto"
) -> MemoryPlan:
    """The plan that gives exact results soonest: whole on the GPU, then by blocks, then in 8 bits.

    Args:
        load: what the clip asks for.
        vram_gib: GPU memory to stay under.
        ram_gib: main memory there is.
        weights: `auto`, or what the user insists on.
        offload: the same.

    Raises:
        UserError: nothing fits.
    """
    kinds = ["bf16", "int8"] if weights == "auto" else [weights]
    modes = ["none", "block", "leaf"] if offload == "auto" else [offload]
    plans = [
        _plan(workload, kind, mode, tile, keys)
        for kind in kinds
        for mode in modes
        for tile in (None, TILE)
        for keys in (["device"] if mode == "none" else []) + ["host", "nowhere"]
    ]
    for plan in plans:
        if plan.estimate_gib <= vram_gib and _host_gib(workload, plan) <= ram_gib:
            return plan
    least = min(plans, key=lambda p: p.estimate_gib)
    raise UserError(
        f"{vram_gib:.0f} GiB of GPU and {ram_gib:.0f} GiB of main memory are too little; the least found is {least}; "
        "make the video smaller (--max-side) or its windows shorter (--window)"
    )


def _host_gib(workload: Workload, plan: MemoryPlan) -> float:
    """Main memory a plan takes, with 4 GiB for everything else; keys are pinned, which may double them."""
    weights = 0 if plan.offload == "none" else 1.1 * workload.weights_gib(plan.weights)
    return weights + 2 * workload.keys_gib(plan.weights) * (plan.keys == "host") + 4 * (plan.offload != "none")


def _plan(workload: Workload, weights: str, offload: str, tile: int | None, keys: str) -> MemoryPlan:
    block = workload.weights_gib(weights) / workload.backbone.num_layers
    held = {"none": workload.weights_gib(weights), "block": 3 * block, "leaf": 0.5 * block}[offload]
    of_keys = workload.keys_gib(weights) * (1 if keys == "device" else 2 / workload.backbone.num_layers)
    denoising = held + workload.activations_gib(weights) + of_keys
    decoding = workload.vae_gib(tile) + (held if offload == "none" else 0)
    estimate = max(denoising, decoding) + RESERVE_GIB
    return MemoryPlan(weights=weights, offload=offload, tile=tile, keys=keys, estimate_gib=estimate)
