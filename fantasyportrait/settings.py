"""Sampling and runtime settings: dataclasses from which the command line takes its flags."""

import argparse
from dataclasses import asdict, dataclass, fields
from typing import Any, get_type_hints

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.schema import check_settings, setting
from fantasyportrait.model.configs import FEATURES

# Of the released script for one person; the one for several people adds a sentence against speaking in front.
RELEASED_NEGATIVE_PROMPT = (
    "人物静止不动，静止，色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，"  # noqa: RUF001
    "低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"  # noqa: RUF001
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"  # noqa: RUF001
)
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {
        "expression_guidance": 4.0,
        "mask": "released",
        "window": 201,
        "negative_prompt": RELEASED_NEGATIVE_PROMPT,
    },
}

ATTENTION_KERNELS = (  # diffusers' names, listed so that a name can be checked without importing diffusers
    *("auto", "native", "_native_cudnn", "_native_efficient", "_native_flash", "_native_math", "_native_npu"),
    *("_native_xla", "flex", "xformers", "aiter", "aiter_fa2_hub"),
    *("flash", "flash_hub", "flash_varlen", "flash_varlen_hub", "flash_4_hub"),
    *("_flash_3", "_flash_varlen_3", "_flash_3_hub", "_flash_3_varlen_hub"),
    *("sage", "sage_hub", "sage_blackwell_hub", "sage_varlen", "_sage_qk_int8_pv_fp8_cuda"),
    *("_sage_qk_int8_pv_fp8_cuda_sm90", "_sage_qk_int8_pv_fp16_cuda", "_sage_qk_int8_pv_fp16_triton"),
)

METAVARS = {int: "N", float: "X", str: "TEXT"}


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Sampling settings. The defaults are the paper's (section 4.3)."""

    steps: int = setting(30, "number of denoising steps; 4 with a distilled --lora", minimum=1)
    seed: int = setting(0, "random seed of the initial noise, equal on every device")
    shift: float = setting(5.0, "timestep shift of the noise schedule", minimum=0.01)
    expression_guidance: float = setting(
        4.5, "guidance scale of the expression; 1 turns it off and saves one evaluation per step"
    )
    text_guidance: float = setting(1.0, "guidance scale of the prompt; 1 turns the negative prompt off")
    prompt: str = setting("", "text prompt (default: empty, as in the paper)")
    negative_prompt: str = setting("", "negative text prompt, used with --text-guidance (default: empty)")

    strength: float = setting(1.0, "scale of all motion")
    mouth: float = setting(1.0, "scale of mouth motion")
    emotion: float = setting(1.0, "scale of emotion")
    eyes: float = setting(1.0, "scale of eye motion")
    head: float = setting(1.0, "scale of head motion")
    motion_from_step: int = setting(1, "first denoising step with motion", minimum=1)
    motion_to_step: int = setting(0, "last denoising step with motion (default: the last of all)", minimum=0)

    mask: str = setting(
        "trilinear",
        "face regions of the attention mask: as in the paper, as released, or no mask",
        choices=("trilinear", "released", "none"),
    )
    mask_motion: str = setting(
        "fixed", "face regions over time: fixed, or moving with the driver's faces", choices=("fixed", "per-frame")
    )
    background: str = setting("all", "faces whose motion the background attends to", choices=("all", "nearest", "none"))

    size: str = setting("", "WIDTHxHEIGHT of the video, for which the portrait is cropped (default: see --max-side)")
    max_side: int = setting(720, "longer side of the video in pixels; the aspect ratio is the portrait's", minimum=16)
    fps: float = setting(0.0, "frames per second of the video (default: the first driver's)", minimum=0)
    frames: int = setting(0, "maximum number of frames (default: those of the shortest driver)", minimum=0)
    window: int = setting(81, "number of frames denoised together; longer clips take several windows", minimum=5)
    overlap: int = setting(17, "number of frames that neighbouring windows share", minimum=1)
    anchor: str = setting(
        "none",
        "anchor of later windows: the portrait as their first latent frame, colours of the first window, or both",
        choices=("none", "identity", "colour", "both"),
    )

    cache: str = setting(
        "off",
        "step cache: mag skips steps by the rule of MagCache; calibrate skips none and measures the ratios for mag",
        choices=("off", "mag", "calibrate"),
    )
    cache_threshold: float = setting(0.06, "predicted error up to which --cache mag skips steps", minimum=0)
    cache_max_skip_steps: int = setting(3, "number of steps that --cache mag skips in a row", minimum=1)
    cache_retention_ratio: float = setting(
        0.2, "share of the steps, from the first on, that --cache mag computes", minimum=0
    )

    def __post_init__(self) -> None:
        check_settings(self, _flag_name)
        _check_motion_steps(self.motion_from_step, self.motion_to_step, self.steps)
        if self.cache_retention_ratio > 1:
            raise UserError(f"--cache-retention-ratio is {self.cache_retention_ratio:g}; expected 0 to 1")
        if self.cache == "calibrate" and self.motion_steps is not None:
            raise UserError(
                "--cache calibrate measures every step with motion; leave out --motion-from-step and --motion-to-step"
            )
        if self.overlap >= self.window:
            raise UserError(f"--overlap is {self.overlap}; expected less than --window, which is {self.window}")

    @property
    def strengths(self) -> dict[str, float]:
        """Return the scale of each feature."""
        return {name: getattr(self, name) for name in FEATURES}

    @property
    def motion_steps(self) -> range | None:
        """Return the indices of the denoising steps with motion, or None if all have it."""
        steps = range(self.motion_from_step - 1, self.motion_to_step or self.steps)
        return None if len(steps) == self.steps else steps

    def as_dict(self) -> dict[str, Any]:
        """Return all settings, as stored in a video's metadata and in `run.json`."""
        return asdict(self)


