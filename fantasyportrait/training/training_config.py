"""Typed settings of a training run."""

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, get_type_hints

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.schema import check_settings, setting
from fantasyportrait.model.configs import AUGMENTED, PATCH
from fantasyportrait.training.objective_config import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Settings of AdamW and its schedule: a linear warm-up, a constant rate, and perhaps a linear decay to zero."""

    learning_rate: float = setting(1e-4, "learning rate of the adapter and of LoRA", above=0)
    backbone_learning_rate: float = setting(1e-5, "learning rate of a backbone that is trained in full", above=0)
    weight_decay: float = setting(0.01, "decoupled weight decay", minimum=0)
    beta1: float = setting(0.9, "decay of the first moment", minimum=0)
    beta2: float = setting(0.999, "decay of the second moment", minimum=0)
    warmup_steps: int = setting(500, "number of steps of linear warm-up", minimum=0)
    decay: float = setting(0.0, "share of the steps, at the end, in which the rates fall to zero", minimum=0)
    clip_norm: float = setting(1.0, "largest norm of the gradient", above=0)
    eight_bit: bool = setting(False, "optimizer states in 8 bits (torchao)")

    def __post_init__(self) -> None:
        check_settings(self, lambda name: f"optimizer.{name}")
        if self.decay > 1:
            raise UserError(f"optimizer.decay is {self.decay:g}; expected 0 to 1")


@dataclass(frozen=True, kw_only=True)
class SourceWeight:
    """Share of a data source; a weight of 0 means in proportion to its number of clips."""

    name: str
    weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of a training run; the recipes are functions that return one."""

    recipe: str = setting("custom", "name of the recipe")
    size: str = setting("14b", "size of the model, for predictions before it is loaded")
    backbone: str = setting("frozen", "training of the backbone", choices=("frozen", "lora", "full"))
    lora_rank: int = setting(64, "rank of LoRA", minimum=1)
    lora_alpha: float = setting(64.0, "scale of LoRA times its rank", above=0)
    augment: str = setting("selective", "features with learnable tokens (EAL)", choices=tuple(AUGMENTED))
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    sources: tuple[SourceWeight, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ((720, 720),)
    num_frames: int = setting(81, "number of video frames of a clip, 4 k + 1", minimum=1)
    fps: float = setting(25.0, "frames per second", above=0)

    steps: int = setting(20_000, "number of optimizer steps", minimum=1)
    batch_size: int = setting(24, "number of clips per optimizer step, over all devices", minimum=1)
    micro_batch: int = setting(1, "number of clips per device and forward pass", minimum=1)
    seed: int = setting(0, "seed of all random draws")
    precision: str = setting("bf16", "data type of the computation", choices=("bf16", "fp32"))
    checkpointing: bool = setting(True, "recomputation of each block in the backward pass")
    compile: bool = setting(False, "compilation of each block with torch.compile")
    context_parallel: int = setting(1, "number of devices that share the tokens of a clip", minimum=1)
    ema: float = setting(0.9999, "decay of the averaged weights; 0 for none", minimum=0)

    log_every: int = setting(10, "steps between progress lines", minimum=1)
    save_every: int = setting(500, "steps between checkpoints", minimum=1)
    keep: int = setting(3, "number of checkpoints that are kept", minimum=1)
    validate_every: int = setting(1000, "steps between validations", minimum=1)

    def __post_init__(self) -> None:
        check_settings(self, str)
        if self.num_frames % 4 != 1:
            raise UserError(f"num_frames is {self.num_frames}; expected 4 k + 1, such as 81")
        for size in self.sizes:
            if any(side % PATCH or side < PATCH for side in size):
                raise UserError(f"a size is {size[0]}x{size[1]}; expected multiples of {PATCH}")

    def as_dict(self) -> dict[str, Any]:
        """Return all settings as JSON values."""
        return asdict(self)

    def accumulation(self, world_size: int) -> int:
        """Return the number of forward passes per step on each device.

        Raises:
            UserError: the devices do not divide the batch.
        """
        if world_size % self.context_parallel:
            raise UserError(f"{world_size} processes; expected a multiple of context_parallel {self.context_parallel}")
        at_once = self.micro_batch * world_size // self.context_parallel
        if self.batch_size % at_once:
            raise UserError(
                f"batch_size is {self.batch_size}; expected a multiple of the {at_once} clips that all devices take at "
                "once (micro_batch x processes / context_parallel)"
            )
        return self.batch_size // at_once


def override(config: Any, assignments: dict[str, str]) -> Any:
    """Return settings with some replaced, from texts such as `{"optimizer.learning_rate": "2e-4"}`.

    Raises:
        UserError: a name is unknown, or a text is not a value of its type.
    """
    for name, text in assignments.items():
        head, _, rest = name.partition(".")
        known = [f.name for f in fields(config)]
        if head not in known:
            raise unknown_name("setting", name, known)
        current = getattr(config, head)
        if is_dataclass(current) == (not rest):
            raise UserError(f"{name} is not a single setting; use a name such as steps or optimizer.learning_rate")
        value = override(current, {rest: text}) if rest else _parse(get_type_hints(type(config))[head], text, name)
        config = replace(config, **{head: value})
    return config


def _parse(kind: Any, text: str, name: str) -> Any:
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is str:
        return text
    if kind == tuple[tuple[int, int], ...]:
        return _parse_sizes(text)
    try:
        if kind in (int, float):
            return kind(text)
    except ValueError:
        pass
    expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a setting of one value")
    raise UserError(f"{name} is {text!r}; expected {expected}")


def _parse_sizes(text: str) -> tuple[tuple[int, int], ...]:
    try:
        return tuple((int(w), int(h)) for w, h in (size.split("x") for size in text.split(",")))
    except ValueError as error:
        raise UserError(f"sizes is {text!r}; expected WIDTHxHEIGHT, separated by commas") from error
