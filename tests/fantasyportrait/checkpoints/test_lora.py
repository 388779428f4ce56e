import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.backbone import load_backbone, load_loras
from fantasyportrait.checkpoints.key_mapping import BACKBONE
from fantasyportrait.checkpoints.lora import Lora
from fantasyportrait.checkpoints.lora_names import parse_lora
from fantasyportrait.checkpoints.model_folder import WanCheckpoint
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.checkpoints.tensors import save_tensors
from fantasyportrait.runtime.memory import MemoryPlan
from fantasyportrait.settings import RuntimeConfig

LAYER = "blocks.1.attn2.to_q"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_random_model(folder, "tiny")
    return WanCheckpoint(folder / "base")


def matrices(rank=3, dim=48):
    g = torch.Generator().manual_seed(0)
    return torch.randn(rank, dim, generator=g), torch.randn(dim, rank, generator=g)


def named(style):
    """Return the names of the two matrices and of alpha, or None if the style has no alpha."""
    published = BACKBONE.to_published(f"{LAYER}.weight").removesuffix(".weight")
    flat = f"lora_unet_{published.replace('.', '_')}"
    return {
        "diffusers": (f"transformer.{LAYER}.lora_A.weight", f"transformer.{LAYER}.lora_B.weight", None),
        "peft": tuple(f"base_model.model.{LAYER}.lora_{half}.default.weight" for half in "AB") + (None,),
        "published": tuple(f"diffusion_model.{published}.{p}" for p in ("lora_down.weight", "lora_up.weight", "alpha")),
        "kohya": tuple(f"{flat}.{p}" for p in ("lora_down.weight", "lora_up.weight", "alpha")),
    }[style]


def backbone_shapes(base):
    return base.tensors("backbone").shapes


@pytest.mark.parametrize("style", ["diffusers", "peft", "published", "kohya"])
def test_every_naming_leads_to_the_same_change(base, tmp_path, style):
    (down, up), (a, b, alpha) = matrices(), named(style)
    states = {a: down, b: up} | ({alpha: torch.tensor(6.0)} if alpha else {})
    save_tensors(tmp_path / "l.safetensors", states)
    lora = Lora(tmp_path / "l.safetensors", backbone_shapes(base), scale=0.5)
    before = base.tensors("backbone")[f"{LAYER}.weight"]
    expected = before + 0.5 * (6 / 3 if alpha else 1) * up @ down
    torch.testing.assert_close(lora.fuse(f"{LAYER}.weight", before), expected)
    other = base.tensors("backbone")["blocks.0.attn2.to_q.weight"]
    assert lora.fuse("blocks.0.attn2.to_q.weight", other) is other


def test_an_unpaired_matrix_is_refused(base, tmp_path):
    save_tensors(tmp_path / "l.safetensors", {named("diffusers")[0]: matrices()[0]})
    with pytest.raises(UserError, match=r"lacks one of two matrices for 1 layers \(blocks\.1\.attn2\.to_q"):
        Lora(tmp_path / "l.safetensors", backbone_shapes(base))


def test_whole_differences_are_added_to_weights_and_biases(base, tmp_path):
    published = "blocks.0.self_attn.norm_q"
    states = {
        f"diffusion_model.{published}.diff": torch.full((48,), 2.0),
        "diffusion_model.blocks.0.ffn.0.diff_b": torch.full((96,), 3.0),
        "diffusion_model.blocks.0.modulation.diff_m": torch.full((1, 6, 48), 4.0),
    }
    save_tensors(tmp_path / "l.safetensors", states)
    lora = Lora(tmp_path / "l.safetensors", backbone_shapes(base))
    tensors = base.tensors("backbone")
    for name, added in (("attn1.norm_q.weight", 2), ("ffn.net.0.proj.bias", 3), ("scale_shift_table", 4)):
        before = tensors[f"blocks.0.{name}"]
        torch.testing.assert_close(lora.fuse(f"blocks.0.{name}", before), before + added)


def test_the_backbone_is_loaded_with_loras(base, tmp_path):
    down, up = matrices()
    a, b, _ = named("diffusers")
    save_tensors(tmp_path / "l.safetensors", {a: down, b: up})
    plan = MemoryPlan(weights="fp32", offload="none", tile=None, keys="device", estimate_gib=0)
    path = str(tmp_path / "l.safetensors")
    loras = load_loras([f"{path}:0.5", path], base)
    assert [str(lora) for lora in loras] == ["l.safetensors:0.5", "l.safetensors:1"]
    model = load_backbone(base, plan, RuntimeConfig(), torch.device("cpu"), loras)
    before = base.tensors("backbone")[f"{LAYER}.weight"]
    torch.testing.assert_close(model.get_submodule(LAYER).weight.data, before + 1.5 * up @ down)


def test_a_convolution_is_changed_in_its_shape(base, tmp_path):
    g = torch.Generator().manual_seed(1)
    down, up = torch.randn(2, 36, 1, 2, 2, generator=g), torch.randn(48, 2, 1, 1, 1, generator=g)
    save_tensors(
        tmp_path / "l.safetensors", {"patch_embedding.lora_A.weight": down, "patch_embedding.lora_B.weight": up}
    )
    before = base.tensors("backbone")["patch_embedding.weight"]
    fused = Lora(tmp_path / "l.safetensors", backbone_shapes(base)).fuse("patch_embedding.weight", before)
    torch.testing.assert_close(fused, before + torch.einsum("or,rityx->oityx", up[..., 0, 0, 0], down))


def test_tensors_of_unknown_layers_are_reported(base, tmp_path, capsys):
    down, up = matrices()
    a, b, _ = named("diffusers")
    save_tensors(tmp_path / "l.safetensors", {a: down, b: up, "text.lora_A.weight": down.clone()})
    Lora(tmp_path / "l.safetensors", backbone_shapes(base))
    assert "skipped 1 of 3 tensors of unknown layers (text.lora_A.weight ...)" in capsys.readouterr().err


def test_a_lora_for_another_model_is_refused(base, tmp_path):
    save_tensors(tmp_path / "l.safetensors", {"unet.down.lora_A.weight": torch.zeros(1, 2)})
    with pytest.raises(UserError, match="no LoRA for this backbone; its first tensor is unet"):
        Lora(tmp_path / "l.safetensors", backbone_shapes(base))
    save_tensors(
        tmp_path / "m.safetensors",
        {f"{LAYER}.lora_A.weight": torch.zeros(1, 7), f"{LAYER}.lora_B.weight": torch.zeros(5, 1)},
    )
    with pytest.raises(UserError, match=r"by \[5, 7\]; expected \[48, 48\]"):
        Lora(tmp_path / "m.safetensors", backbone_shapes(base))
    save_tensors(tmp_path / "n.safetensors", {"blocks.0.attn1.norm_q.diff_b": torch.zeros(48)})
    with pytest.raises(UserError, match=r"norm_q\.bias by \[48\]; the backbone has no such tensor"):
        Lora(tmp_path / "n.safetensors", backbone_shapes(base))


@pytest.mark.parametrize(
    ("text", "expected"), [("a.safetensors", ("a.safetensors", 1)), ("d/a.safetensors:0.8", ("d/a.safetensors", 0.8))]
)
def test_strengths(text, expected):
    path, scale = parse_lora(text)
    assert (str(path), scale) == expected


def test_strengths_must_be_numbers():
    with pytest.raises(UserError, match="FILE:STRENGTH"):
        parse_lora("a.safetensors:strong")
