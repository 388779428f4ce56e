"""A model folder without the released adapter, from which training starts."""

from dataclasses import replace

import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.checkpoints.layout import check_model_files
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.new_adapter import new_adapter_config
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.checkpoints.tensors import save_tensors
from fantasyportrait.cli import main
from fantasyportrait.model.configs import MODEL_CONFIGS, AdapterConfig


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_random_model(folder, "tiny")
    return folder


def untrained(tiny, out, *flags):
    expression = str(tiny / "expression.safetensors")
    return main(["convert", "--base", str(tiny / "base"), "--expression", expression, "--untrained", "--out", str(out),
                 *flags])  # fmt: skip


def test_an_untrained_model_is_whole_and_its_adapter_adds_nothing(tiny, tmp_path, capsys):
    assert untrained(tiny, tmp_path / "m", "--augment", "all", "--dtype", "bf16") == 0
    assert "does not move the portrait" in capsys.readouterr().out
    check_model_files(tmp_path / "m")
    folder = ModelFolder(tmp_path / "m")
    assert folder.adapter == replace(MODEL_CONFIGS["tiny"].adapter, augmented=("mouth", "emotion", "head", "eyes"))
    tensors = folder.adapter_tensors()
    assert not any(tensors[f"layers.{i}.{name}.weight"].any() for i in range(2) for name in ("to_k", "to_v"))
    assert tensors["linear.mouth.weight"].any()
    assert tensors["linear.mouth.weight"].dtype == torch.bfloat16
    encoder = ModelFolder(tiny).expression_tensors()
    assert all(torch.equal(tensor, encoder[name]) for name, tensor in folder.expression_tensors().items())


def test_the_encoder_of_a_released_file_is_accepted(tiny, tmp_path):
    folder = ModelFolder(tiny)
    released = {f"pd_fpg.{name}": tensor for name, tensor in folder.expression_tensors().items()}
    save_tensors(tmp_path / "all.safetensors", released)
    options = {"base": tiny / "base", "expression": tmp_path / "all.safetensors", "untrained": True}
    convert(out=tmp_path / "m", **options)
    assert ModelFolder(tmp_path / "m").manifest["expression"] == folder.manifest["expression"]


def test_the_size_is_that_of_the_backbone():
    backbone = MODEL_CONFIGS["14b"].backbone
    assert new_adapter_config(backbone, "selective") == AdapterConfig()
    other = replace(backbone, num_layers=7)
    assert new_adapter_config(other, "none") == AdapterConfig(num_layers=7, augmented=())


def test_flags_that_contradict_are_refused(tiny, tmp_path):
    for options in (
        {"base": tiny / "base"},
        {"base": tiny / "base", "expression": tiny / "expression.safetensors", "adapter": tiny / "adapter.safetensors"},
    ):
        with pytest.raises(UserError, match="do not go together"):
            convert(out=tmp_path, untrained=True, **options)
    assert not list(tmp_path.iterdir())
