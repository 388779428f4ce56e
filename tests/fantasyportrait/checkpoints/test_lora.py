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
from tests.closeness import assert_close

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
    assert_close(lora.fuse(f"{LAYER}.weight", before), expected)
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
        assert_close(lora.fuse(f"blocks.0.{name}", before), before + added)


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
    assert_close(model.get_submodule(LAYER).weight.data, before + 1.5 * up @ down)


def test_a_convolution_is_changed_in_its_shape(base, tmp_path):
    g = torch.Generator().manual_seed(1)
    down, up = torch.randn(2, 36, 1, 2, 2, generator=g), torch.randn(48, 2, 1, 1, 1, generator=g)
    save_tensors(
        tmp_path / "l.safetensors", {"patch_embedding.lora_A.weight": down, "patch_embedding.lora_B.weight": up}
    )
    before = base.tensors("backbone")["patch_embedding.weight"]
    fused = Lora(tmp_path / "l.safetensors", backbone_shapes(base)).fuse("patch_embedding.weight", before)
    assert_close(fused, before + torch.einsum("or,rityx->oityx", up[..., 0, 0, 0], down))


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
    ("text", "expected"),
    [
        ("a.safetensors", ("a.safetensors", 1)),
        ("d/a.safetensors:0.8", ("d/a.safetensors", 0.8)),
        ("d:/a.safetensors", ("d:/a.safetensors", 1)),  # a colon in a folder's name
    ],
)
def test_strengths(text, expected):
    path, scale = parse_lora(text)
    assert (str(path), scale) == expected


def test_strengths_must_be_numbers():
    with pytest.raises(UserError, match="FILE:STRENGTH"):
        parse_lora("a.safetensors:strong")


def test_low_rank_and_whole_changes_of_one_layer_add_up_in_single_precision(base, tmp_path):
    down, up = matrices()
    a, b, alpha = named("published")
    whole = torch.full((48, 48), 0.25)
    name = a.removesuffix("lora_down.weight") + "diff"
    save_tensors(tmp_path / "l.safetensors", {a: down, b: up, alpha: torch.tensor(6.0), name: whole})
    lora = Lora(tmp_path / "l.safetensors", backbone_shapes(base), scale=0.5)
    before = base.tensors("backbone")[f"{LAYER}.weight"]
    expected = before + 0.5 * (0.25 + 6 / 3 * up @ down)
    assert_close(lora.fuse(f"{LAYER}.weight", before), expected)
    half = lora.fuse(f"{LAYER}.weight", before.bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, (before.bfloat16().float() + expected - before).bfloat16())


def test_either_half_without_the_other_is_refused(base, tmp_path):
    save_tensors(tmp_path / "l.safetensors", {named("diffusers")[1]: matrices()[1]})
    with pytest.raises(UserError, match="lacks one of two matrices for 1 layers"):
        Lora(tmp_path / "l.safetensors", backbone_shapes(base))


# Names of real files


def write(path, state):
    save_tensors(path, state)
    return path


def test_a_lightx2v_file_is_loaded_whole(base, tmp_path, capsys):
    """Names as in Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64, of layers of every shape."""
    g = torch.Generator().manual_seed(0)
    shapes = backbone_shapes(base)
    state = {}
    for name, shape in shapes.items():
        layer, _, kind = (BACKBONE.to_published(name)).rpartition(".")
        key = f"diffusion_model.{layer}"
        if kind == "modulation":
            state[f"{key}.diff_m"] = torch.randn(shape, generator=g)
        elif kind == "bias":
            state[f"{key}.diff_b"] = torch.randn(shape, generator=g)
        elif len(shape) == 2:
            state[f"{key}.lora_down.weight"] = torch.randn(2, shape[1], generator=g)
            state[f"{key}.lora_up.weight"] = torch.randn(shape[0], 2, generator=g)
        else:
            state[f"{key}.diff"] = torch.randn(shape, generator=g)
    assert {"diffusion_model.blocks.1.diff_m", "diffusion_model.head.diff_m"} <= set(state)
    lora = Lora(write(tmp_path / "l.safetensors", state), shapes)
    assert "skipped" not in capsys.readouterr().err
    before = base.tensors("backbone")
    unchanged = [name for name in shapes if torch.equal(lora.fuse(name, before[name]), before[name])]
    assert unchanged == []
    for name, key in (("blocks.1.scale_shift_table", "blocks.1"), ("scale_shift_table", "head")):
        expected = before[name] + state[f"diffusion_model.{key}.diff_m"]
        torch.testing.assert_close(lora.fuse(name, before[name]), expected)


