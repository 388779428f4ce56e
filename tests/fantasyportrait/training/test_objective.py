"""The objective against plain re-derivations: times, noise, target, dropouts, weights, gradients."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from exprbench.core.errors import UserError
from fantasyportrait.model.motion_tokens import compute_motion_tokens
from fantasyportrait.training.batches import SampleKey
from fantasyportrait.training.draws import counter_hash, draw_noise, draw_normal, draw_uniform
from fantasyportrait.training.objective import (
    ObjectiveConfig,
    StepDraws,
    draw_sigma,
    draw_step,
    face_weights,
    flow_matching_loss,
)
from fantasyportrait.training.trainable import select_trained, trained_parameters
from tests.fantasyportrait.training.examples import EMPTY, batch, tiny_model

NUM_DRAWS = 20_000


def test_draws_depend_on_every_part_of_their_key_and_on_nothing_else():
    key = (1, "a", 2, "sigma")
    others = [(2, "a", 2, "sigma"), (1, "b", 2, "sigma"), (1, "a", 3, "sigma"), (1, "a", 2, "noise")]
    assert counter_hash(*key) == counter_hash(*key)
    assert len({counter_hash(*k) for k in (key, *others)}) == 5
    assert counter_hash(1, "2|a", 0, "x") != counter_hash(1, "a", 0, "x|2")
    assert torch.equal(draw_noise(1, "a", 2, (3, 4)), draw_noise(1, "a", 2, (3, 4)))
    assert not torch.equal(draw_noise(1, "a", 2, (3, 4)), draw_noise(1, "a", 3, (3, 4)))


def test_uniform_and_normal_draws_have_their_distributions():
    uniform = [draw_uniform(0, str(i), 0, "x") for i in range(NUM_DRAWS)]
    assert 0 < min(uniform) < max(uniform) < 1
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
    assert stats.kstest([draw_normal(0, str(i), 0, "y") for i in range(NUM_DRAWS)], "norm").pvalue > 0.01
    noise = torch.cat([draw_noise(0, str(i), 0, (100,)) for i in range(100)])
    assert stats.kstest(noise.numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize(("shift", "mean", "std"), [(1.0, 0.0, 1.0), (5.0, 0.0, 1.0), (3.0, -0.5, 0.8)])
def test_noise_levels_have_the_density_of_a_shifted_logit_normal(shift, mean, std):
    config = ObjectiveConfig(shift=shift, logit_mean=mean, logit_std=std)
    sigmas = np.array([draw_sigma(config, 0, SampleKey(str(i), 0)) for i in range(NUM_DRAWS)])

    def distribution(sigma):  # undo the shift, then the sigmoid
        unshifted = sigma / (shift - (shift - 1) * sigma)
        return stats.norm.cdf((np.log(unshifted) - np.log1p(-unshifted) - mean) / std)

    assert stats.kstest(sigmas, distribution).pvalue > 0.01


def test_shift_5_covers_the_noise_where_the_sampler_spends_its_steps():
    shares = {}
    for shift in (1.0, 5.0):
        config = ObjectiveConfig(shift=shift)
        shares[shift] = np.mean([draw_sigma(config, 0, SampleKey(str(i), 0)) > 0.9 for i in range(NUM_DRAWS)])
    assert shares[1.0] == pytest.approx(0.014, abs=0.003)
    assert shares[5.0] == pytest.approx(0.28, abs=0.01)


def drops(config, num_batches=1500):
    found = []
    for epoch in range(num_batches):
        draws = draw_step(config, batch_of(epoch), 0)
        found.append(torch.stack([draws.expression, draws.prompt, draws.reference], 1))
    return torch.cat(found).numpy()


def batch_of(epoch):
    small = batch(1, 1, 1, 1, epoch=epoch)
    return replace(small, latents=small.latents[:, :1, :1, :1, :1])  # little noise to draw


def test_conditions_are_dropped_independently_with_probability_0_2():
    dropped = drops(ObjectiveConfig())
    num = len(dropped)
    for column in range(3):
        assert stats.binomtest(int(dropped[:, column].sum()), num, 0.2).pvalue > 0.01
    combinations = np.bincount(dropped @ [1, 2, 4], minlength=8)
    expected = [num * math.prod(0.2 if i >> c & 1 else 0.8 for c in range(3)) for i in range(8)]
    assert stats.chisquare(combinations, expected).pvalue > 0.01
    samples = dropped[:, 0].reshape(-1, 4)  # nor do the samples of a batch drop together
    pairs = np.bincount(samples[:, 0] * 2 + samples[:, 1], minlength=4)
    assert stats.chisquare(pairs, [0.64 * len(samples), 0.16 * len(samples), 0.16 * len(samples), 0.04 * len(samples)])[
        1] > 0.01  # fmt: skip


def test_nothing_or_everything_can_be_dropped():
    never = dict.fromkeys(("drop_expression", "drop_prompt", "drop_reference"), 0.0)
    assert not drops(ObjectiveConfig(**never), 50).any()
    assert drops(ObjectiveConfig(**dict.fromkeys(never, 1.0)), 50).all()
    with pytest.raises(UserError, match=r"objective.shift is 0; expected a number above 0"):
        ObjectiveConfig(shift=0)


def plain_loss(model, given, draws, config):
    """Derive the loss of each sample alone, without masks for what is dropped."""
    losses = []
    for i in range(len(given.keys)):
        sigma, x, noise = draws.sigmas[i], given.latents[i], draws.noise[i]
        noisy = x + sigma * (noise - x)
        text = EMPTY[0] if draws.prompt[i] else given.text[i]
        image = torch.zeros_like(given.image[i]) if draws.reference[i] else given.image[i]
        portrait = torch.zeros_like(given.portrait[i]) if draws.reference[i] else given.portrait[i]
        count = int(given.counts[i])
        motion = None
        if not draws.expression[i]:
            people = torch.arange(1, count + 1)
            labels = given.labels[i].flatten(1)[..., None]
            mask = ((labels == people) | (labels == 0))[None] if count > 1 and config.masked_attention else None
            motion = compute_motion_tokens(model.adapter, given.features[i, :count], mask=mask)
        velocity = model.backbone(
            torch.cat([noisy, portrait])[None], sigma.view(1) * 1000, text[None], image[None], motion
        )[0]
        error = (velocity - (noise - x)) ** 2
        if config.face_weight:
            faces = (given.labels[i] > 0).float().repeat_interleave(2, 1).repeat_interleave(2, 2)
            weights = 1 + config.face_weight * faces
            error = error * weights * weights.numel() / weights.sum()
        losses.append(error.mean())
    return torch.stack(losses).mean()


def some_draws(given):
    draws = draw_step(ObjectiveConfig(), given, 3)
    flags = {"expression": [0, 0, 1, 0], "prompt": [0, 1, 0, 0], "reference": [1, 0, 0, 0]}
    return StepDraws(draws.sigmas, draws.noise, **{n: torch.tensor(v).bool() for n, v in flags.items()})


@pytest.mark.parametrize(
    "config",
    [ObjectiveConfig(), ObjectiveConfig(face_weight=2.0), ObjectiveConfig(masked_attention=False)],
    ids=["plain", "face weight", "without MCA"],
)
def test_loss_and_gradient_equal_a_plain_derivation(config):
    model, given = tiny_model(), batch(1, 2, 3, 2)
    select_trained(model, "full")
    draws = some_draws(given)
    losses = {"ours": flow_matching_loss(model, given, draws, config, EMPTY).total}
    gradients = {}
    losses["plain"] = plain_loss(model, given, draws, config)
    for name, loss in losses.items():
        model.zero_grad()
        loss.backward()
        gradients[name] = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(losses["ours"], losses["plain"], atol=0, rtol=1e-5)
    largest = float(gradients["plain"].abs().max())
    torch.testing.assert_close(gradients["ours"], gradients["plain"], atol=1e-5 * largest, rtol=1e-4)


def test_masked_attention_changes_clips_of_several_people_only():
    model, given = tiny_model(), batch(1, 2)
    draws = draw_step(ObjectiveConfig(drop_expression=0), given, 0)
    with torch.no_grad():
        plain, masked = (
            flow_matching_loss(model, given, draws, ObjectiveConfig(masked_attention=m), EMPTY).plain
            for m in (False, True)
        )
    torch.testing.assert_close(plain[0], masked[0], atol=1e-6, rtol=1e-5)
    assert abs(float(plain[1] - masked[1])) > 1e-5


def test_face_weights_have_mean_one_in_every_sample():
    labels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    labels[0, :, :2] = 1
    weights = face_weights(labels, (8, 8), 3.0)
    assert weights.shape == (2, 1, 3, 8, 8)
    assert weights.mean((1, 2, 3, 4)).tolist() == [1, 1]
    assert weights[0, 0, 0, 0, 0] == 4 * weights[0, 0, 0, 7, 0]
    assert weights[1].unique().tolist() == [1]


@pytest.mark.parametrize("backbone", ["frozen", "lora", "full"])
def test_frozen_parameters_get_no_gradient_and_trained_ones_have_moved_after_step_2(backbone):
    model, given = tiny_model(zero=True), batch(1, 2)
    select_trained(model, backbone, rank=2, alpha=2.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for _, p in trained_parameters(model)], lr=1e-2, weight_decay=0)
    config = ObjectiveConfig(drop_expression=0)
    for epoch in range(3):
        optimizer.zero_grad()
        flow_matching_loss(model, given, draw_step(config, given, epoch), config, EMPTY).total.backward()
        optimizer.step()
    trained = {name for name, _ in trained_parameters(model)}
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == trained
    assert all(p.grad is None for name, p in model.named_parameters() if name not in trained)
    assert any(name.startswith("backbone") for name in trained) == (backbone != "frozen")
