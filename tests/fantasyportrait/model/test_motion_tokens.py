import pytest
import torch

from fantasyportrait.checkpoints.random_init import random_adapter
from fantasyportrait.model.adapter import MotionProjection
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.motion_tokens import compute_motion_tokens

TINY = MODEL_CONFIGS["tiny"].adapter
LAYERS = TINY.num_layers


@pytest.fixture(scope="module")
def adapter():
    torch.manual_seed(0)
    return random_adapter(TINY)


@pytest.fixture
def projected(monkeypatch):
    """Return a list with one entry per computation of a layer's keys and values."""
    calls, real = [], MotionProjection.forward
    monkeypatch.setattr(MotionProjection, "forward", lambda *a: calls.append(1) or real(*a))
    return calls


def features(num_people=2):
    return torch.randn(num_people, 9, 554, generator=torch.Generator().manual_seed(1))


def test_stored_and_recomputed_keys_are_equal(adapter, projected):
    stored = compute_motion_tokens(adapter, features())
    assert len(projected) == LAYERS
    for _ in range(2):
        list(stored.layers(4))
    assert len(projected) == LAYERS
    recomputed = compute_motion_tokens(adapter, features(), keep_on="recompute")
    assert len(projected) == LAYERS
    for _ in range(2):
        for a, b in zip(stored.layers(4), recomputed.layers(4), strict=True):
            assert torch.equal(a.key, b.key)
            assert torch.equal(a.value, b.value)
    assert len(projected) == 3 * LAYERS


def test_a_strength_of_half_halves_values_and_leaves_keys(adapter):
    whole, half = (compute_motion_tokens(adapter, features(), strength=s).keys_values[1] for s in (1.0, 0.5))
    assert torch.equal(half[0], whole[0])
    torch.testing.assert_close(half[1], whole[1] / 2)


def test_strengths_of_one_person_do_not_change_the_others(adapter):
    plain = compute_motion_tokens(adapter, features()).keys_values[0][1].unflatten(2, (2, -1))
    changed = (
        compute_motion_tokens(adapter, features(), strengths=[{"mouth": 0.0}, {}])
        .keys_values[0][1]
        .unflatten(2, (2, -1))
    )
    assert torch.equal(changed[:, :, 1], plain[:, :, 1])
    assert not torch.equal(changed[:, :, 0], plain[:, :, 0])