@pytest.mark.parametrize(
    "layer",
    [
        "lora_unet_blocks_1.cross_attn.q",  # mixed, WanVideoWrapper #869
        "lora_unet__blocks_1_cross_attn_q",  # Wan-Fun's trainer
        "lycoris_blocks_1_cross_attn_q",
        "lora_transformer_blocks_1_attn2_to_q",
        "pipe.dit.blocks.1.cross_attn.q",  # DiffSynth-Studio
        "base_model.model.diffusion_model.blocks.1.cross_attn.q",
        "model.diffusion_model.blocks.1.cross_attn.q",
    ],
)
def test_layers_are_named_with_dots_underscores_or_both(base, tmp_path, layer, capsys):
    down, up = matrices()
    state = {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up, f"{layer}.alpha": torch.tensor(6.0)}
    lora = Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base))
    before = base.tensors("backbone")[f"{LAYER}.weight"]
    torch.testing.assert_close(lora.fuse(f"{LAYER}.weight", before), before + 2 * up @ down)
    assert "skipped" not in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["lora_A.style.weight", "lora_A.default_0.weight", "lora.down.weight"])
def test_every_ending_of_the_same_matrix_is_known(base, tmp_path, ending):
    down, up = matrices()
    other = ending.replace("lora_A", "lora_B").replace("down", "up")
    state = {f"transformer.{LAYER}.{ending}": down, f"transformer.{LAYER}.{other}": up}
    lora = Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base))
    before = base.tensors("backbone")[f"{LAYER}.weight"]
    torch.testing.assert_close(lora.fuse(f"{LAYER}.weight", before), before + up @ down)


def test_a_bias_of_the_up_matrix_is_added(base, tmp_path):
    down, up = matrices()
    bias = torch.randn(48, generator=torch.Generator().manual_seed(1))
    state = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up, f"{LAYER}.lora_B.bias": bias}
    state[f"{LAYER}.alpha"] = torch.tensor(1.5)
    lora = Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base))
    before = base.tensors("backbone")[f"{LAYER}.bias"]
    torch.testing.assert_close(lora.fuse(f"{LAYER}.bias", before), before + 0.5 * bias)


# LoKr, LoHa, and what is refused

KOHYA = "lora_unet_blocks_1_cross_attn_q"


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fused(base, tmp_path, parts, scale=0.5):
    state = {f"{KOHYA}.{part}": tensor for part, tensor in parts.items()}
    lora = Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base), scale)
    before = base.tensors("backbone")[f"{LAYER}.weight"]
    return (lora.fuse(f"{LAYER}.weight", before) - before) / scale


def test_loha_is_the_elementwise_product_of_two_products(base, tmp_path):
    a, b, c, d = random(48, 3), random(3, 48, seed=1), random(48, 3, seed=2), random(3, 48, seed=3)
    parts = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(1.5)}
    torch.testing.assert_close(fused(base, tmp_path, parts), 0.5 * (a @ b) * (c @ d), atol=1e-5, rtol=1e-5)


def test_lokr_is_the_kronecker_product(base, tmp_path):
    w1, w2 = random(4, 6), random(12, 8, seed=1)
    parts = {"lokr_w1": w1, "lokr_w2": w2, "alpha": torch.tensor(99.0)}  # without a rank, alpha has no effect
    torch.testing.assert_close(fused(base, tmp_path, parts), torch.kron(w1, w2), atol=1e-5, rtol=1e-5)


def test_lokr_of_products(base, tmp_path):
    w1_a, w1_b, w2_a, w2_b = random(4, 2), random(2, 6, seed=1), random(12, 2, seed=2), random(2, 8, seed=3)
    expected = 1.5 * torch.kron(w1_a @ w1_b, w2_a @ w2_b)
    parts = {"lokr_w1_a": w1_a, "lokr_w1_b": w1_b, "lokr_w2_a": w2_a, "lokr_w2_b": w2_b, "alpha": torch.tensor(3.0)}
    torch.testing.assert_close(fused(base, tmp_path, parts), expected, atol=1e-5, rtol=1e-5)
    mixed = {"lokr_w1": w1_a @ w1_b, "lokr_w2_a": w2_a, "lokr_w2_b": w2_b, "alpha": torch.tensor(3.0)}
    torch.testing.assert_close(fused(base, tmp_path, mixed), expected, atol=1e-5, rtol=1e-5)


