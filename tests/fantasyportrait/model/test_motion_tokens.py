import pytest
import torch

from fantasyportrait.checkpoints.random_init import random_adapter
from fantasyportrait.model.adapter import MotionProjection
from fantasyportrait.model.configs import SIZES
from fantasyportrait.model.motion_tokens import motion_tokens

TINY = SIZES["tiny"].adapter
LAYERS = TINY.num_layers


@pytest.fixture(scope="module")
def adapter():
    torch.manual_seed(0)
    return random_adapter(TINY)


@pytest.fixture
def projected(monkeypatch):
    """How often a layer's keys and values were computed."""
    calls, real = [], MotionProjection.forward
    monkeypatch.setattr(MotionProjection, "forward", lambda *a: calls.append(1) or real(*a))
    return calls


def features(num_people=2):
    return torch.randn(num_people, 9, 554, generator=torch.Generator().manual_seed(1))


def test_keys_are_kept_or_made_anew_and_are_the_same(adapter, projected):
    kept = motion_tokens(adapter, features())
    assert len(projected) == LAYERS
    for _ in range(2):
        list(kept.layers(4))
    assert len(projected) == LAYERS
    anew = motion_tokens(adapter, features(), keep_on="nowhere")
    assert len(projected) == LAYERS
    for _ in range(2):
        for a, b in zip(kept.layers(4), anew.layers(4), strict=True):
            assert torch.equal(a.key, b.key)
            assert torch.equal(a.value, b.value)
    assert len(projected) == 3 * LAYERS


def test_a_strength_of_half_halves_values_and_leaves_keys(adapter):
    whole, half = (motion_tokens(adapter, features(), strength=s).keys_values[1] for s in (1.0, 0.5))
    assert torch.equal(half[0], whole[0])
    torch.testing.assert_close(half[1], whole[1] / 2)


def test_a_persons_own_strengths_leave_the_others_alone(adapter):
    plain = motion_tokens(adapter, features()).keys_values[0][1].unflatten(2, (2, -1))
    changed = motion_tokens(adapter, features(), strengths=[{"mouth": 0.0}, {}]).keys_values[0][1].unflatten(2, (2, -1))
    assert torch.equal(changed[:, :, 1], plain[:, :, 1])
    assert not torch.equal(changed[:, :, 0], plain[:, :, 0])
