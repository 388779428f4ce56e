"""Memory planner: estimates of GPU and CPU memory, and the choice of a plan that fits.

Encoders, backbone and VAE use memory one after the other, so a plan is judged by its largest peak. The constants are
peaks of allocations traced at full size by `benchmarks/fantasyportrait_memory.py`, which also checks them.
"""

from dataclasses import dataclass

from exprbench.core.errors import UserError
from fantasyportrait.model.configs import AdapterConfig, BackboneConfig

GIB = 1 << 30
BYTES_PER_WEIGHT = {"fp32": 4.0, "bf16": 2.0, "fp8": 1.02, "int8": 1.02}  # 8-bit weights have one scale per row
RESERVE_GIB = 1.5  # the CUDA context, workspaces of kernels, fragmentation of the allocator
HIDDEN_STATES = {"fp32": 8.5, "bf16": 10.2}  # peak number of (tokens, width) tensors alive in a block
TILE = 256
DECODER_BYTES = 19_500  # per pixel decoded at once, in float32, with the cache of earlier frames
ENCODER_BYTES = 14_100


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Placement of weights and activations.

    `tile` is the side of the VAE's tiles in pixels, or None. `keys` is where the motion's keys and values are kept:
    `device`, `host`, or `recompute` if neither has room for them and every step computes them again.
    """

    weights: str
    offload: str
    tile: int | None
    keys: str
    estimate_gib: float

    def __str__(self) -> str:
        tiles = f", VAE in tiles of {self.tile}" if self.tile else ""
        unit = {"block": "block", "leaf": "layer"}.get(self.offload)
        placement = f"in CPU memory, offloaded by {unit}" if unit else "on the GPU"
        return f"{self.weights} weights {placement}{tiles}: about {self.estimate_gib:.0f} GiB of GPU memory"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Size of a clip's computation.

    `num_tokens` and `num_latent_frames` count one window, of the tokens those on this device; `num_pixels` counts one
    frame. `num_residuals` counts the residuals of the step cache, which are kept in CPU memory.
    """

    backbone: BackboneConfig
    adapter: AdapterConfig
    num_tokens: int
    num_latent_frames: int
    num_people: int
    num_windows: int
    num_pixels: int
    num_residuals: int = 0

    @property
    def num_parameters(self) -> int:
        """Return the number of parameters of the backbone."""
        return self._num_block_parameters + self._num_time_parameters + self._num_other_parameters

    @property
    def _num_block_parameters(self) -> int:
        d = self.backbone.dim
        return self.backbone.num_layers * (10 * d * d + 2 * d * self.backbone.ffn_dim + 24 * d + self.backbone.ffn_dim)

    @property
    def _num_time_parameters(self) -> int:
        """Return the number of parameters of the timestep's embedding and projection, which stay in float32."""
        d = self.backbone.dim
        return d * (self.backbone.freq_dim + 7 * d + 8)

    @property
    def _num_other_parameters(self) -> int:
        b, d = self.backbone, self.backbone.dim
        embedders = d * (b.text_dim + b.image_dim + d) + b.image_dim * (b.image_dim + 3)
        ends = 4 * (d * b.in_channels + d * b.out_channels + b.out_channels)
        return embedders + ends + 8 * d

    def weights_gib(self, weights: str) -> float:
        """Return the memory of the backbone's weights."""
        return self._num_block_parameters * BYTES_PER_WEIGHT[weights] / GIB + self.embedders_gib(weights)

    def embedders_gib(self, weights: str) -> float:
        """Return the memory of the weights outside of the blocks; only those of blocks are in 8 bits."""
        size = 4 if weights == "fp32" else 2
        return (4 * self._num_time_parameters + size * self._num_other_parameters) / GIB

    def activations_gib(self, weights: str) -> float:
        """Return the peak memory of a block's activations in eager mode."""
        dtype = "fp32" if weights == "fp32" else "bf16"
        num_states = HIDDEN_STATES[dtype] + 2 * (self.num_residuals > 0)  # the input of the blocks, and their residual
        return num_states * self.num_tokens * self.backbone.dim * BYTES_PER_WEIGHT[dtype] / GIB

    def residuals_gib(self, weights: str) -> float:
        """Return the memory of the step cache."""
        return self.num_residuals * self.num_tokens * self.backbone.dim * (4 if weights == "fp32" else 2) / GIB

    def keys_values_gib(self, weights: str) -> float:
        """Return the memory of the motion's keys and values of all windows."""
        num_motion_tokens = 4 * self.adapter.num_tokens + 1  # per person and latent frame
        num_tokens = self.num_windows * self.num_latent_frames * self.num_people * num_motion_tokens
        return num_tokens * self.adapter.dim * 2 * self.adapter.num_layers * (4 if weights == "fp32" else 2) / GIB

    def vae_gib(self, tile: int | None) -> float:
        """Return the peak memory of the VAE; with tiles, the caches of all tiles but one are in CPU memory."""
        num_pixels = min(self.num_pixels, tile * tile) if tile else self.num_pixels
        return num_pixels * max(DECODER_BYTES, ENCODER_BYTES) / GIB


