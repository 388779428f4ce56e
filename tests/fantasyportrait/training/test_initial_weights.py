"""Every process reads its own shards of the model; together they are the model of one process."""

from dataclasses import replace

import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.loading import load_adapter, load_transformer
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.new_adapter import new_adapter
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.checkpoints.tensors import open_tensors, save_tensors
from fantasyportrait.training.initial_weights import build_model
from tests.fantasyportrait.training.loads import load_and_train
from tests.fantasyportrait.training.runs import CONFIG, launch, losses

CPU = torch.device("cpu")


@pytest.mark.parametrize("backbone", ["frozen", "lora", "full"])
def test_one_process_has_the_weights_of_the_folder(tiny_folder, backbone):
    config = replace(CONFIG, backbone=backbone)
    model = build_model(config, tiny_folder, tiny_folder.adapter, CPU, continue_adapter=True)
    found = {name.replace(".base.", "."): p for name, p in model.backbone.named_parameters() if ".lora_" not in name}
    expected = dict(load_transformer(tiny_folder.base, dtype=torch.float32).named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(p, expected[name]) for name, p in found.items())
    adapter = dict(load_adapter(tiny_folder).named_parameters())
    assert all(torch.equal(p, adapter[name]) for name, p in model.adapter.named_parameters())
    assert not any(t.is_meta for t in [*model.parameters(), *model.buffers()])


def test_a_frozen_backbone_is_in_bfloat16_except_what_stays_in_float32(tiny_folder):
    model = build_model(replace(CONFIG, backbone="lora", precision="bf16"), tiny_folder, tiny_folder.adapter, CPU,
                        continue_adapter=False)  # fmt: skip
    block = model.backbone.blocks[0]
    assert block.attn1.to_q.base.weight.dtype == torch.bfloat16
    assert block.attn1.to_q.lora_a.weight.dtype == torch.float32
    assert block.scale_shift_table.dtype == torch.float32
    assert {p.dtype for p in model.adapter.parameters()} == {torch.float32}
    assert float(block.attn1.to_q.lora_a.weight.abs().max()) <= block.attn1.to_q.base.in_features**-0.5
    assert not torch.equal(block.attn1.to_q.lora_a.weight, block.attn1.to_k.lora_a.weight)
    assert not block.attn1.to_q.lora_b.weight.any()


def test_a_new_adapter_depends_on_the_seed_and_adds_nothing(tiny_folder):
    one, same, other = (new_adapter(tiny_folder.adapter, seed) for seed in (0, 0, 1))
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
    assert not torch.equal(one["linear.mouth.weight"], other["linear.mouth.weight"])
    assert not one["layers.0.to_v.weight"].any()


def test_an_incomplete_base_is_refused(tmp_path):
    write_random_model(tmp_path / "m", "tiny")
    path = next((tmp_path / "m/base/transformer").glob("*.safetensors"))
    save_tensors(path, {k: t for k, t in open_tensors(path).items() if k != "blocks.1.attn1.to_q.weight"})
    folder = ModelFolder(tmp_path / "m")
    with pytest.raises(UserError, match=r"blocks\.1\.attn1\.to_q\.weight"):
        build_model(CONFIG, folder, folder.adapter, CPU, continue_adapter=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "precision", "rel"),
    [("full", "fp32", 1e-5), ("frozen", "bf16", 0.02), ("lora", "bf16", 0.02)],  # bfloat16 has 8 bits
)
def test_two_processes_load_half_of_the_model_each(tiny_folder, tmp_path, backbone, precision, rel):
    changes = {"backbone": backbone, "precision": precision}
    load_and_train(tiny_folder.path, tmp_path / "one", changes)
    assert launch(tmp_path / "two", 2, program="loads", arguments=[tiny_folder.path], **changes) == [0, 0]
    one, two = (open_tensors(tmp_path / name / "start.safetensors") for name in ("one", "two"))
    assert set(one) == set(two)
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    whole = int((tmp_path / "one/bytes-0").read_text())
    shares = [int((tmp_path / f"two/bytes-{rank}").read_text()) / whole for rank in range(2)]
    assert all(0.45 < share < 0.55 for share in shares), shares
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=rel)
