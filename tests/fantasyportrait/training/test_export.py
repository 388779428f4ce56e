"""A run becomes a model folder that computes what was trained."""

from dataclasses import replace

import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.backbone import load_loras
from fantasyportrait.checkpoints.loading import load_adapter, load_transformer
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.model.configs import AUGMENTED
from fantasyportrait.training.export_run import export_run, read_run, write_run
from fantasyportrait.training.initial_weights import build_model
from fantasyportrait.training.sharding import TrainingRanks
from fantasyportrait.training.trainable import LoraLinear
from fantasyportrait.training.trainer import Trainer
from tests.closeness import assert_close
from tests.fantasyportrait.training.examples import EMPTY, batch
from tests.fantasyportrait.training.runs import CONFIG, Store

CPU = torch.device("cpu")


def run(out, folder, **changes):
    config = replace(CONFIG, **{"steps": 3, "save_every": 3, "lora_rank": 2, "lora_alpha": 3.0, "ema": 0.0, **changes})
    adapter = replace(folder.adapter, augmented=AUGMENTED[config.augment])
    write_run(out, config, adapter, folder.path)
    model = build_model(config, folder, adapter, CPU, continue_adapter=False)
    Trainer(config, model, Store(), empty_prompt=EMPTY, out=out, device=CPU, ranks=TrainingRanks()).run()
    return model


@torch.no_grad()
def velocity(backbone, adapter):
    given = batch(1, 1)
    hidden = torch.cat([given.latents, given.portrait], 1)
    from fantasyportrait.model.motion_tokens import MotionTokens

    return backbone(
        hidden, torch.tensor([700.0, 100.0]), given.text, given.image, MotionTokens(adapter(given.features))
    )


@pytest.mark.parametrize("backbone", ["frozen", "lora", "full"])
def test_an_exported_model_computes_what_was_trained(tiny_folder, tmp_path, backbone):
    model = run(tmp_path / "run", tiny_folder, backbone=backbone)
    messages = export_run(tmp_path / "run", tmp_path / "model")
    assert messages[-1].endswith("from " + str(tmp_path / "run/checkpoints/step-0000003"))
    folder = ModelFolder(tmp_path / "model")
    loras = load_loras([str(tmp_path / "model/lora.safetensors")], folder.base) if backbone == "lora" else []

    def fuse(name, tensor):
        return loras[0].fuse(name, tensor) if loras else tensor

    loaded = load_transformer(folder.base, dtype=torch.float32, transform=fuse)
    adapter = load_adapter(folder)
    assert_close(velocity(loaded, adapter), velocity(model.backbone, model.adapter).detach())
    assert folder.name.startswith("tiny step-0000003 sha256:")
    assert folder.base.path.resolve() == (
        (tmp_path / "model/base").resolve() if backbone == "full" else tiny_folder.base.path.resolve()
    )


def test_a_lora_of_a_layer_is_its_product():
    torch.manual_seed(0)
    layer = LoraLinear(torch.nn.Linear(6, 4), rank=2, alpha=3.0)
    torch.nn.init.normal_(layer.lora_b.weight)
    x = torch.randn(5, 6)
    with torch.no_grad():
        merged = torch.nn.functional.linear(x, layer.merged(), layer.base.bias)
        assert_close(layer(x), merged)


def test_averages_are_exported_where_there_are_some(tiny_folder, tmp_path):
    run(tmp_path / "run", tiny_folder, backbone="frozen", ema=0.5)
    for average in (False, True):
        export_run(tmp_path / "run", tmp_path / str(average), average=average)
    plain, averaged = (load_adapter(ModelFolder(tmp_path / str(a))).norm.weight for a in (False, True))
    assert not torch.equal(plain, averaged)


def test_a_run_remembers_its_settings(tiny_folder, tmp_path):
    run(tmp_path / "run", tiny_folder, backbone="frozen", augment="all")
    config, adapter, folder = read_run(tmp_path / "run")
    assert (config.backbone, config.steps, adapter.augmented) == ("frozen", 3, AUGMENTED["all"])
    assert config.objective == CONFIG.objective
    assert folder.path.resolve() == tiny_folder.path.resolve()
    with pytest.raises(UserError, match=r"holds a run of other settings \(augment\)"):
        write_run(tmp_path / "run", replace(config, augment="none"), adapter, folder.path)
    write_run(tmp_path / "run", replace(config, steps=9), adapter, folder.path)  # a longer run is the same run


def test_wrong_folders_are_refused(tiny_folder, tmp_path):
    with pytest.raises(UserError, match="has no checkpoint yet"):
        export_run(tmp_path, tmp_path / "model")
    with pytest.raises(UserError, match="is not a training run"):
        read_run(tmp_path)
    config = replace(CONFIG, augment="all")
    adapter = replace(tiny_folder.adapter, augmented=AUGMENTED["all"])
    with pytest.raises(UserError, match="has other learnable tokens than augment 'all'"):
        build_model(config, tiny_folder, adapter, CPU, continue_adapter=True)