def _check_motion_steps(first: int, last: int, num_steps: int) -> None:
    for flag, step in (("--motion-from-step", first), ("--motion-to-step", last)):
        if step > num_steps:
            raise UserError(f"{flag} is {step}; expected at most --steps, which is {num_steps}")
    if 0 < last < first:
        raise UserError(f"--motion-to-step is {last}; expected at least --motion-from-step, which is {first}")


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """Hardware settings. Apart from 8-bit weights they change results by rounding only."""

    device: str = setting("auto", "device: cpu, cuda, or one GPU such as cuda:1")
    vram: float = setting(0.0, "limit of GPU memory in GiB (default: the free memory)", minimum=0)
    weights: str = setting(
        "auto", "data type of the backbone's weights", choices=("auto", "fp32", "bf16", "fp8", "int8")
    )
    offload: str = setting(
        "auto",
        "offloading of the backbone to CPU memory, by block or by layer",
        choices=("auto", "none", "block", "leaf"),
    )
    attention: str = setting("auto", "diffusers name of an attention kernel; auto: the fastest exact one")
    compile: str = setting(
        "auto", "use of torch.compile; auto: on a GPU, without offloading", choices=("auto", "yes", "no")
    )
    guidance_parallel: int = setting(1, "number of GPUs that share the guidance branches (torchrun)", minimum=1)
    context_parallel: int = setting(1, "number of GPUs that share the tokens of a branch (torchrun)", minimum=1)

    def __post_init__(self) -> None:
        check_settings(self, _flag_name)


def build_sampling_config(preset: str, overrides: dict[str, Any]) -> SamplingConfig:
    """Build the settings of a preset with some of them overridden.

    Raises:
        UserError: the preset or a setting is unknown, or a value is out of range.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, list(PRESETS))
    return from_dict(SamplingConfig, {**PRESETS[preset], **overrides})


def from_dict(config_class: type, values: dict[str, Any]) -> Any:
    """Build a dataclass of this module from keywords.

    Raises:
        UserError: a keyword is unknown; the message names the nearest one.
    """
    known = [f.name for f in fields(config_class)]
    for name in values:
        if name not in known:
            raise unknown_name("option", name, known)
    return config_class(**values)


def add_flags(parser: argparse._ActionsContainer, config_class: type) -> None:
    """Add a flag for every field; flags that are not given are absent from the parsed arguments."""
    types = get_type_hints(config_class)
    for f in fields(config_class):
        help_text = f.metadata["help"]
        default = "" if "(default: " in help_text else f" (default: {f.default})"
        parser.add_argument(
            _flag_name(f.name),
            type=types[f.name],
            default=argparse.SUPPRESS,
            choices=f.metadata["choices"] or None,
            metavar=None if f.metadata["choices"] else METAVARS[types[f.name]],
            help=help_text + default,
        )


def select_fields(config_class: type, args: argparse.Namespace) -> dict[str, Any]:
    """Return those of the parsed arguments that are fields of `config_class`."""
    names = {f.name for f in fields(config_class)}
    return {name: value for name, value in vars(args).items() if name in names}


def _flag_name(field_name: str) -> str:
    return "--" + field_name.replace("_", "-")
