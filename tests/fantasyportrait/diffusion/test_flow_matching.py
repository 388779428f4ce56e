from itertools import pairwise

import numpy as np
import pytest
import torch

from fantasyportrait.diffusion.flow_matching import (
    compute_sigmas,
    euler_step,
    guidance_branches,
    initial_noise,
    predict_clean_latents,
)
from tests.closeness import assert_close


@pytest.mark.parametrize("shift", [3, 5])
@pytest.mark.parametrize("num_steps", [10, 30, 50])
def test_the_schedule_is_the_released_one(official, num_steps, shift):
    expected = official("scheduler.npz")
    sigmas = compute_sigmas(num_steps, shift)
    assert sigmas.dtype == torch.float32
    for found, name in ((sigmas, "sigmas"), (sigmas * 1000, "timesteps")):  # fused operations round once less
        np.testing.assert_array_max_ulp(found[:-1].numpy(), expected[f"{name}_n{num_steps}_shift{shift}"], maxulp=2)
    assert sigmas[-1] == 0


def test_steps_are_the_released_ones(official):
    released = {k: torch.from_numpy(np.array(v)) for k, v in official("scheduler.npz").items()}
    sigmas = compute_sigmas(30)
    for i, expected in zip(released["step_index"], released["step_out_n30_shift5"], strict=True):
        sample = euler_step(released["step_sample"], released["step_velocity"], sigmas[i], sigmas[i + 1])
        assert_close(sample, expected)


def test_a_constant_velocity_leads_to_the_clean_latents():
    clean, noise = torch.randn(2, 3), torch.randn(2, 3)
    sample, sigmas = noise, compute_sigmas(4)
    for sigma, next_sigma in pairwise(sigmas):
        assert_close(predict_clean_latents(sample, noise - clean, sigma), clean)
        sample = euler_step(sample, noise - clean, sigma, next_sigma)
    assert_close(sample, clean)


def test_a_seed_means_the_same_noise(official):
    torch.manual_seed(5)
    first = initial_noise((1, 16, 3, 8, 12), 42)
    torch.rand(3)
    assert torch.equal(first, initial_noise((1, 16, 3, 8, 12), 42))
    assert not torch.equal(first, initial_noise((1, 16, 3, 8, 12), 43))
    assert_close(first, official("pipeline.npz")["noise"])  # logarithm and cosine are each processor's own


def guided(expression, text, full, still, negative, negative_full):
    values = {("positive", True): full, ("positive", False): still, ("negative", False): negative,
              ("negative", True): negative_full}  # fmt: skip
    return sum(b.weight * values[b.prompt, b.expression] for b in guidance_branches(expression, text))


def test_guidance_is_the_published_formula():
    full, still, negative, negative_full = np.random.default_rng(0).normal(size=4)
    args = (full, still, negative, negative_full)
    assert guided(4.5, 1, *args) == pytest.approx(still + 4.5 * (full - still))
    assert guided(4.5, 5, *args) == pytest.approx(negative + 5 * (still - negative) + 4.5 * (full - still))
    assert guided(1, 5, *args) == pytest.approx(negative_full + 5 * (full - negative_full))
    assert guided(1, 1, *args) == pytest.approx(full)
    assert guided(0, 1, *args) == pytest.approx(full)


@pytest.mark.parametrize(("expression", "text", "count"), [(4.5, 1, 2), (4.5, 5, 3), (1, 5, 2), (1, 1, 1)])
def test_no_more_evaluations_than_needed(expression, text, count):
    evaluations = guidance_branches(expression, text)
    assert len(evaluations) == count
    assert sum(b.weight for b in evaluations) == pytest.approx(1)
