"""Leakage between people: no gradient in the motion attention of any block, and little through other layers."""

import contextlib

import numpy as np
import pytest
import torch

from fantasyportrait.checkpoints.random_init import random_adapter
from fantasyportrait.diffusion.denoise import Conditioning, denoise
from fantasyportrait.diffusion.face_masks import face_attention_mask, trilinear_labels
from fantasyportrait.diffusion.flow_matching import compute_sigmas, guidance_branches, initial_noise
from fantasyportrait.diffusion.windows import split_windows
from fantasyportrait.model import attention
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.motion_tokens import MotionTokens, compute_motion_tokens
from fantasyportrait.model.transformer import build_transformer
from tests.fantasyportrait.model.test_transformer import tiny_inputs

TINY = MODEL_CONFIGS["tiny"]
FRAMES, LATENT = 5, 2


@pytest.fixture(scope="module")
def adapter():
    torch.manual_seed(0)
    return random_adapter(TINY.adapter)


def labels_of(num_people):
    """Return labels of people in a row, with one token of background around each."""
    boxes = np.array([[[48 * i + 16, 16, 48 * i + 48, 48]] for i in range(num_people)], float)
    return trilinear_labels(boxes, (48 * num_people + 16, 64), LATENT)


def motion_with_gradients(adapter, features, mask):
    """Compute the motion as `compute_motion_tokens` does, but with gradients."""
    tokens = adapter.embed(features)
    weights = torch.cat([adapter.token_weights({}, FRAMES)] * len(features), 1)
    return MotionTokens([layer(tokens, weights) for layer in adapter.layers], mask)


@contextlib.contextmanager
def recorded(monkeypatch):
    """Yield a list to which the output of every motion attention is appended; queries are detached."""
    outputs, real = [], attention.motion_attention

    def record(query, motion):
        outputs.append(real(query.detach(), motion))
        return outputs[-1]

    monkeypatch.setattr(attention, "motion_attention", record)
    yield outputs
    monkeypatch.undo()


def blocks_outputs(monkeypatch, adapter, features, mask, labels, precision):
    torch.manual_seed(1)
    model = build_transformer(TINY.backbone)
    grid = (LATENT, 2 * labels.shape[1], 2 * labels.shape[2])
    inputs = tiny_inputs(model, grid)
    mixed = torch.autocast("cpu", torch.bfloat16) if precision == "mixed" else contextlib.nullcontext()
    with recorded(monkeypatch) as outputs, mixed:
        model(*inputs, motion_with_gradients(adapter, features, mask))
    assert len(outputs) == TINY.backbone.num_layers
    return [out.flatten(2).unflatten(1, (LATENT, -1))[0] for out in outputs]  # (f, p, width)


@pytest.mark.parametrize("background", ["all", "nearest", "none"])
@pytest.mark.parametrize("precision", ["single", "mixed"])
@pytest.mark.parametrize("num_people", [1, 2, 3, 4, 5])
def test_no_gradient_reaches_another_person(monkeypatch, adapter, num_people, precision, background):
    labels = labels_of(num_people)
    mask = face_attention_mask(labels, [True] * num_people, background)
    features = torch.randn(num_people, FRAMES, 554, generator=torch.Generator().manual_seed(2)).requires_grad_()
    for out in blocks_outputs(monkeypatch, adapter, features, mask, labels, precision):
        for person in range(num_people):
            region = out[labels.flatten(1) == person + 1]
            assert len(region) == LATENT * 4
            weigh = torch.randn(region.shape, generator=torch.Generator().manual_seed(3))
            (gradient,) = torch.autograd.grad((region.float() * weigh).sum(), features, retain_graph=True)
            reached = gradient.flatten(1).abs().amax(1) > 0
            assert reached.tolist() == [other == person for other in range(num_people)]


@pytest.mark.parametrize("precision", ["single", "mixed"])
@torch.no_grad()
def test_features_of_another_driver_change_no_bit(monkeypatch, adapter, precision):
    labels = labels_of(3)
    mask = face_attention_mask(labels, [True] * 3, "all")
    features = torch.randn(3, FRAMES, 554, generator=torch.Generator().manual_seed(2))
    exchanged = features.clone()
    exchanged[1] = 5 * torch.randn(FRAMES, 554, generator=torch.Generator().manual_seed(4))
    before = blocks_outputs(monkeypatch, adapter, features, mask, labels, precision)[0]
    after = blocks_outputs(monkeypatch, adapter, exchanged, mask, labels, precision)[0]
    person = labels.flatten(1)
    assert torch.equal(before[(person == 1) | (person == 3)], after[(person == 1) | (person == 3)])
    assert not torch.equal(before[person == 2], after[person == 2])


def test_without_the_mask_gradients_do_reach_others(monkeypatch, adapter):
    labels = labels_of(3)
    features = torch.randn(3, FRAMES, 554, generator=torch.Generator().manual_seed(2)).requires_grad_()
    for out in blocks_outputs(monkeypatch, adapter, features, None, labels, "single"):
        (gradient,) = torch.autograd.grad(out[labels.flatten(1) == 1].sum(), features, retain_graph=True)
        assert (gradient.flatten(1).abs().amax(1) > 0).all()


def changes(adapter, masked, background):
    """Return the mean change of each person's region of the latents when the driver of the middle one is exchanged."""
    labels = labels_of(3)
    mask = face_attention_mask(labels, [True] * 3, background) if masked else None
    grid = (LATENT, 2 * labels.shape[1], 2 * labels.shape[2])
    torch.manual_seed(1)
    model = build_transformer(TINY.backbone)
    portrait, _, text, image = tiny_inputs(model, grid)
    features = torch.randn(3, FRAMES, 554, generator=torch.Generator().manual_seed(2))
    exchanged = features.clone()
    exchanged[1] = torch.randn(FRAMES, 554, generator=torch.Generator().manual_seed(4))
    latents = [
        denoise(
            model,
            initial_noise((1, 16, *grid), 0),
            Conditioning({"positive": text}, image, portrait[:, :20]),
            sigmas=compute_sigmas(4),
            branches=guidance_branches(4.5, 1),
            windows=split_windows(LATENT, 21, 5),
            motions=[compute_motion_tokens(adapter, f, mask=mask)],
        )
        for f in (features, exchanged)
    ]
    change = (latents[0] - latents[1]).abs().mean((0, 1))
    change = change.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).mean((2, 4))
    return [float(change[labels == person].mean()) for person in (1, 2, 3)]


def test_exchanging_one_driver_changes_the_others_regions_far_less(adapter):
    left, own, right = changes(adapter, True, "none")
    assert max(left, right) < 0.1 * own
    left_all, own_all, right_all = changes(adapter, True, "all")
    assert max(left_all, right_all) < 0.1 * own_all
    left_open, own_open, right_open = changes(adapter, False, "all")
    assert min(left_open, right_open) > 0.5 * own_open