def test_lokr_of_a_convolution(base, tmp_path):
    w1, w2 = random(6, 4), random(8, 9, 1, 2, 2, seed=1)
    state = {"patch_embedding.lokr_w1": w1, "patch_embedding.lokr_w2": w2}
    before = base.tensors("backbone")["patch_embedding.weight"]
    after = Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base)).fuse("patch_embedding.weight", before)
    expected = torch.einsum("ab,cdtyx->acbdtyx", w1, w2).reshape(48, 36, 1, 2, 2)
    torch.testing.assert_close(after - before, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("part", "shape", "method"),
    [
        ("dora_scale", (48, 1), "DoRA"),
        ("lora_magnitude_vector.weight", (48,), "DoRA"),
        ("lora_magnitude_vector.default.weight", (48,), "DoRA"),
        ("lora_mid.weight", (3, 3), "a Tucker decomposition"),
        ("hada_t1", (3, 3), "a Tucker decomposition"),
        ("oft_blocks", (4, 12, 12), "OFT"),
        ("a1.weight", (3, 48), "GLoRA"),
        ("on_input", (), "IA3"),
    ],
)
def test_other_methods_are_refused_by_name(base, tmp_path, part, shape, method):
    down, up = matrices()
    state = {f"{KOHYA}.lora_down.weight": down, f"{KOHYA}.lora_up.weight": up, f"{KOHYA}.{part}": torch.ones(shape)}
    with pytest.raises(UserError, match=rf"uses {method}.*{part}.*not supported; use a LoRA, LoKr or LoHa"):
        Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base))


def test_a_whole_model_is_not_a_lora(base, tmp_path):
    state = {f"{LAYER}.weight": torch.ones(48, 48)}
    with pytest.raises(UserError, match=rf"has {LAYER}\.weight, which is no part of a LoRA"):
        Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base))


@pytest.mark.parametrize("lost", ["hada_w1_b", "hada_w2_a"])
def test_an_incomplete_loha_is_refused(base, tmp_path, lost):
    parts = {"hada_w1_a": (48, 3), "hada_w1_b": (3, 48), "hada_w2_a": (48, 3), "hada_w2_b": (3, 48)}
    state = {f"{KOHYA}.{part}": torch.ones(shape) for part, shape in parts.items() if part != lost}
    with pytest.raises(UserError, match="lacks one of two matrices"):
        Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base))


@pytest.mark.parametrize(
    "parts",
    [
        {"lora_down.weight": torch.ones(3, 48), "lora_up.weight": torch.zeros(48, 3)},  # as initialised
        {"lora_down.weight": torch.ones(3, 48), "lora_up.weight": torch.ones(48, 3), "alpha": torch.tensor(0.0)},
        {"lokr_w1": torch.zeros(4, 6), "lokr_w2": torch.ones(12, 8)},
        {"diff": torch.zeros(48, 48), "diff_b": torch.zeros(48)},
        {"alpha": torch.tensor(3.0)},
    ],
)
def test_a_lora_that_changes_nothing_is_an_error(base, tmp_path, parts):
    state = {f"{KOHYA}.{part}": tensor for part, tensor in parts.items()}
    with pytest.raises(UserError, match="changes nothing: all its differences are zero"):
        Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base))


def test_a_lora_with_nan_is_an_error(base, tmp_path):
    with pytest.raises(UserError, match=r"NaN or infinite values for blocks\.1\.attn2\.to_q\.weight"):
        fused(base, tmp_path, {"diff": torch.full((48, 48), float("nan"))})


@pytest.mark.parametrize("text", ["a.safetensors:0", "a.safetensors:0.0", "a.safetensors:nan", "a.safetensors:inf"])
def test_a_strength_of_nothing_is_an_error(text):
    with pytest.raises(UserError, match="expected a finite number other than 0"):
        parse_lora(text)


@pytest.mark.parametrize(
    ("down", "up"), [((3, 96), (48, 3)), ((3, 48), (96, 3)), ((3, 48), (48, 2)), ((3, 96), (24, 3))]
)
def test_shapes_must_fit_the_layer(base, tmp_path, down, up):
    state = {f"{KOHYA}.lora_down.weight": torch.ones(down), f"{KOHYA}.lora_up.weight": torch.ones(up)}
    with pytest.raises(UserError, match="is for another model"):
        Lora(write(tmp_path / "l.safetensors", state), backbone_shapes(base))
