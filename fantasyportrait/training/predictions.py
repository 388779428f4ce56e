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
    num_devices: int
    traffic_gib: float
    tokens_per_s: float
    is_measured: bool

    @property
    def total_gib(self) -> float:
        """Return the memory per device."""
        return self.weights_gib + self.optimizer_gib + self.activations_gib + RESERVE_GIB

    @property
    def device_hours(self) -> float:
        """Return the time of all devices together."""
        return self.num_tokens / self.tokens_per_s / 3600


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


def flops_per_token(
    backbone: BackboneConfig, clip_tokens: int, *, trains_backbone: bool, recomputes: bool = False
) -> float:
    """Return the operations of a training step per token: products with weights, and self-attention.

    A weight takes 2 operations in the forward pass, 2 for the gradient of its input, and 2 for its own if it is
    trained. Attention takes 4 per channel, layer and token of the clip, and twice that in the backward pass.
    Utilisation is usually stated without the recomputation of the forward pass.

    Args:
        backbone: its size.
        clip_tokens: number of tokens of a clip.
        trains_backbone: whether the backbone's weights are trained in full.
        recomputes: whether to count the second forward pass of checkpointing.
    """
    weights = 2 * count_backbone(backbone)
    attention = 4 * clip_tokens * backbone.dim * backbone.num_layers
    return weights * (2 + trains_backbone + recomputes) + attention * (3 + recomputes)


def count_backbone(backbone: BackboneConfig) -> int:
    """Return the number of parameters of the backbone."""
    return Workload(
        backbone=backbone, adapter=AdapterConfig(), num_tokens=0, num_latent_frames=0, num_people=0, num_windows=0,
        num_pixels=0,
    ).num_parameters  # fmt: skip


def predict(
    config: TrainingConfig,
    backbone: BackboneConfig,
    adapter: AdapterConfig,
    *,
    world_size: int,
    num_examples: int | None = None,
    tokens_per_s: float | None = None,
) -> RunPrediction:
    """Predict a run on `world_size` devices for the largest of its sizes, one person a clip.

    Args:
        config: settings of the run.
        backbone, adapter: sizes of the model.
        world_size: number of devices.
        num_examples: number of clips, for the number of epochs.
        tokens_per_s: measured rate of one device; by default, that of an A100 at an assumed utilisation.

    Weights: 2 bytes for each frozen parameter in bf16, 4 for each trained one. Optimizer: gradient and two moments in
    float32, and the average. Both are divided by the number of devices; two blocks are whole at a time. Traffic: a
    device receives the other devices' shards in the forward and in the backward pass, and sends its gradients.
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
    moments = 2 if config.optimizer.eight_bit else 8  # bytes of both
    passes = 2 * config.accumulation(world_size)
    traffic = passes * size * (num_backbone + num_trained - full) + 4 * num_trained
    flops = flops_per_token(backbone, clip_tokens, trains_backbone=bool(full), recomputes=config.checkpointing)
    return RunPrediction(
        num_trained=num_trained,
        num_frozen=num_frozen,
        weights_gib=((size * num_frozen + 4 * num_trained) / world_size + gathered) / GIB,
        optimizer_gib=(4 + moments + 4 * bool(config.ema)) * num_trained / world_size / GIB,
        activations_gib=_activations_gib(config, load),
        num_tokens=config.steps * config.batch_size * clip_tokens,
        num_epochs=config.steps * config.batch_size / num_examples if num_examples else None,
        num_devices=world_size,
        traffic_gib=traffic * (world_size - 1) / world_size / GIB,
        tokens_per_s=tokens_per_s or REFERENCE_FLOPS * ASSUMED_UTILISATION / flops,
        is_measured=tokens_per_s is not None,
    )


def _activations_gib(config: TrainingConfig, load: Workload) -> float:
    size = 2 if config.precision == "bf16" else 4
    hidden = load.num_tokens * load.backbone.dim * size / GIB
    kept = load.backbone.num_layers * (1 if config.checkpointing else HIDDEN_STATES[config.precision])
    keys_values = 2 * load.keys_values_gib(config.precision)  # with their gradients
    return (kept + BACKWARD_FACTOR * HIDDEN_STATES[config.precision]) * hidden + keys_values


def describe(config: TrainingConfig, found: RunPrediction) -> str:
    """Return the lines that `--dry-run` prints."""
    epochs = f", {found.num_epochs:.1f} epochs" if found.num_epochs else ""
    hours, num = found.device_hours, found.num_devices
    assumed = f"{ASSUMED_UTILISATION:.0%} of the peak of an {REFERENCE_GPU}"
    step_s = found.num_tokens / config.steps / found.tokens_per_s / num
    return "\n".join(
        (
            f"recipe        {config.recipe}",
            f"parameters    {found.num_trained / 1e6:,.1f} M trained, {found.num_frozen / 1e6:,.1f} M frozen",
            f"memory        about {found.total_gib:.1f} GiB per device on {num}: weights {found.weights_gib:.1f}, "
            f"optimizer {found.optimizer_gib:.1f}, activations {found.activations_gib:.1f}, reserve {RESERVE_GIB}",
            f"steps         {config.steps} of {config.batch_size} clips{epochs}; {found.num_tokens:,} tokens",
            f"rate          {found.tokens_per_s:,.0f} tokens/s per device "
            f"({'measured' if found.is_measured else 'assumed: ' + assumed})",
            f"time          {step_s:.1f} s per step, {hours / num:,.1f} h in all, {hours:,.1f} device hours",
            f"traffic       {found.traffic_gib:.1f} GiB per device and step, {found.traffic_gib / step_s:.1f} GiB/s to "
            "hide it behind the computation",
        )
    )
