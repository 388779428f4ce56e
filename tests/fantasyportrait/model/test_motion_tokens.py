import pytest
import torch

from fantasyportrait.checkpoints.random_init import random_adapter
from fantasyportrait.model.adapter import MotionProjection
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.motion_tokens import compute_motion_tokens
from tests.closeness import assert_close

TINY = MODEL_CONFIGS["tiny"].adapter
LAYERS = TINY.num_layers


@pytest.fixture(scope="module")
def adapter():
    torch.manual_seed(0)
    return random_adapter(TINY).requires_grad_(False)


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
    assert_close(half[1], whole[1] / 2)


def test_strengths_of_one_person_do_not_change_the_others(adapter):
    plain = compute_motion_tokens(adapter, features()).keys_values[0][1].unflatten(2, (2, -1))
    changed = (
        compute_motion_tokens(adapter, features(), strengths=[{"mouth": 0.0}, {}])
        .keys_values[0][1]
        .unflatten(2, (2, -1))
    )
    assert torch.equal(changed[:, :, 1], plain[:, :, 1])
    assert not torch.equal(changed[:, :, 0], plain[:, :, 0])


def test_layers_are_moved_to_the_device_for_their_turn_and_back(adapter, monkeypatch):
    moves = []
    monkeypatch.setattr(MotionProjection, "to", lambda layer, device: moves.append(str(device)) or layer)
    compute_motion_tokens(adapter, features(), device="cpu:0")  # the adapter is on `cpu`
    assert moves == ["cpu:0", "cpu"] * LAYERS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keep_on", [None, "cpu", "recompute"])
def test_keys_and_values_have_the_wanted_type_wherever_they_are_kept(adapter, dtype, keep_on):
    motion = compute_motion_tokens(adapter, features(), dtype=dtype, keep_on=keep_on)
    assert {t.dtype for pair in motion.keys_values for t in pair} == {dtype}
    assert len(motion.keys_values) == LAYERS


def test_keys_are_kept_where_they_are_wanted_and_not_where_they_are_computed(adapter):
    kept = compute_motion_tokens(adapter, features(), keep_on="meta")
    assert {t.device.type for pair in kept.keys_values for t in pair} == {"meta"}


def test_the_mask_is_on_the_device_and_the_same_for_every_layer(adapter):
    mask = torch.rand(1, 3, 4, 2) > 0.5
    layers = list(compute_motion_tokens(adapter, features(), mask=mask).layers(4))
    assert all(torch.equal(layer.mask, mask) for layer in layers)
    assert {layer.tokens_per_frame for layer in layers} == {4}
    assert compute_motion_tokens(adapter, features()).mask is None


def test_a_strength_of_none_leaves_nothing_of_the_values(adapter):
    assert not compute_motion_tokens(adapter, features(), strength=0.0).keys_values[0][1].any()
    half = compute_motion_tokens(
        adapter, features(), strengths=[{}, {"mouth": 0.5, "eyes": 0.5, "head": 0.5, "emotion": 0.5}]
    )
    whole = compute_motion_tokens(adapter, features())
    first, second = half.keys_values[0][1].unflatten(2, (2, -1)).unbind(2)
    assert_close(first, whole.keys_values[0][1].unflatten(2, (2, -1))[:, :, 0])
    assert_close(second, whole.keys_values[0][1].unflatten(2, (2, -1))[:, :, 1] / 2)
