"""FantasyPortrait's denoising on this machine: seconds a step, utilisation, memory of every mode.

On a GPU the 14B model of random weights at 81 frames of 720x720 and 480x832; on a CPU the tiny one, to see that the
script runs. Ours stands beside `benchmarks.fantasyportrait_plain` in the same run.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.common import Row, Table, arguments, compare, report
from benchmarks.fantasyportrait_plain import guided_velocity
from fantasyportrait.backbone import DTYPES, QUANTISED, choose_attention, compile_blocks, memory_gib, quantiser
from fantasyportrait.checkpoints.loading import on_meta_device
from fantasyportrait.diffusion.denoise import Conditioning, denoise
from fantasyportrait.diffusion.flow_matching import branches, schedule
from fantasyportrait.diffusion.windows import lay_windows
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import SIZES, BackboneConfig, Size
from fantasyportrait.model.motion_tokens import MotionTokens, motion_tokens
from fantasyportrait.model.transformer import MotionTransformer, build_transformer
from fantasyportrait.runtime.memory import GIB, Workload, choose
from fantasyportrait.runtime.offloading import offload

GUIDANCE = branches(4.5, 1.0)
MODES = (("bf16", "none"), ("bf16", "block"), ("bf16", "leaf"), ("fp8", "none"), ("int8", "none"), ("int8", "block"))
LIMIT_GIB = 24.0


@dataclass(frozen=True)
class Clip:
    """What is denoised: latent frames, and latents down and across."""

    name: str
    grid: tuple[int, int, int]

    @property
    def num_tokens(self) -> int:
        """Of the backbone."""
        f, h, w = self.grid
        return f * (h // 2) * (w // 2)


CLIPS = {
    "cuda": (Clip("81 frames of 720x720", (21, 90, 90)), Clip("81 frames of 480x832", (21, 104, 60))),
    "cpu": (Clip("9 frames of 96x96 (smoke test)", (3, 12, 12)),),
}


def random_model(size: BackboneConfig, device: torch.device, weights: str, home: torch.device) -> MotionTransformer:
    """A backbone of random weights, made on `device` and left on `home`, a block at a time."""
    with on_meta_device():
        model = build_transformer(size)
    generator = torch.Generator(device).manual_seed(0)
    quantise = quantiser(weights, device, home)
    for part in [*model.blocks, model]:
        for module in part.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and parameter.is_meta:
                    module._parameters[name] = _random(parameter, generator, DTYPES[weights], home, name)
        if quantise and part is not model:
            quantise(part)
    model.rope.to(home)
    return model


def _random(like: Tensor, generator: torch.Generator, dtype: torch.dtype, home: torch.device, name: str) -> Tensor:
    values = torch.randn(like.shape, generator=generator, device=generator.device)
    matrix = like.dim() > 1 and name == "weight"
    values = values / like[0].numel() ** 0.5 if matrix else 0.1 * values + (name == "weight")
    return torch.nn.Parameter(values.to(dtype).to(home), requires_grad=False)


def random_adapter(size: Size, device: torch.device, dtype: torch.dtype) -> MotionAdapter:
    """An adapter of random weights whose projections are not zero."""
    with torch.device(device):
        adapter = MotionAdapter(size.adapter)
    for layer in adapter.layers:
        for linear in (layer.to_k, layer.to_v):
            torch.nn.init.normal_(linear.weight, std=size.adapter.token_dim**-0.5)
    return adapter.to(dtype).eval().requires_grad_(False)


@dataclass
class Setting:
    """Everything one step reads."""

    clip: Clip
    noise: Tensor
    told: Conditioning
    tokens: Tensor
    motion: MotionTokens


def make_setting(clip: Clip, size: Size, adapter: MotionAdapter, device: torch.device, dtype: torch.dtype) -> Setting:
    """Random inputs of a clip with one person."""
    g = torch.Generator(device).manual_seed(1)
    f, b = clip.grid[0], size.backbone

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, device=device, dtype=torch.float32)

    features = random(1, 4 * f - 3, 554)
    told = Conditioning(
        {"positive": random(1, 512, b.text_dim)}, random(1, 257, b.image_dim), random(1, 20, *clip.grid)
    )
    motion = motion_tokens(adapter, features, device=device, dtype=dtype)
    tokens = adapter.embed(features.to(adapter.norm.weight))
    return Setting(clip, random(1, 16, *clip.grid), told.to(device, dtype), tokens, motion)


def our_step(model: MotionTransformer, s: Setting) -> Tensor:
    """One step as the sampler takes it; what comes back is the velocity."""
    sigmas = schedule(30)[:2]
    windows = lay_windows(s.clip.grid[0], s.clip.grid[0], 1)
    out = denoise(model, s.noise, s.told, sigmas=sigmas, branches=GUIDANCE, windows=windows, motions=[s.motion])
    return (out - s.noise) / (sigmas[1] - sigmas[0]).to(out.device)


@torch.no_grad()
def plain_step(model: MotionTransformer, adapter: MotionAdapter, s: Setting) -> Tensor:
    """The same by the plain implementation."""
    latents = torch.cat([s.noise.to(s.told.portrait.dtype), s.told.portrait], 1)
    timestep = torch.tensor([1000.0], device=latents.device)
    return guided_velocity(model, adapter, s.tokens, None, latents, timestep, s.told.prompts, s.told.image, GUIDANCE)


def flops(clip: Clip, b: BackboneConfig) -> float:
    """Of a step's matrix products and attentions, counted two an operation; what the plain one does besides is not."""
    n, d, context = clip.num_tokens, b.dim, 512 + 257
    linear = n * (6 * d * d + 2 * d * b.ffn_dim) + context * 2 * d * d
    attention = 2 * n * n * d + 2 * n * context * d
    motion = 2 * n * 97 * d
    evaluations = len(GUIDANCE)
    return 2.0 * b.num_layers * (evaluations * (linear + attention) + motion)


