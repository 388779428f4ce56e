import json
import pickle
import shutil

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.checkpoints.export import save_shards
from fantasyportrait.checkpoints.formats import check_shapes, infer_adapter_config, open_as
from fantasyportrait.checkpoints.info import info
from fantasyportrait.checkpoints.key_mapping import ADAPTER, BACKBONE, TEXT_ENCODER, VAE
from fantasyportrait.checkpoints.loading import (
    check_model_folder,
    get_shapes,
    load_image_encoder,
    load_text_encoder,
    load_transformer,
    load_vae,
    on_meta_device,
)
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.random_init import write_random_base
from fantasyportrait.checkpoints.tensors import Tensors, open_tensors, save_tensors
from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import AUGMENTED, MODEL_CONFIGS, AdapterConfig
from fantasyportrait.pipeline import load_pipeline


def same(a, b):
    assert set(a) == set(b)
    for name in a:
        assert torch.equal(a[name], b[name]), name


# Names


def test_all_published_backbone_names_and_shapes(official):
    listed = official("wan_key_map.json")["wan_i2v_14b"]
    with on_meta_device():
        from fantasyportrait.model.transformer import build_transformer

        expected = get_shapes(build_transformer(MODEL_CONFIGS["14b"].backbone))
    assert {v["diffusers"]: tuple(v["shape"]) for v in listed.values()} == expected
    for name, entry in listed.items():
        assert BACKBONE.to_internal(name) == entry["diffusers"]
        assert BACKBONE.to_published(entry["diffusers"]) == name


def test_all_released_adapter_names_and_shapes(official):
    listed = official("wan_key_map.json")
    with torch.device("meta"):
        expected = get_shapes(MotionAdapter(AdapterConfig()))
    published = {f"ip_adapter.{k}": v for k, v in listed["ip_adapter"].items()} | listed["adapter"]
    assert {ADAPTER.to_internal(k): tuple(v["shape"]) for k, v in published.items()} == expected
    assert all(ADAPTER.to_published(ADAPTER.to_internal(k)) == k for k in published)
    assert (
        infer_adapter_config({ADAPTER.to_internal(k): tuple(v["shape"]) for k, v in published.items()})
        == AdapterConfig()
    )


def test_vae_names_agree_with_diffusers_own_conversion():
    from diffusers import AutoencoderKLWan

    with on_meta_device():
        ours = list(AutoencoderKLWan().state_dict())
    published = VAE.map_to_published(ours)
    assert convert_wan_vae_to_diffusers({p: o for o, p in published.items()}) == {o: o for o in ours}
    assert VAE.map_to_internal(published.values()) == {p: o for o, p in published.items()}


def test_unknown_names_map_to_none():
    assert BACKBONE.to_internal("blocks.3.self_attn.gate.weight") is None
    assert ADAPTER.to_published("layers.3.gate.weight") is None
    with pytest.raises(UserError, match="no place for strange"):
        TEXT_ENCODER.map_to_published(["strange.weight"])


# Conversions


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    convert(out=folder, random="tiny", seed=3)
    return folder


@pytest.fixture(scope="module")
def published(tiny, tmp_path_factory):
    """Return the tiny model in the published layouts."""
    out = tmp_path_factory.mktemp("published")
    convert(out=out, model=tiny, to="released")
    convert(out=out / "wan", base=tiny / "base", to="published")
    return out


def test_a_seed_gives_the_same_model(tiny, tmp_path):
    convert(out=tmp_path, random="tiny", seed=3)
    for file in sorted(p.relative_to(tiny) for p in tiny.rglob("*.safetensors")):
        assert (tmp_path / file).read_bytes() == (tiny / file).read_bytes()
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        convert(out=tmp_path, random="tiney")


