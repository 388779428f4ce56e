"""Skipped steps: the rule of diffusers' hooks, windows and branches apart, motion in a range of steps."""

import re

import pytest
import torch
from diffusers.hooks import MagCacheConfig, apply_mag_cache
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry

from fantasyportrait.diffusion.denoise import Conditioning, denoise
from fantasyportrait.diffusion.flow_matching import (
    GuidanceBranch,
    compute_sigmas,
    guidance_branches,
    initial_noise,
    without_expression,
)
from fantasyportrait.diffusion.step_cache import MagCacheRule, StepCache, nearest_ratios
from fantasyportrait.diffusion.windows import split_windows
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.transformer import MotionBlock, build_transformer
from tests.closeness import assert_close
from tests.fantasyportrait.model.test_transformer import tiny_inputs, tiny_motion

GRID, STEPS = (2, 4, 6), 8


def tiny_model():
    torch.manual_seed(0)
    return build_transformer(MODEL_CONFIGS["tiny"].backbone)


def run(model, *, branches=None, num_latent_frames=3, steps=STEPS, **options):
    """Denoise two windows of two latent frames with two people."""
    portrait, _, text, image = tiny_inputs(model if hasattr(model, "config") else tiny_model(), GRID)
    windows = split_windows(num_latent_frames, 2, 1)
    motion = tiny_motion(tiny_model(), 2, GRID)
    return denoise(
        model,
        initial_noise((1, 16, num_latent_frames, *GRID[1:]), 0),
        Conditioning({"positive": text, "negative": -text}, image, portrait[:, :20]),
        sigmas=compute_sigmas(steps),
        branches=branches or guidance_branches(4.5, 3.0),
        windows=windows,
        motions=[motion] * len(windows),
        **options,
    )


def rule(ratios, threshold=0.06, max_skip_steps=3, retention_ratio=0.2):
    return MagCacheRule(
        threshold=threshold, max_skip_steps=max_skip_steps, retention_ratio=retention_ratio, ratios=ratios
    )


NAMES = ("positive+expression", "positive", "negative")


def hooked(model, config):
    """Return a model with diffusers' hooks, called once for each of 2 windows and 3 branches in every step."""
    TransformerBlockRegistry.register(
        MotionBlock, TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=None)
    )
    apply_mag_cache(model, config)
    calls = []

    def call(*inputs):
        calls.append(len(calls) % 6)
        with model.cache_context(str(calls[-1])):
            return model(*inputs)

    return call


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.12, 10.0])
def test_the_latents_are_those_of_diffusers_hooks(threshold):
    ratios = [1.0, 1.3, 0.98, 1.01, 0.97, 1.045, 0.99, 1.02]
    cache = StepCache(STEPS, rule(dict.fromkeys(NAMES, ratios), threshold, 2))
    config = MagCacheConfig(
        threshold=threshold, max_skip_steps=2, retention_ratio=0.2, num_inference_steps=STEPS, mag_ratios=ratios
    )
    expected = run(hooked(tiny_model(), config))
    assert torch.equal(run(tiny_model(), cache=cache), expected)
    assert cache.num_evaluations == 6 * STEPS
    assert cache.num_skipped == (6 * 4 if threshold else 0)


def test_the_measured_ratios_are_those_of_diffusers_hooks(capsys):
    cache = StepCache(STEPS)
    expected = run(hooked(tiny_model(), MagCacheConfig(calibrate=True, num_inference_steps=STEPS)))
    assert torch.equal(run(tiny_model(), cache=cache), expected)
    printed = re.findall(r"^\[.*\d\]$", capsys.readouterr().out, re.M)
    by_context = torch.tensor([[float(v) for v in line.strip("[]").split(",")] for line in printed])
    means = by_context.view(2, 3, STEPS).mean(0)  # over windows
    assert list(cache.ratios) == list(NAMES)
    assert_close(torch.tensor(list(cache.ratios.values())), means)
    assert cache.num_skipped == 0


def test_without_skipped_steps_the_latents_are_those_without_a_cache():
    expected = run(tiny_model())
    assert torch.equal(run(tiny_model(), cache=StepCache(STEPS)), expected)
    everything = rule(dict.fromkeys(NAMES, [1.0] * STEPS), retention_ratio=1.0)
    assert torch.equal(run(tiny_model(), cache=StepCache(STEPS, everything)), expected)


