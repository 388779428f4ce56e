"""FantasyPortrait's denoising: seconds per step, utilisation, and memory of every mode.

On a GPU it measures the 14B model with random weights at 81 frames of 720x720 and 480x832; on a CPU it runs the tiny
model as a smoke test. The baseline is `benchmarks.fantasyportrait_plain`, measured in the same run.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.common import Row, Table, arguments, compare, report
from benchmarks.fantasyportrait_plain import guided_velocity
from fantasyportrait.backbone import (
    DTYPES,
    choose_attention,
    compile_blocks,
    make_quantiser,
    set_memory_limit,
)
from fantasyportrait.checkpoints.loading import on_meta_device
from fantasyportrait.diffusion.denoise import Conditioning, denoise
from fantasyportrait.diffusion.flow_matching import compute_sigmas, guidance_branches
from fantasyportrait.diffusion.windows import split_windows
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import MODEL_CONFIGS, BackboneConfig, ModelConfig
from fantasyportrait.model.motion_tokens import MotionTokens, compute_motion_tokens
from fantasyportrait.model.transformer import MotionTransformer, build_transformer
from fantasyportrait.runtime.memory import GIB, Workload, choose_plan
from fantasyportrait.runtime.offloading import offload

GUIDANCE = guidance_branches(4.5, 1.0)
MODES = (("bf16", "none"), ("bf16", "block"), ("bf16", "leaf"), ("fp8", "none"), ("int8", "none"), ("int8", "block"))
LIMIT_GIB = 24.0


@dataclass(frozen=True)
class Clip:
    """Clip to denoise: its grid of latent frames, rows and columns."""

    name: str
    grid: tuple[int, int, int]

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens of the backbone."""
        f, h, w = self.grid
        return f * (h // 2) * (w // 2)


CLIPS = {
    "cuda": (Clip("81 frames of 720x720", (21, 90, 90)), Clip("81 frames of 480x832", (21, 104, 60))),
    "cpu": (Clip("9 frames of 96x96 (smoke test)", (3, 12, 12)),),
}


def random_model(
    config: BackboneConfig, device: torch.device, weights: str, storage_device: torch.device
) -> MotionTransformer:
    """Build a backbone of random weights block by block on `device`, and keep it on `storage_device`."""
    with on_meta_device():
        model = build_transformer(config)
    generator = torch.Generator(device).manual_seed(0)
    quantise = make_quantiser(weights, device, storage_device)
    for part in [*model.blocks, model]:
        for module in part.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and parameter.is_meta:
                    module._parameters[name] = _random(parameter, generator, DTYPES[weights], storage_device, name)
        if quantise and part is not model:
            quantise(part)
    model.rope.to(storage_device)
    return model


def _random(
    like: Tensor, generator: torch.Generator, dtype: torch.dtype, storage_device: torch.device, name: str
) -> Tensor:
    values = torch.randn(like.shape, generator=generator, device=generator.device)
    is_matrix = like.dim() > 1 and name == "weight"
    values = values / like[0].numel() ** 0.5 if is_matrix else 0.1 * values + (name == "weight")
    return torch.nn.Parameter(values.to(dtype).to(storage_device), requires_grad=False)


def random_adapter(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> MotionAdapter:
    """Build an adapter of random weights whose projections are not zero."""
    with torch.device(device):
        adapter = MotionAdapter(config.adapter)
    for layer in adapter.layers:
        for linear in (layer.to_k, layer.to_v):
            torch.nn.init.normal_(linear.weight, std=config.adapter.token_dim**-0.5)
    return adapter.to(dtype).eval().requires_grad_(False)


@dataclass
class StepInputs:
    """Inputs of one denoising step."""

    clip: Clip
    noise: Tensor
    conditioning: Conditioning
    tokens: Tensor
    motion: MotionTokens


@torch.no_grad()
def random_inputs(
    clip: Clip, config: ModelConfig, adapter: MotionAdapter, device: torch.device, dtype: torch.dtype
) -> StepInputs:
    """Draw random inputs of a clip with one person."""
    g = torch.Generator(device).manual_seed(1)
    f, b = clip.grid[0], config.backbone

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, device=device, dtype=torch.float32)

    features = random(1, 4 * f - 3, 554)
    conditioning = Conditioning(
        {"positive": random(1, 512, b.text_dim)}, random(1, 257, b.image_dim), random(1, 20, *clip.grid)
    )
    motion = compute_motion_tokens(adapter, features, device=device, dtype=dtype)
    tokens = adapter.embed(features.to(adapter.norm.weight))
    return StepInputs(clip, random(1, 16, *clip.grid), conditioning.to(device, dtype), tokens, motion)


def our_step(model: MotionTransformer, s: StepInputs) -> Tensor:
    """Take one step as the sampler does and return the guided velocity."""
    sigmas = compute_sigmas(30)[:2]
    windows = split_windows(s.clip.grid[0], s.clip.grid[0], 1)
    out = denoise(model, s.noise, s.conditioning, sigmas=sigmas, branches=GUIDANCE, windows=windows, motions=[s.motion])
    return (out - s.noise) / (sigmas[1] - sigmas[0]).to(out.device)


@torch.no_grad()
def plain_step(model: MotionTransformer, adapter: MotionAdapter, s: StepInputs) -> Tensor:
    """Return the guided velocity of the plain implementation."""
    c = s.conditioning
    latents = torch.cat([s.noise.to(c.portrait.dtype), c.portrait], 1)
    timestep = torch.tensor([1000.0], device=latents.device)
    return guided_velocity(model, adapter, s.tokens, None, latents, timestep, c.prompts, c.image, GUIDANCE)


def flops(clip: Clip, b: BackboneConfig) -> float:
    """Return the FLOPs of a step's matrix products and attentions, without the redundant ones of the plain version."""
    n, d, context = clip.num_tokens, b.dim, 512 + 257
    linear = n * (6 * d * d + 2 * d * b.ffn_dim) + context * 2 * d * d
    attention = 2 * n * n * d + 2 * n * context * d
    motion = 2 * n * 97 * d
    evaluations = len(GUIDANCE)
    return 2.0 * b.num_layers * (evaluations * (linear + attention) + motion)


def synchronised(function: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """Return a function that waits for the device before it returns."""

    def call() -> Tensor:
        out = function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return out

    return call


def product_rate(device: torch.device, repeats: int) -> float:
    """Measure the FLOP/s of a large bfloat16 matrix product (on a CPU, a small one in float32): the ceiling."""
    n, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (512, torch.float32)
    a = torch.randn(n, n, device=device, dtype=dtype)
    (row,) = compare({"product": synchronised(lambda: a @ a, device)}, max(10, repeats))
    return 2 * n**3 / row.fastest_s


def speed(clip: Clip, config: ModelConfig, device: torch.device, repeats: int) -> Table:
    """Measure one step of the sampler and of the plain implementation."""
    weights = "bf16" if device.type == "cuda" else "fp32"
    dtype = DTYPES[weights]
    model = random_model(config.backbone, device, weights, device)
    adapter = random_adapter(config, device, dtype)
    inputs = random_inputs(clip, config, adapter, device, dtype)
    plain = plain_step(model, adapter, inputs)
    kernel = choose_attention(model, "auto", device, clip.num_tokens)
    if device.type == "cuda":
        compile_blocks(model, required=True)
    error = float((our_step(model, inputs) - plain).norm() / plain.norm())
    functions = {
        "fantasyportrait": lambda: our_step(model, inputs),
        "plain": lambda: plain_step(model, adapter, inputs),
    }
    rows = compare({name: synchronised(function, device) for name, function in functions.items()}, repeats)
    ceiling = product_rate(device, repeats)
    for row in rows:
        utilisation = flops(clip, config.backbone) / row.median_s / ceiling
        row.value, row.note = utilisation, f"{utilisation:.0%} of {ceiling / 1e12:.3g} TFLOP/s"
    rows[0].note += f"; attention {kernel}; output differs by {error:.1e} of its size"
    return Table(title=f"one step, {clip.name}", rows=rows)


def memory(clip: Clip, config: ModelConfig, device: torch.device, repeats: int) -> Table:
    """Measure seconds and GPU memory of every mode, with the estimate of the memory planner."""
    rows = [_measure_mode(clip, config, device, weights, mode, repeats) for weights, mode in MODES]
    plan = choose_plan(_build_workload(clip, config), vram_gib=LIMIT_GIB, ram_gib=float("inf"))
    rows.append(_measure_mode(clip, config, device, plan.weights, plan.offload, repeats, limit_gib=LIMIT_GIB))
    for row in rows:
        row.times_slower = row.median_s / rows[0].median_s
    return Table(title=f"memory modes, {clip.name}", rows=rows)


def _measure_mode(
    clip: Clip,
    config: ModelConfig,
    device: torch.device,
    weights: str,
    mode: str,
    repeats: int,
    limit_gib: float = 0.0,
) -> Row:
    """Measure one mode; with a limit, PyTorch fails above it, as with `--vram`."""
    is_resident = mode == "none"
    storage_device = device if is_resident else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    set_memory_limit(device, limit_gib)
    dtype = DTYPES[weights]
    adapter = random_adapter(config, torch.device("cpu"), torch.float32)
    inputs = random_inputs(clip, config, adapter.to(device), device, dtype) if is_resident else None
    adapter.to("cpu")
    model = random_model(config.backbone, device, weights, storage_device)
    if not is_resident:
        offload(model, device, mode)
        inputs = _offload_inputs(
            random_inputs(clip, config, adapter, torch.device("cpu"), torch.float32), device, dtype
        )
    elif device.type == "cuda":
        compile_blocks(model, required=True)
    our_step(model, inputs)
    name = f"{weights}, offload {mode}" + (f", --vram {limit_gib:g}" if limit_gib else "")
    (row,) = compare({name: synchronised(lambda: our_step(model, inputs), device)}, repeats)
    row.value = None
    row.note = f"estimated {_estimate(clip, config, weights, mode) * GIB / 1e6:.0f} MB"
    if device.type == "cuda":
        row.peak_mb = torch.cuda.max_memory_allocated(device) / 1e6
        row.note += f", {torch.cuda.max_memory_reserved(device) / 1e6:.0f} MB with what the allocator kept"
    return row


def _offload_inputs(s: StepInputs, device: torch.device, dtype: torch.dtype) -> StepInputs:
    """Move inputs to the GPU and keys and values to CPU memory, as the sampler does."""
    pin = device.type == "cuda"
    pairs = [tuple(t.to(dtype).pin_memory() if pin else t.to(dtype) for t in pair) for pair in s.motion.keys_values]
    return StepInputs(s.clip, s.noise.to(device), s.conditioning.to(device, dtype), s.tokens, MotionTokens(pairs))


def _estimate(clip: Clip, config: ModelConfig, weights: str, mode: str) -> float:
    plan = choose_plan(
        _build_workload(clip, config), vram_gib=float("inf"), ram_gib=float("inf"), weights=weights, offload=mode
    )
    return plan.estimate_gib


def _build_workload(clip: Clip, config: ModelConfig) -> Workload:
    return Workload(
        backbone=config.backbone,
        adapter=config.adapter,
        num_tokens=clip.num_tokens,
        num_latent_frames=clip.grid[0],
        num_people=1,
        num_windows=1,
        num_pixels=64 * clip.grid[1] * clip.grid[2],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the tables."""
    args = arguments("fantasyportrait", __doc__.split("\n", maxsplit=1)[0], argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = MODEL_CONFIGS["14b" if device.type == "cuda" else "tiny"]
    tables = []
    for clip in CLIPS[device.type]:
        tables += [speed(clip, config, device, args.repeats), memory(clip, config, device, args.repeats)]
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU: a smoke test, not a measurement"
    print(f"{name}\n")
    report("fantasyportrait", tables, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
