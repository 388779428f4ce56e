"""Predictions before a run: parameters, memory per device, steps and cost."""

from dataclasses import dataclass

from fantasyportrait.model.configs import AdapterConfig, BackboneConfig
from fantasyportrait.runtime.memory import GIB, HIDDEN_STATES, RESERVE_GIB, Workload
from fantasyportrait.training.training_config import TrainingConfig

BACKWARD_FACTOR = 3  # a recomputed block keeps the inputs of its layers and their gradients
ASSUMED_UTILISATION = 0.4
REFERENCE_GPU, REFERENCE_FLOPS = "A100", 312e12


@dataclass(frozen=True, kw_only=True)
class RunPrediction:
    """Parameters, memory per device in GiB, and the work of a run."""

    num_trained: int
    num_frozen: int
    weights_gib: float
    optimizer_gib: float
    activations_gib: float
    num_tokens: int
    num_epochs: float | None
    gpu_hours: float

    @property
    def total_gib(self) -> float:
        """Return the memory per device."""
        return self.weights_gib + self.optimizer_gib + self.activations_gib + RESERVE_GIB


def count_adapter(config: AdapterConfig) -> int:
    """Return the number of parameters of the adapter, built without memory."""
    import torch

    from fantasyportrait.model.adapter import MotionAdapter

    with torch.device("meta"):
        return sum(p.numel() for p in MotionAdapter(config).parameters())


def count_lora(backbone: BackboneConfig, rank: int) -> int:
    """Return the number of parameters of a LoRA: self- and cross-attention and feed-forward of every block."""
    attention = 8 * 2 * backbone.dim * rank
    return backbone.num_layers * (attention + 2 * (backbone.dim + backbone.ffn_dim) * rank)


def predict(
    config: TrainingConfig,
    backbone: BackboneConfig,
    adapter: AdapterConfig,
    *,
    world_size: int,
    num_examples: int | None = None,
) -> RunPrediction:
    """Predict a run on `world_size` devices for the largest of its sizes, one person a clip.

    Weights: 2 bytes for each frozen parameter in bf16, 4 for each trained one. Optimizer: gradient and two moments in
    float32, and the average. Both are divided by the number of devices; two blocks are whole at a time.
    """
    width, height = max(config.sizes, key=lambda size: size[0] * size[1])
    num_latent_frames = (config.num_frames - 1) // 4 + 1
    clip_tokens = num_latent_frames * (width // 16) * (height // 16)
    load = Workload(
        backbone=backbone, adapter=adapter, num_tokens=clip_tokens * config.micro_batch // config.context_parallel,
        num_latent_frames=num_latent_frames, num_people=config.micro_batch, num_windows=1, num_pixels=0,
    )  # fmt: skip
    num_backbone = load.num_parameters
    lora = count_lora(backbone, config.lora_rank) if config.backbone == "lora" else 0
    full = num_backbone if config.backbone == "full" else 0
    num_trained, num_frozen = count_adapter(adapter) + lora + full, num_backbone - full
    size = 2 if config.precision == "bf16" else 4
    gathered = 2 * size * num_backbone / backbone.num_layers if world_size > 1 else 0
    num_tokens = config.steps * config.batch_size * clip_tokens
    flops = (6 if full else 4) * num_backbone + 2 * num_backbone * config.checkpointing
    return RunPrediction(
        num_trained=num_trained,
        num_frozen=num_frozen,
        weights_gib=((size * num_frozen + 4 * num_trained) / world_size + gathered) / GIB,
        optimizer_gib=(12 + 4 * bool(config.ema)) * num_trained / world_size / GIB,
        activations_gib=_activations_gib(config, load),
        num_tokens=num_tokens,
        num_epochs=config.steps * config.batch_size / num_examples if num_examples else None,
        gpu_hours=num_tokens * flops / (REFERENCE_FLOPS * ASSUMED_UTILISATION) / 3600,
    )


def _activations_gib(config: TrainingConfig, load: Workload) -> float:
    size = 2 if config.precision == "bf16" else 4
    hidden = load.num_tokens * load.backbone.dim * size / GIB
    kept = load.backbone.num_layers * (1 if config.checkpointing else HIDDEN_STATES[config.precision])
    keys_values = 2 * load.keys_values_gib(config.precision)  # with their gradients
    return (kept + BACKWARD_FACTOR * HIDDEN_STATES[config.precision]) * hidden + keys_values


def describe(config: TrainingConfig, found: RunPrediction, world_size: int) -> str:
    """Return the lines that `--dry-run` prints."""
    epochs = f", {found.num_epochs:.1f} epochs" if found.num_epochs else ""
    return "\n".join(
        (
            f"recipe        {config.recipe}",
            f"parameters    {found.num_trained / 1e6:,.1f} M trained, {found.num_frozen / 1e6:,.1f} M frozen",
            f"memory        about {found.total_gib:.1f} GiB per device on {world_size}: "
            f"weights {found.weights_gib:.1f}, optimizer {found.optimizer_gib:.1f}, "
            f"activations {found.activations_gib:.1f}, reserve {RESERVE_GIB}",
            f"steps         {config.steps} of {config.batch_size} clips{epochs}; {found.num_tokens:,} tokens",
            f"cost          about {found.gpu_hours:,.1f} {REFERENCE_GPU} hours if {ASSUMED_UTILISATION:.0%} of its "
            "peak is reached (attention not counted)",
        )
    )