def test_the_rule_by_hand():
    ratios = {"a": [1.0, 1.0, 1.02, 1.02, 0.99, 1.5, 1.0, 1.0, 1.0, 1.0]}
    # errors from step 2: 0.02, 0.0604 (over), then 0.01; 0.485 (over); then none, at most three in a row
    assert [i for i, skipped in enumerate(rule(ratios).skipped_steps("a", 10)) if skipped] == [2, 4, 6, 7, 8]
    assert [i for i, s in enumerate(rule(ratios, max_skip_steps=1).skipped_steps("a", 10)) if s] == [2, 4, 6, 8]
    assert not any(rule(ratios, retention_ratio=1.0).skipped_steps("a", 10))
    assert rule({"a": [1.0] * 4}, retention_ratio=0.0).skipped_steps("a", 4) == [False, True, True, True]


def test_ratios_of_another_number_of_steps_are_those_of_the_nearest():
    assert nearest_ratios([0.0, 1.0, 2.0, 3.0, 4.0], 3) == [0.0, 2.0, 4.0]
    assert nearest_ratios([0.0, 1.0, 2.0], 6) == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    assert nearest_ratios([0.0, 7.0], 1) == [7.0]


def test_each_branch_follows_its_own_ratios_and_each_window_its_own_residual():
    ratios = {"positive+expression": [9.0] * STEPS, "positive": [1.0] * STEPS, "negative": [9.0] * STEPS}
    cache = StepCache(STEPS, rule(ratios))
    run(tiny_model(), cache=cache)
    assert cache.num_skipped == 2 * 5  # two windows; steps 2, 3, 4, 6 and 7 of one branch
    values = [cache._residuals[window, "positive"].value for window in (0, 1)]
    assert not torch.equal(*values)


# Motion in a range of steps


def test_branches_without_expression_are_added_up_and_keep_their_places():
    assert without_expression(guidance_branches(4.5, 1.0)) == [
        GuidanceBranch("positive", False, 0.0), GuidanceBranch("positive", False, 1.0)]  # fmt: skip
    assert without_expression(guidance_branches(4.5, 3.0)) == [
        GuidanceBranch("positive", False, 0.0), GuidanceBranch("positive", False, 3.0),
        GuidanceBranch("negative", False, -2.0)]  # fmt: skip
    assert without_expression(guidance_branches(1.0, 3.0)) == [
        GuidanceBranch("positive", False, 3.0), GuidanceBranch("negative", False, -2.0)]  # fmt: skip
    assert without_expression(guidance_branches(1.0, 1.0)) == [GuidanceBranch("positive", False, 1.0)]


@pytest.mark.parametrize("guidance", [(4.5, 1.0), (4.5, 3.0), (1.0, 3.0), (1.0, 1.0)])
def test_no_step_with_motion_is_sampling_without_expression(guidance):
    still = guidance_branches(1.0, guidance[1])
    still = [GuidanceBranch(branch.prompt, False, branch.weight) for branch in still]
    found = run(tiny_model(), branches=guidance_branches(*guidance), motion_steps=range(0))
    assert_close(found, run(tiny_model(), branches=still))


def test_motion_is_applied_in_its_steps_only():
    calls = []

    def model(latents, timestep, prompt, image, motion):
        calls.append(motion is not None)
        return torch.zeros_like(latents[:, :16])

    run(model, branches=guidance_branches(4.5, 1.0), num_latent_frames=2, steps=5, motion_steps=range(1, 3))
    assert calls == [False, *[True, False] * 2, False, False]
    full, early = run(tiny_model()), run(tiny_model(), motion_steps=range(STEPS // 2))
    assert (full - early).abs().max() > 1e-3


def test_a_branch_that_begins_late_computes_its_first_step():
    cache = StepCache(STEPS, rule(dict.fromkeys(NAMES, [1.0] * STEPS)))
    run(tiny_model(), num_latent_frames=2, cache=cache, motion_steps=range(3, STEPS))
    # steps 2, 3, 4, 6 and 7 of two branches; of the branch with expression, 4, 6 and 7
    assert (cache.num_evaluations, cache.num_skipped) == (2 * STEPS + 5, 2 * 5 + 3)
