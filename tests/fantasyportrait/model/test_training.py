"""What a trainer needs of the model: gradients, batches of several people, dropped conditions."""

import sys

import pytest
import torch

from fantasyportrait.checkpoints.random_init import random_adapter
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.dropout import drop_reference
from fantasyportrait.model.motion_tokens import MotionTokens, compute_motion_tokens, mask_padding
from fantasyportrait.model.transformer import build_transformer
from tests.fantasyportrait.model.test_transformer import tiny_inputs

TINY = MODEL_CONFIGS["tiny"]
GRID = (3, 6, 10)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(1)
    return build_transformer(TINY.backbone)


@pytest.fixture
def adapter():
    torch.manual_seed(0)
    return random_adapter(TINY.adapter)


def features(*shape):
    return torch.randn(*shape, 9, 554, generator=torch.Generator().manual_seed(2))


def batch(model, size):
    samples = [tiny_inputs(model, GRID, seed=i) for i in range(size)]
    return [torch.cat(parts) for parts in zip(*samples, strict=True)]


@pytest.mark.parametrize("keep_on", [None, "recompute"])
def test_gradients_reach_every_weight_of_the_adapter(backbone, adapter, keep_on):
    motion = compute_motion_tokens(adapter, features(2), keep_on=keep_on)
    backbone(*tiny_inputs(backbone, GRID), motion).square().mean().backward()
    without = [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(p.grad is None for p in backbone.parameters())


def test_at_the_start_of_training_only_the_value_projections_get_gradients(backbone):
    torch.manual_seed(0)
    adapter = MotionAdapter(TINY.adapter)
    optimizer = torch.optim.SGD(adapter.parameters(), lr=1.0)
    inputs, moved = tiny_inputs(backbone, GRID), []
    for _ in range(2):
        optimizer.zero_grad()
        loss = backbone(*inputs, compute_motion_tokens(adapter, features(1))).square().mean()
        loss.backward()
        moved.append({name for name, p in adapter.named_parameters() if p.grad.any()})
        optimizer.step()
    assert moved[0] == {name for name, _ in adapter.named_parameters() if name.endswith("to_v.weight")}
    assert moved[1] == {name for name, _ in adapter.named_parameters()}


def test_the_forward_gives_the_keys_and_values_of_every_layer(adapter):
    stored = compute_motion_tokens(adapter, features(2)).keys_values
    for found, expected in zip(adapter(features(2)), stored, strict=True):
        for a, b in zip(found, expected, strict=True):
            assert torch.equal(a, b)


@torch.no_grad()
def test_a_batch_is_embedded_like_its_samples(adapter):
    given = features(3, 2)
    together = adapter.embed(given)
    assert together.shape == (3, 3, 2 * 97, TINY.adapter.token_dim)
    alone = torch.cat([adapter.embed(sample) for sample in given])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_samples_with_different_numbers_of_people_equal_each_alone(backbone, adapter):
    given, inputs = features(4, 3), batch(backbone, 4)
    counts = torch.tensor([1, 3, 0, 2])
    region = torch.rand(4, 3, 15, 3, generator=torch.Generator().manual_seed(4)) > 0.3  # a mask of each sample's own
    together = backbone(*inputs, compute_motion_tokens(adapter, given, counts=counts, mask=region))
    for i, count in enumerate(counts.tolist()):
        own = [t[i : i + 1] for t in inputs]
        motion = (
            compute_motion_tokens(adapter, given[i, :count], mask=region[i : i + 1, ..., :count]) if count else None
        )
        torch.testing.assert_close(together[i : i + 1], backbone(*own, motion), atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_padding_has_no_influence(backbone, adapter):
    given, inputs, counts = features(2, 2), batch(backbone, 2), torch.tensor([1, 2])
    changed = given.clone()
    changed[0, 1] = 100
    outputs = [backbone(*inputs, compute_motion_tokens(adapter, f, counts=counts)) for f in (given, changed)]
    assert torch.equal(*outputs)


def test_padding_gets_no_gradient(backbone, adapter):
    given = features(2, 2).requires_grad_()
    motion = compute_motion_tokens(adapter, given, counts=torch.tensor([1, 0]))
    backbone(*batch(backbone, 2), motion).square().sum().backward()
    assert [bool(given.grad[i, j].any()) for i in range(2) for j in range(2)] == [True, False, False, False]


@torch.no_grad()
def test_a_dropped_expression_is_no_motion(backbone, adapter):
    inputs = batch(backbone, 2)
    motion = compute_motion_tokens(adapter, features(2, 1), counts=torch.tensor([0, 1]))
    found = backbone(*inputs, motion)
    torch.testing.assert_close(found[:1], backbone(*[t[:1] for t in inputs]), atol=1e-6, rtol=0)
    assert float((found[1:] - backbone(*[t[1:] for t in inputs])).abs().max()) > 1e-3


def test_masks_of_padding():
    mask = mask_padding(torch.tensor([2, 0]), 3, 2)
    assert mask.shape == (2, 3, 1, 2)
    assert mask[0].all()
    assert not mask[1].any()
    region = torch.zeros(2, 3, 15, 2, dtype=torch.bool)
    region[..., 0] = True
    both = mask_padding(torch.tensor([1, 0]), 3, 2, region)
    assert torch.equal(both[0], region[0])
    assert not both[1].any()


# A dropped reference image


def references(seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(2, 257, TINY.backbone.image_dim, generator=g), torch.randn(2, 20, *GRID, generator=g)


def test_a_dropped_reference_is_zero_in_tokens_mask_and_latents():
    image, portrait = references(0)
    tokens, condition = drop_reference(image, portrait, torch.tensor([True, False]))
    assert not tokens[0].any()
    assert not condition[0].any()
    assert torch.equal(tokens[1], image[1])
    assert torch.equal(condition[1], portrait[1])


@torch.no_grad()
def test_without_a_reference_the_velocity_does_not_depend_on_the_portrait(backbone):
    latents, timestep, text, _ = batch(backbone, 2)
    outputs = []
    for seed in (0, 1):
        image, portrait = drop_reference(*references(seed), torch.tensor([True, False]))
        outputs.append(backbone(torch.cat([latents[:, :16], portrait], 1), timestep, text, image))
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert float((outputs[0][1] - outputs[1][1]).abs().max()) > 1e-3


@torch.no_grad()
def test_zero_tokens_become_one_constant_vector(backbone):
    embedded = backbone.condition_embedder.image_embedder(torch.zeros(1, 257, TINY.backbone.image_dim))
    assert torch.equal(embedded, embedded[:, :1].expand_as(embedded))


def test_motion_tokens_of_a_batch_can_be_built_by_hand(adapter):
    motion = MotionTokens(adapter(features(2, 1)))
    layers = list(motion.layers(15))
    assert len(layers) == TINY.adapter.num_layers
    assert layers[0].key.shape == (2, 3, 97, TINY.adapter.dim)


@pytest.fixture
def process_group(monkeypatch):
    if sys.platform == "linux":
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")  # or the host's name would be looked up
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_gradients_under_fsdp_equal_plain_ones(backbone, adapter):
    from torch.distributed.fsdp import fully_shard

    inputs, given, counts = batch(backbone, 2), features(2, 2), torch.tensor([1, 2])
    mask = mask_padding(counts, GRID[0], 2)

    def gradients():
        backbone(*inputs, MotionTokens(adapter(given), mask)).square().mean().backward()
        return {name: p.grad.clone() for name, p in adapter.named_parameters()}

    expected = gradients()
    adapter.zero_grad()
    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    for layer in adapter.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(adapter, mesh=mesh)
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient.full_tensor(), expected[name], atol=1e-7, rtol=1e-5)