def synchronised(function: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """A call that has ended when it returns."""

    def call() -> Tensor:
        out = function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return out

    return call


def product_rate(device: torch.device, repeats: int) -> float:
    """FLOP a second of a large bfloat16 (on a CPU a small float32) matrix product: the ceiling."""
    n, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (512, torch.float32)
    a = torch.randn(n, n, device=device, dtype=dtype)
    (row,) = compare({"product": synchronised(lambda: a @ a, device)}, max(10, repeats))
    return 2 * n**3 / row.fastest_s


def speed(clip: Clip, size: Size, device: torch.device, repeats: int) -> Table:
    """Ours beside the plain one."""
    weights = "bf16" if device.type == "cuda" else "fp32"
    dtype = DTYPES[weights]
    model = random_model(size.backbone, device, weights, device)
    adapter = random_adapter(size, device, dtype)
    setting = make_setting(clip, size, adapter, device, dtype)
    plain = plain_step(model, adapter, setting)
    kernel = choose_attention(model, "auto", device, clip.num_tokens)
    if device.type == "cuda":
        compile_blocks(model, insist=True)
    error = float((our_step(model, setting) - plain).norm() / plain.norm())
    ways = {"fantasyportrait": lambda: our_step(model, setting), "plain": lambda: plain_step(model, adapter, setting)}
    rows = compare({name: synchronised(way, device) for name, way in ways.items()}, repeats)
    ceiling = product_rate(device, repeats)
    for row in rows:
        share = flops(clip, size.backbone) / row.median_s / ceiling
        row.value, row.note = share, f"{share:.0%} of {ceiling / 1e12:.3g} TFLOP/s"
    rows[0].note += f"; attention {kernel}; output differs by {error:.1e} of its size"
    return Table(title=f"one step, {clip.name}", rows=rows)


def memory(clip: Clip, size: Size, device: torch.device, repeats: int) -> Table:
    """Seconds and GPU memory of every mode, beside the planner's estimate."""
    rows = [_mode(clip, size, device, weights, where, repeats) for weights, where in MODES]
    plan = choose(_load(clip, size), vram_gib=LIMIT_GIB, ram_gib=float("inf"))
    rows.append(_mode(clip, size, device, plan.weights, plan.offload, repeats, limit_gib=LIMIT_GIB))
    for row in rows:
        row.times_slower = row.median_s / rows[0].median_s
    return Table(title=f"memory modes, {clip.name}", rows=rows)


def _mode(
    clip: Clip, size: Size, device: torch.device, weights: str, where: str, repeats: int, limit_gib: float = 0.0
) -> Row:
    """One mode's row; with a limit, PyTorch is held to it as `--vram` does, and would fail above it."""
    resident = where == "none"
    home = device if resident else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    memory_gib(device, limit_gib)
    dtype = DTYPES[weights]
    adapter = random_adapter(size, torch.device("cpu"), torch.float32)
    setting = make_setting(clip, size, adapter.to(device), device, dtype) if resident else None
    adapter.to("cpu")
    model = random_model(size.backbone, device, weights, home)
    if not resident:
        offload(model, device, where, quantised=weights in QUANTISED)
        setting = _offloaded(make_setting(clip, size, adapter, torch.device("cpu"), torch.float32), device, dtype)
    elif device.type == "cuda":
        compile_blocks(model, insist=True)
    our_step(model, setting)
    name = f"{weights}, offload {where}" + (f", --vram {limit_gib:g}" if limit_gib else "")
    (row,) = compare({name: synchronised(lambda: our_step(model, setting), device)}, repeats)
    row.value = None
    row.note = f"estimated {_estimate(clip, size, weights, where) * GIB / 1e6:.0f} MB"
    if device.type == "cuda":
        row.peak_mb = torch.cuda.max_memory_allocated(device) / 1e6
        row.note += f", {torch.cuda.max_memory_reserved(device) / 1e6:.0f} MB with what the allocator kept"
    return row


def _offloaded(s: Setting, device: torch.device, dtype: torch.dtype) -> Setting:
    """Inputs on the GPU, keys and values in main memory: as the sampler keeps them."""
    pin = device.type == "cuda"
    pairs = [tuple(t.to(dtype).pin_memory() if pin else t.to(dtype) for t in pair) for pair in s.motion.keys_values]
    return Setting(s.clip, s.noise.to(device), s.told.to(device, dtype), s.tokens, MotionTokens(pairs))


def _estimate(clip: Clip, size: Size, weights: str, where: str) -> float:
    plan = choose(_load(clip, size), vram_gib=float("inf"), ram_gib=float("inf"), weights=weights, offload=where)
    return plan.estimate_gib


def _load(clip: Clip, size: Size) -> Workload:
    return Workload(
        backbone=size.backbone,
        adapter=size.adapter,
        num_tokens=clip.num_tokens,
        num_latent=clip.grid[0],
        num_people=1,
        num_windows=1,
        num_pixels=64 * clip.grid[1] * clip.grid[2],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write."""
    args = arguments("fantasyportrait", __doc__.split("\n", maxsplit=1)[0], argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = SIZES["14b" if device.type == "cuda" else "tiny"]
    tables = []
    for clip in CLIPS[device.type]:
        tables += [speed(clip, size, device, args.repeats), memory(clip, size, device, args.repeats)]
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU: a smoke test, not a measurement"
    print(f"{name}\n")
    report("fantasyportrait", tables, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