def test_released_files_survive_a_round_trip(tiny, published, tmp_path):
    messages = convert(
        out=tmp_path,
        adapter=published / "fantasyportrait_model.ckpt",
        expression=published / "pd_fpg.pth",
        base=published / "wan",
    )
    assert "none missing, none left over" in messages[-1]
    before, after = ModelFolder(tiny), ModelFolder(tmp_path)
    same(before.adapter_tensors(), after.adapter_tensors())
    same(before.expression_tensors(), after.expression_tensors())
    assert before.adapter == after.adapter
    same(open_tensors(tiny / "empty_prompt.safetensors"), open_tensors(tmp_path / "empty_prompt.safetensors"))
    check_model_folder(after)


def test_the_released_pickle_has_the_four_groups(published):
    loaded = torch.load(published / "fantasyportrait_model.ckpt", weights_only=True)
    assert list(loaded) == ["proj_model", "mouth_proj_model", "emo_proj_model", "ip_adapter"]
    assert "blocks.1.cross_attn.processor.ip_adapter_single_stream_v_proj.weight" in loaded["ip_adapter"]
    assert "layers.0.1.3.weight" in loaded["mouth_proj_model"]


def test_the_flat_variant_holds_both_models_and_survives_a_round_trip(tiny, tmp_path):
    convert(out=tmp_path / "flat", model=tiny, to="flat")
    path = tmp_path / "flat/fantasyportrait.safetensors"
    names = set(open_tensors(path))
    assert "ip_adapter.blocks.0.cross_attn.ip_adapter_single_stream_k_proj.weight" in names
    assert "pd_fpg.to_mouth.0.weight" in names
    convert(out=tmp_path / "model", adapter=path, base=tiny / "base")
    same(ModelFolder(tiny).adapter_tensors(), ModelFolder(tmp_path / "model").adapter_tensors())
    same(ModelFolder(tiny).expression_tensors(), ModelFolder(tmp_path / "model").expression_tensors())


def test_both_layouts_of_the_base_give_the_same_modules(tiny, published):
    ours, theirs = WanCheckpoint(tiny / "base"), WanCheckpoint(published / "wan")
    assert ours.backbone == theirs.backbone
    for load in (lambda b: load_transformer(b, dtype=torch.float32), load_vae, load_text_encoder):
        same(load(ours).state_dict(), load(theirs).state_dict())
    a, b = load_image_encoder(ours), load_image_encoder(theirs)
    assert b.config.hidden_act == "gelu"
    assert a.config.num_attention_heads == b.config.num_attention_heads == 2
    same(a.state_dict(), b.state_dict())


def test_the_published_layout_converts_back_to_diffusers(tiny, published, tmp_path):
    convert(out=tmp_path, base=published / "wan", to="diffusers")
    for part in ("backbone", "VAE", "text encoder", "image encoder"):
        same(WanCheckpoint(tiny / "base").tensors(part), WanCheckpoint(tmp_path).tensors(part))
    assert WanCheckpoint(tmp_path).backbone == WanCheckpoint(tiny / "base").backbone


def test_shards_have_an_index_and_read_as_one(tmp_path):
    tensors = Tensors({f"t{i}": torch.full((10,), float(i)) for i in range(5)}, "")
    save_shards(tmp_path, "model", tensors, max_bytes=90)
    assert len(list(tmp_path.glob("model-*-of-00003.safetensors"))) == 3
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"]["t4"] == "model-00003-of-00003.safetensors"
    same(open_tensors(*sorted(tmp_path.glob("*.safetensors"))), dict(tensors))


def test_an_adapter_that_augments_everything_has_no_released_form(tiny, tmp_path):
    config = AdapterConfig(**{**vars(MODEL_CONFIGS["tiny"].adapter), "augmented": AUGMENTED["all"]})
    save_tensors(tmp_path / "a.safetensors", MotionAdapter(config).state_dict())
    tensors = open_as("adapter", open_tensors(tmp_path / "a.safetensors"))
    assert infer_adapter_config(tensors.shapes) == config
    with pytest.raises(UserError, match=r"no place for augment\.(head|eyes)"):
        ADAPTER.map_to_published(tensors)


