"""Modules filled with the weights of a model folder, and random weights."""

import json

import numpy as np
import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints import random_init
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.checkpoints.loading import (
    load_adapter,
    load_expression_encoder,
    load_transformer,
    load_vae,
    load_weights,
)
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.random_init import random_adapter, random_expression_encoder
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors, save_tensors
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import MODEL_CONFIGS, AdapterConfig

TINY = MODEL_CONFIGS["tiny"]


def contents(path):
    return json.loads(path.read_text())


def values(tensors):
    return {name: tensors[name].float().sum().item() for name in tensors}


# Modules


class Two(torch.nn.Module):
    """Weights of two names, a running mean and a counter."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2)


def test_weights_take_their_type_except_those_that_stay_in_single_precision_and_integers():
    tensors = Tensors({n: t + 1 for n, t in Two().state_dict().items()}, "a file")
    asked = []
    module = load_weights(
        Two(), tensors, component="two", dtype=torch.bfloat16, keep_fp32=("norm.w", "running"),
        transform=lambda name, tensor: asked.append(name) or tensor * 2,
    )  # fmt: skip
    kinds = {name: tensor.dtype for name, tensor in module.state_dict().items()}
    assert {name for name, kind in kinds.items() if kind == torch.bfloat16} == {
        "norm.bias", "linear.weight", "linear.bias"}  # fmt: skip
    assert kinds["norm.num_batches_tracked"] == torch.int64
    assert sorted(asked) == sorted(tensors)
    assert module.norm.weight.tolist() == [4, 4]
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert isinstance(module.linear.weight, torch.nn.Parameter)


def test_surplus_tensors_are_an_error_unless_allowed():
    tensors = Tensors({**Two().state_dict(), "x": torch.zeros(1)}, "a file")
    load_weights(Two(), tensors, component="two", strict=False)
    with pytest.raises(UserError, match=r"a file does not fit the two: 1 unexpected \(x\)"):
        load_weights(Two(), tensors, component="two")


def test_a_backbones_blocks_are_handed_over_one_by_one_and_its_norms_stay_in_single_precision(tiny):
    done, names = [], []
    model = load_transformer(
        WanCheckpoint(tiny / "base"), dtype=torch.bfloat16, on_block_loaded=done.append,
        transform=lambda name, tensor: names.append(name) or tensor,
    )  # fmt: skip
    assert done == list(model.blocks)
    stored = WanCheckpoint(tiny / "base").tensors("backbone")
    assert sorted(names) == sorted(stored)
    single = {n for n, p in model.named_parameters() if p.dtype == torch.float32}
    kept = ("time_embedder", "time_proj", "scale_shift_table", "norm1", "norm2", "norm3")
    assert single == {n for n in stored if any(part in n for part in kept)}
    assert single != set(stored)
    assert not model.training


def test_what_the_folder_holds_is_loaded_ready_for_use(tiny, copied):
    adapter = load_adapter(ModelFolder(tiny), dtype=torch.bfloat16)
    assert {p.dtype for p in adapter.parameters()} == {torch.bfloat16}
    assert values(load_adapter(ModelFolder(tiny)).state_dict()) == values(ModelFolder(tiny).adapter_tensors())
    path = copied / "expression.safetensors"
    tensors = open_tensors(path)
    save_tensors(path, {n: t.half() if t.is_floating_point() else t.clone() for n, t in tensors.items()})
    encoder = load_expression_encoder(ModelFolder(copied))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    for module in (adapter, encoder):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_vae_without_a_configuration_has_the_size_of_its_shapes(copied):
    (copied / "base/vae/config.json").unlink()
    assert load_vae(WanCheckpoint(copied / "base")).config.base_dim == 4


# Random weights


def test_weights_depend_on_the_seed_and_leave_other_random_numbers_alone(tiny, tmp_path):
    state = torch.random.get_rng_state()
    convert(out=tmp_path, random="tiny", seed=4, augment="none")
    assert torch.equal(torch.random.get_rng_state(), state)
    for part in ("backbone", "VAE", "text encoder", "image encoder"):
        assert values(WanCheckpoint(tmp_path / "base").tensors(part)) != values(
            WanCheckpoint(tiny / "base").tensors(part)
        )
    folder = ModelFolder(tmp_path)
    assert folder.name.startswith("random-tiny-seed4 sha256:")
    assert folder.adapter.augmented == ()
    assert contents(tmp_path / "fantasyportrait.json")["base"] == "base"
    with pytest.raises(UserError, match="'selectiv'"):
        convert(out=tmp_path, random="tiny", augment="selectiv")


def test_only_the_tiny_size_is_written_in_single_precision(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(random_init, "write_random_base", lambda out, sizes, dtype: found.append((sizes, dtype)))
    monkeypatch.setattr(random_init, "write_model_folder", lambda *_, **__: [])
    monkeypatch.setitem(MODEL_CONFIGS, "1.3b", TINY)
    for size in ("tiny", "1.3b"):
        convert(out=tmp_path, random=size)
    assert found == [(TINY, torch.float32), (TINY, torch.bfloat16)]


def test_a_random_adapter_and_encoder_carry_motion():
    torch.manual_seed(0)
    adapter = random_adapter(AdapterConfig(num_layers=2, dim=48, token_dim=64, query_dim=128, depth=1))
    for layer in adapter.layers:
        for linear in (layer.to_k, layer.to_v):
            assert linear.weight.std().item() == pytest.approx(2 / 8, rel=0.1)
    assert isinstance(adapter, MotionAdapter)
    assert not adapter.training
    weight = random_expression_encoder().model.conv6.weight.detach().double().numpy()
    np.testing.assert_allclose(weight.mean(axis=(2, 3)), 0, atol=1e-6 * np.abs(weight).max())
    assert weight.std() == pytest.approx(8 / weight[0].size ** 0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("size", "layers", "heads", "feed"), [("14b", 40, 40, 13824), ("1.3b", 30, 12, 8960), ("tiny", 2, 2, 96)]
)
def test_sizes_are_those_of_the_published_models(size, layers, heads, feed):
    found = MODEL_CONFIGS[size]
    assert (found.backbone.num_layers, found.backbone.num_attention_heads, found.backbone.ffn_dim) == (
        layers, heads, feed)  # fmt: skip
    assert (found.adapter.num_layers, found.adapter.dim) == (layers, found.backbone.dim)
    if size != "tiny":
        assert found.backbone.dim == 128 * heads
        assert found.text_encoder == {
            "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64, "num_layers": 24,
            "vocab_size": 256384}  # fmt: skip
        assert found.image_encoder == {
            "hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16, "num_hidden_layers": 32,
            "patch_size": 14}  # fmt: skip
