"""What can be asked of the sampler: one dataclass, from which the command line takes its flags."""

import argparse
from dataclasses import asdict, dataclass, fields
from typing import Any, get_type_hints

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.schema import check_settings, setting
from fantasyportrait.model.configs import FEATURES

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"expression_guidance": 4.0, "mask": "released", "window": 201},
}

METAVARS = {int: "N", float: "X", str: "TEXT"}


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How to sample; the defaults are the paper's (section 4.3)."""

    steps: int = setting(30, "denoising steps (4 with a distilled --lora)", minimum=1)
    seed: int = setting(0, "draws the noise; the same on every device")
    shift: float = setting(5.0, "of the schedule towards noise", minimum=0.01)
    expression_guidance: float = setting(4.5, "how strongly to follow the driver; 1 takes one evaluation a step less")
    text_guidance: float = setting(1.0, "how strongly to follow the prompt; 1: no negative prompt")
    prompt: str = setting("", "the paper leaves it empty")
    negative_prompt: str = setting("", "with --text-guidance")

    strength: float = setting(1.0, "of all motion")
    mouth: float = setting(1.0, "strength of mouth motion")
    emotion: float = setting(1.0, "strength of emotion")
    eyes: float = setting(1.0, "strength of eye motion")
    head: float = setting(1.0, "strength of head motion")

    mask: str = setting(
        "trilinear",
        "how faces become regions: as in the paper, as released, or none",
        choices=("trilinear", "released", "none"),
    )
    mask_motion: str = setting("fixed", "do regions stay or follow the driver's faces", choices=("fixed", "per-frame"))
    background: str = setting("all", "whose motion the background attends to", choices=("all", "nearest", "none"))

    size: str = setting("", "WIDTHxHEIGHT; the portrait is cut to its shape (default: --max-side)")
    max_side: int = setting(720, "longer side of the video, the portrait's shape kept", minimum=16)
    fps: float = setting(0.0, "frames a second (default: the first driver's)", minimum=0)
    frames: int = setting(0, "at most so many frames (default: the shortest driver's)", minimum=0)
    window: int = setting(81, "frames denoised together; longer clips take several windows", minimum=5)
    overlap: int = setting(17, "frames that neighbouring windows share", minimum=1)

    def __post_init__(self) -> None:
        check_settings(self, _flag)
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
class RuntimeConfig:
    """On what to sample; nothing here is meant to change the result beyond rounding, except 8-bit weights."""

    device: str = setting("auto", "cpu, cuda, or one GPU like cuda:1")
    vram: float = setting(0.0, "GiB of GPU memory to stay under (default: what is free)", minimum=0)
    weights: str = setting(
        "auto", "how the backbone's weights are held", choices=("auto", "fp32", "bf16", "fp8", "int8")
    )
    offload: str = setting(
        "auto", "keep the backbone in main memory, by blocks", choices=("auto", "none", "block", "leaf")
    )
    attention: str = setting("auto", "diffusers' name of an attention kernel; auto: the fastest exact one there is")
    compile: str = setting("auto", "torch.compile the blocks; auto: on a GPU", choices=("auto", "yes", "no"))
    guidance_parallel: int = setting(1, "over how many GPUs a step's branches are spread (torchrun)", minimum=1)
    context_parallel: int = setting(1, "over how many GPUs a branch's tokens are spread (torchrun)", minimum=1)

    def __post_init__(self) -> None:
        check_settings(self, _flag)


def make_options(preset: str, given: dict[str, Any]) -> SamplingConfig:
    """A preset's options with those given in their place."""
    if preset not in PRESETS:
        raise unknown_name("preset", preset, list(PRESETS))
    return from_dict(SamplingConfig, {**PRESETS[preset], **given})


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
            _flag(f.name),
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
    return "--" + name.replace("_", "-")