def test_half_precision_is_kept_small(tiny, published, tmp_path):
    files = {"adapter": published / "fantasyportrait_model.ckpt", "expression": published / "pd_fpg.pth"}
    convert(out=tmp_path, **files, base=tiny / "base", dtype="bf16")
    assert info(tmp_path / "adapter.safetensors")["types"] == ["bfloat16"]


def test_a_base_in_half_precision_is_read_like_any_other(tmp_path):
    before = torch.get_default_dtype()
    write_random_base(tmp_path, MODEL_CONFIGS["tiny"], torch.bfloat16)
    assert torch.get_default_dtype() == before
    base = WanCheckpoint(tmp_path)
    assert {base.tensors("backbone").dtype(n) for n in base.tensors("backbone")} == {torch.bfloat16}
    model = load_transformer(base, dtype=torch.float32)
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.float32
    assert all(p.isfinite().all() for p in model.parameters())
    assert load_text_encoder(base).shared.weight.dtype == torch.bfloat16


# Checks


def changed(published, tmp_path, change):
    path = tmp_path / "changed.ckpt"
    state = torch.load(published / "fantasyportrait_model.ckpt", weights_only=True)
    change(state)
    torch.save(state, path)
    return path


def test_batch_counters_are_optional():
    tensors = Tensors({"a": torch.zeros(1)}, "file")
    check_shapes({"a": (1,), "norm.num_batches_tracked": ()}, tensors, "encoder")
    with pytest.raises(UserError, match=r"^file does not fit the encoder: 1 unexpected \(a\)$"):
        check_shapes({}, tensors, "encoder")
    check_shapes({}, tensors, "encoder", strict=False)
    with pytest.raises(UserError, match=r"1 missing \(b\); 1 of another shape \(a \[1\] for \[2\]\)"):
        check_shapes({"a": (2,), "b": (1,)}, tensors, "encoder", strict=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["emo_proj_model"].pop("proj_in.bias"), r"1 missing \(augment\.emotion\.proj_in\.bias\)"),
        (lambda s: s["proj_model"].update(extra=torch.zeros(1)), r"1 unexpected \(proj_model\.extra\)"),
        (lambda s: s["proj_model"].update({"norm.bias": torch.zeros(3)}), r"norm\.bias \[3\] for \[64\]"),
    ],
)
def test_nothing_is_written_from_a_checkpoint_that_does_not_fit(tiny, published, tmp_path, change, message):
    path = changed(published, tmp_path, change)
    with pytest.raises(UserError, match=message):
        convert(out=tmp_path / "out", adapter=path, expression=published / "pd_fpg.pth", base=tiny / "base")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_model_is_named(tiny, published, tmp_path):
    with pytest.raises(UserError, match=r"holds the VAE, published layout; expected the adapter"):
        convert(out=tmp_path, adapter=published / "wan/Wan2.1_VAE.pth", base=tiny / "base")
    torch.save({"w": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="holds no known model"):
        convert(out=tmp_path, adapter=tmp_path / "other.pt", base=tiny / "base")


def test_an_adapter_for_another_backbone_is_refused(tiny, tmp_path):
    wrong = AdapterConfig(**{**vars(MODEL_CONFIGS["tiny"].adapter), "num_layers": 3})
    save_tensors(tmp_path / "a.safetensors", MotionAdapter(wrong).state_dict())
    expression = tiny / "expression.safetensors"
    with pytest.raises(UserError, match=r"3 layers; .* has width 48 and 2 layers"):
        convert(out=tmp_path / "out", adapter=tmp_path / "a.safetensors", expression=expression, base=tiny / "base")


def test_a_missing_expression_encoder_is_reported_with_the_remedy(tiny, published, tmp_path):
    with pytest.raises(UserError, match="give --expression"):
        convert(out=tmp_path, adapter=published / "fantasyportrait_model.ckpt", base=tiny / "base")


class Evil:
    def __reduce__(self):
        return print, ("it ran",)


def test_broken_and_hostile_files_are_one_line_errors(tmp_path, tiny, capsys):
    files = {
        "empty.ckpt": b"",
        "cut.safetensors": (tiny / "adapter.safetensors").read_bytes()[:1000],
        "cut.ckpt": b"PK\x03\x04 nothing",
        "evil.pth": pickle.dumps(Evil()),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError) as raised:
            open_tensors(tmp_path / name)
        assert "\n" not in str(raised.value)
    assert "it ran" not in capsys.readouterr().out
    with pytest.raises(UserError, match="there is no file"):
        open_tensors(tmp_path / "absent.pt")


def test_a_missing_shard_is_named(tiny, tmp_path):
    source = WanCheckpoint(tiny / "base").tensors("backbone")
    save_shards(tmp_path / "transformer", "diffusion_pytorch_model", source, max_bytes=100_000)
    (tmp_path / "transformer/config.json").write_text('{"num_attention_heads": 2}')
    assert WanCheckpoint(tmp_path).backbone.num_layers == 2
    lost = sorted((tmp_path / "transformer").glob("*.safetensors"))[0]
    lost.unlink()
    with pytest.raises(UserError, match=f"lacks {lost.name}; finish the download"):
        WanCheckpoint(tmp_path).files("backbone")


def test_a_text_to_video_base_is_refused(tiny, tmp_path):
    source = WanCheckpoint(tiny / "base").tensors("backbone")
    kept = source.rename({n: n for n in source if "image_embedder" not in n})
    save_shards(tmp_path / "transformer", "diffusion_pytorch_model", kept)
    with pytest.raises(UserError, match="not an image-to-video model"):
        _ = WanCheckpoint(tmp_path).backbone


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="create one with: fantasyportrait convert"):
        load_pipeline(tmp_path)
    with pytest.raises(UserError, match="has no backbone; expected diffusion_pytorch_model"):
        WanCheckpoint(tmp_path).files("backbone")


