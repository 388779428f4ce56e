import argparse

import pytest

from exprbench.core.errors import UserError
from fantasyportrait.settings import (
    RELEASED_NEGATIVE_PROMPT,
    RuntimeConfig,
    SamplingConfig,
    add_flags,
    build_sampling_config,
    select_fields,
)

PAPER = {  # section 4.3, and what the released code has where the paper says nothing
    "steps": 30, "seed": 0, "shift": 5.0, "expression_guidance": 4.5, "text_guidance": 1.0, "prompt": "",
    "negative_prompt": "", "strength": 1.0, "mouth": 1.0, "emotion": 1.0, "eyes": 1.0, "head": 1.0,
    "mask": "trilinear", "mask_motion": "fixed", "background": "all", "size": "", "max_side": 720, "fps": 0.0,
    "frames": 0, "window": 81, "overlap": 17, "motion_from_step": 1, "motion_to_step": 0, "anchor": "none",
    "cache": "off", "cache_threshold": 0.06, "cache_max_skip_steps": 3, "cache_retention_ratio": 0.2,
}  # fmt: skip
RELEASED = {
    "expression_guidance": 4.0, "mask": "released", "window": 201, "negative_prompt": RELEASED_NEGATIVE_PROMPT,
}  # fmt: skip


def test_presets_are_what_was_published():
    assert SamplingConfig().as_dict() == build_sampling_config("paper", {}).as_dict() == PAPER
    assert build_sampling_config("released", {}).as_dict() == {**PAPER, **RELEASED}
    assert build_sampling_config("released", {"window": 41}).window == 41  # arguments override the preset
    with pytest.raises(UserError, match="unknown preset 'papre'; did you mean 'paper'"):
        build_sampling_config("papre", {})
    with pytest.raises(UserError, match="unknown option 'step'; did you mean 'steps'"):
        build_sampling_config("paper", {"step": 3})


def test_a_machine_is_found_out_about_where_nothing_is_said():
    assert vars(RuntimeConfig()) == {
        "device": "auto", "vram": 0.0, "weights": "auto", "offload": "auto", "attention": "auto", "compile": "auto",
        "guidance_parallel": 1, "context_parallel": 1,
    }  # fmt: skip


LEAST = {"steps": 1, "max_side": 16, "fps": 0, "frames": 0, "window": 5, "overlap": 1, "shift": 0.01}


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_the_least_of_a_number_is_allowed_and_less_is_not(name, least):
    others = {"overlap": 1} if name == "window" else {}
    assert getattr(SamplingConfig(**{**others, name: least}), name) == least
    flag = name.replace("_", "-")
    with pytest.raises(UserError, match=f"--{flag} is .*; expected {least} or more"):
        SamplingConfig(**{**others, name: least - (0.001 if name in ("shift", "fps") else 1)})


@pytest.mark.parametrize(("name", "least"), [("vram", 0), ("guidance_parallel", 1), ("context_parallel", 1)])
def test_the_same_of_a_machine(name, least):
    assert getattr(RuntimeConfig(**{name: least}), name) == least
    with pytest.raises(UserError, match=f"expected {least} or more"):
        RuntimeConfig(**{name: least - 1})


@pytest.mark.parametrize("name", ["shift", "expression_guidance", "text_guidance", "strength", "mouth", "fps"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(name, value):
    with pytest.raises(UserError, match="expected a number"):
        SamplingConfig(**{name: value})


@pytest.mark.parametrize(
    ("kind", "name", "word"),
    [(SamplingConfig, "mask", "trilinaer"), (SamplingConfig, "mask_motion", "fix"),
     (SamplingConfig, "background", "al"),
     (RuntimeConfig, "weights", "bf61"), (RuntimeConfig, "offload", "blok"), (RuntimeConfig, "compile", "ye")],
)  # fmt: skip
def test_unknown_choices_are_refused_with_the_nearest(kind, name, word):
    with pytest.raises(UserError, match="did you mean"):
        kind(**{name: word})


def test_windows_overlap_by_less_than_their_length():
    SamplingConfig(window=17, overlap=16)
    with pytest.raises(UserError, match="--overlap is 17; expected less than --window, which is 17"):
        SamplingConfig(window=17, overlap=17)


def test_every_feature_has_its_strength():
    given = {"mouth": 0.1, "emotion": 0.2, "eyes": 0.3, "head": 0.4}
    assert SamplingConfig(**given).strengths == given


def test_flags_are_the_fields_and_show_their_defaults(capsys):
    parser = argparse.ArgumentParser()
    add_flags(parser, SamplingConfig)
    add_flags(parser, RuntimeConfig)
    assert vars(parser.parse_args([])) == {}
    args = parser.parse_args(["--steps", "4", "--mask-motion", "per-frame", "--weights", "int8", "--fps", "12.5"])
    assert select_fields(SamplingConfig, args) == {"steps": 4, "mask_motion": "per-frame", "fps": 12.5}
    assert select_fields(RuntimeConfig, args) == {"weights": "int8"}
    shown = " ".join(parser.format_help().split())
    for part in (
        "number of denoising steps; 4 with a distilled --lora (default: 30)",
        "random seed of the initial noise, equal on every device (default: 0)",
    ):
        assert part in shown
    assert "(default: the first driver's)" in shown
    assert "(default: 0.0)" not in shown