def choose_plan(
    workload: Workload, *, vram_gib: float, ram_gib: float, weights: str = "auto", offload: str = "auto"
) -> MemoryPlan:
    """Choose the fastest plan that fits: all on the GPU, else offloaded, else in 8 bits.

    Args:
        workload: the largest clip.
        vram_gib: limit of GPU memory.
        ram_gib: available CPU memory.
        weights: `auto` or the only data type to consider.
        offload: `auto` or the only mode to consider.

    Raises:
        UserError: no plan fits.
    """
    dtypes = ["bf16", "int8"] if weights == "auto" else [weights]
    modes = ["none", "block", "leaf"] if offload == "auto" else [offload]
    plans = [
        _build_plan(workload, dtype, mode, tile, keys)
        for dtype in dtypes
        for mode in modes
        for tile in (None, TILE)
        for keys in (["device"] if mode == "none" else []) + ["host", "recompute"]
    ]
    for plan in plans:
        if plan.estimate_gib <= vram_gib and _host_gib(workload, plan) <= ram_gib:
            return plan
    smallest = min(plans, key=lambda plan: plan.estimate_gib)
    raise UserError(
        f"{vram_gib:.0f} GiB of GPU memory and {ram_gib:.0f} GiB of CPU memory are too little; the smallest plan is "
        f"{smallest}; make the video smaller (--max-side) or its windows shorter (--window)"
    )


def _host_gib(workload: Workload, plan: MemoryPlan) -> float:
    """Return a plan's CPU memory, with 4 GiB for other uses; pinning can double keys and residuals."""
    weights = 0 if plan.offload == "none" else 1.1 * workload.weights_gib(plan.weights)
    keys = 2 * workload.keys_values_gib(plan.weights) * (plan.keys == "host")
    residuals = 2 * workload.residuals_gib(plan.weights)
    return weights + keys + residuals + 4 * (plan.offload != "none")


def _build_plan(workload: Workload, weights: str, offload: str, tile: int | None, keys: str) -> MemoryPlan:
    weights_gib, embedders_gib = workload.weights_gib(weights), workload.embedders_gib(weights)
    block_gib = (weights_gib - embedders_gib) / workload.backbone.num_layers
    resident_gib = {"none": weights_gib, "block": 3 * block_gib + embedders_gib, "leaf": 0.5 * block_gib}[offload]
    keys_gib = workload.keys_values_gib(weights) * (1 if keys == "device" else 2 / workload.backbone.num_layers)
    denoising_gib = resident_gib + workload.activations_gib(weights) + keys_gib
    decoding_gib = workload.vae_gib(tile) + (resident_gib if offload == "none" else 0)
    estimate_gib = max(denoising_gib, decoding_gib) + RESERVE_GIB
    return MemoryPlan(weights=weights, offload=offload, tile=tile, keys=keys, estimate_gib=estimate_gib)