# Info


def test_info_identifies_files_and_folders(tiny, published):
    assert info(tiny)["is"] == "model folder"
    assert info(tiny)["checkpoint"].startswith("random-tiny-seed3 sha256:")
    assert info(published / "wan")["parts"]["VAE"] == "VAE, published layout, 1 file(s)"
    description = info(published / "fantasyportrait_model.ckpt")
    assert description["is"] == "adapter, released layout"
    assert description["differences"] == "none"
    assert description["parameters"] == sum(
        p.numel() for p in MotionAdapter(MODEL_CONFIGS["tiny"].adapter).parameters()
    )
    assert info(published / "pd_fpg.pth")["is"] == "expression encoder, published layout"


def test_info_lists_differences(published, tmp_path):
    path = changed(published, tmp_path, lambda s: s["proj_model"].pop("norm.bias"))
    assert info(path)["differences"] == "1 missing (norm.bias)"


def test_info_refuses_other_files(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UserError, match="neither a checkpoint nor a video"):
        info(tmp_path / "a.txt")
    with pytest.raises(UserError, match="neither a model folder"):
        info(tmp_path)


def test_flags_that_do_not_go_together_are_refused():
    with pytest.raises(UserError, match="give --adapter and --base"):
        convert(out="x", base="y")


@pytest.mark.parametrize(
    ("part", "lost", "message"),
    [
        ("vae", "decoder.conv_out.bias", r"does not fit the VAE: 1 missing \(decoder\.conv_out\.bias\)"),
        (
            "image_encoder",
            "vision_model.encoder.layers.0.mlp.fc1.bias",
            r"does not fit the image encoder: 1 missing \(encoder\.layers\.0\.mlp\.fc1\.bias\)",
        ),
    ],
)
def test_every_component_is_checked_by_its_header(tiny, tmp_path, part, lost, message):
    shutil.copytree(tiny, tmp_path / "m")
    (path,) = (tmp_path / "m/base" / part).glob("*.safetensors")
    tensors = open_tensors(path)
    save_tensors(path, {n: tensors[n].clone() for n in tensors if n != lost})
    with pytest.raises(UserError, match=message):
        load_pipeline(tmp_path / "m")
