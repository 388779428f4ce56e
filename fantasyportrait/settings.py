"""What can be asked of the sampler: one dataclass, from which the command line takes its flags."""

import argparse
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_type_hints

from exprbench.core.errors import UserError, unknown_name
from fantasyportrait.model.configs import FEATURES

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"expression_guidance": 4.0, "mask": "released", "window": 201},
}

METAVARS = {int: "N", float: "X", str: "TEXT"}


def _option(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to sample; the defaults are the paper's (section 4.3)."""

    steps: int = _option(30, "denoising steps (4 with a distilled --lora)")
    seed: int = _option(0, "draws the noise; the same on every device")
    shift: float = _option(5.0, "of the schedule towards noise")
    expression_guidance: float = _option(4.5, "how strongly to follow the driver; 1 takes one evaluation a step less")
    text_guidance: float = _option(1.0, "how strongly to follow the prompt; 1: no negative prompt")
    prompt: str = _option("", "the paper leaves it empty")
    negative_prompt: str = _option("", "with --text-guidance")

    strength: float = _option(1.0, "of all motion")
    mouth: float = _option(1.0, "strength of mouth motion")
    emotion: float = _option(1.0, "strength of emotion")
    eyes: float = _option(1.0, "strength of eye motion")
    head: float = _option(1.0, "strength of head motion")

    mask: str = _option(
        "trilinear",
        "how faces become regions: as in the paper, as released, or none",
        ("trilinear", "released", "none"),
    )
    mask_motion: str = _option("fixed", "do regions stay or follow the driver's faces", ("fixed", "per-frame"))
    background: str = _option("all", "whose motion the background attends to", ("all", "nearest", "none"))

    size: str = _option("", "WIDTHxHEIGHT; the portrait is cut to its shape (default: --max-side)")
    max_side: int = _option(720, "longer side of the video, the portrait's shape kept")
    fps: float = _option(0.0, "frames a second (default: the first driver's)")
    frames: int = _option(0, "at most so many frames (default: the shortest driver's)")
    window: int = _option(81, "frames denoised together; longer clips take several windows")
    overlap: int = _option(17, "frames that neighbouring windows share")

    def __post_init__(self) -> None:
        _check(self, steps=1, max_side=16, fps=0, frames=0, window=5, overlap=1, shift=0.01)
        if self.overlap >= self.window:
            raise UserError(f"--overlap is {self.overlap} in windows of {self.window} frames; make it smaller")

    @property
    def strengths(self) -> dict[str, float]:
        """A factor a feature."""
        return {name: getattr(self, name) for name in FEATURES}

    def as_dict(self) -> dict[str, Any]:
        """For metadata and for telling runs apart."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """On what to sample; nothing here is meant to change the result beyond rounding, except 8-bit weights."""

    device: str = _option("auto", "cpu, cuda, or one GPU like cuda:1")
    vram: float = _option(0.0, "GiB of GPU memory to stay under (default: what is free)")
    weights: str = _option("auto", "how the backbone's weights are held", ("auto", "fp32", "bf16", "fp8", "int8"))
    offload: str = _option("auto", "keep the backbone in main memory, by blocks", ("auto", "none", "block", "leaf"))
    attention: str = _option("auto", "diffusers' name of an attention kernel; auto: the fastest exact one there is")
    compile: str = _option("auto", "torch.compile the blocks; auto: on a GPU", ("auto", "yes", "no"))
    guidance_parallel: int = _option(1, "over how many GPUs a step's branches are spread (torchrun)")
    context_parallel: int = _option(1, "over how many GPUs a branch's tokens are spread (torchrun)")

    def __post_init__(self) -> None:
        _check(self, vram=0, guidance_parallel=1, context_parallel=1)


def _check(options: Any, **least: float) -> None:
    """Refuse numbers that are none or too small, and words that are none of those known."""
    for f in fields(options):
        value, flag, choices = getattr(options, f.name), f"--{_flag(f.name)}", f.metadata.get("choices")
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{flag} is {value}; expected a number")
        if f.name in least and value < least[f.name]:
            raise UserError(f"{flag} is {value}; expected {least[f.name]} or more")
        if choices and value not in choices:
            raise unknown_name(flag, value, list(choices))


def make_options(preset: str, given: dict[str, Any]) -> Options:
    """A preset's options with those given in their place."""
    if preset not in PRESETS:
        raise unknown_name("preset", preset, list(PRESETS))
    return from_dict(Options, {**PRESETS[preset], **given})


def from_dict(kind: type, given: dict[str, Any]) -> Any:
    """A dataclass of this module from keywords; an unknown one is an error that names the nearest."""
    known = [f.name for f in fields(kind)]
    for name in given:
        if name not in known:
            raise unknown_name("option", name, known)
    return kind(**given)


def add_flags(parser: argparse._ActionsContainer, kind: type) -> None:
    """A flag for every field; those not given do not appear among the arguments."""
    types = get_type_hints(kind)
    for f in fields(kind):
        shown = f" ({f.default})" if f.default not in ("", 0.0) or f.name == "seed" else ""
        parser.add_argument(
            f"--{_flag(f.name)}",
            type=types[f.name],
            default=argparse.SUPPRESS,
            choices=f.metadata["choices"] or None,
            metavar=None if f.metadata["choices"] else METAVARS[types[f.name]],
            help=f.metadata["help"] + shown,
        )


def pick(kind: type, args: argparse.Namespace) -> dict[str, Any]:
    """Of parsed arguments, those that are fields of `kind` and were given."""
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in vars(args).items() if name in names}


def _flag(name: str) -> str:
    return name.replace("_", "-")
