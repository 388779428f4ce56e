"""Model folders and downloads: what conversion writes, and what is read from it."""

import json
import shutil

import pytest
import torch

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.checkpoints.export import save_base
from fantasyportrait.checkpoints.info import info
from fantasyportrait.checkpoints.loading import (
    check_model_folder,
    load_text_encoder,
)
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.tensors import open_tensors, save_tensors
from fantasyportrait.model.text_image_encoders import encode_prompt, tokenize_prompt
from tests.fantasyportrait.checkpoints.test_loading import TINY, contents
from tests.writing import assert_atomic


def test_a_model_folder_names_its_adapter_its_hashes_and_its_base_relative_to_itself(tiny, tmp_path):
    shutil.copytree(tiny / "base", tmp_path / "wan")
    files = {"adapter": tiny / "adapter.safetensors", "expression": tiny / "expression.safetensors"}
    convert(out=tmp_path / "models/m", **files, base=tmp_path / "wan")
    manifest = contents(tmp_path / "models/m/fantasyportrait.json")
    hashes = {name: sha256_path(tmp_path / "models/m" / path.name) for name, path in files.items()}
    assert manifest == {
        "format": 1,
        "adapter": {
            "from": "adapter.safetensors",
            "sha256": hashes["adapter"],
            "config": {**vars(TINY.adapter), "augmented": list(TINY.adapter.augmented)},
        },
        "expression": {"sha256": hashes["expression"]},
        "base": "../../wan",
    }
    (tmp_path / "models").rename(tmp_path / "moved")
    folder = ModelFolder(tmp_path / "moved/m")
    assert folder.base.backbone == TINY.backbone
    assert folder.name == f"adapter.safetensors sha256:{hashes['adapter'][:16]}"
    assert folder.adapter == TINY.adapter


def test_only_the_adapter_is_written_in_the_precision_asked_for(tiny, tmp_path):
    files = {"adapter": tiny / "adapter.safetensors", "expression": tiny / "expression.safetensors"}
    for name, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
        convert(out=tmp_path / name, **files, base=tiny / "base", dtype=name)
        adapter, expression = (open_tensors(tmp_path / name / path.name) for path in files.values())
        assert {adapter.dtype(n) for n in adapter} == {dtype}
        assert {expression.dtype(n) for n in expression if "num_batches" not in n} == {torch.float32}


def test_tensors_that_the_expression_encoder_does_not_use_are_left_out_and_named(tiny, tmp_path, capsys):
    tensors = open_tensors(tiny / "expression.safetensors")
    save_tensors(tmp_path / "e.safetensors", {**tensors, "decoder.w": torch.zeros(1), "x": torch.zeros(1)})
    files = {"adapter": tiny / "adapter.safetensors", "expression": tmp_path / "e.safetensors"}
    convert(out=tmp_path / "m", **files, base=tiny / "base")
    assert "skipped 2 tensors that the encoder does not use (decoder.w ...)" in capsys.readouterr().err
    assert set(open_tensors(tmp_path / "m/expression.safetensors")) == set(tensors)


def test_the_empty_prompt_is_embedded_where_there_is_a_text_encoder(tiny, copied, tmp_path):
    expected = encode_prompt(load_text_encoder(WanCheckpoint(tiny / "base")), tokenize_prompt("", None))
    assert torch.equal(open_tensors(tiny / "empty_prompt.safetensors")["empty"], expected)
    shutil.rmtree(copied / "base/text_encoder")
    files = {"adapter": tiny / "adapter.safetensors", "expression": tiny / "expression.safetensors"}
    lines = convert(out=tmp_path / "m", **files, base=copied / "base")
    assert "no embedding of the empty prompt" in lines[0]
    assert not (tmp_path / "m/empty_prompt.safetensors").exists()


def test_a_model_folder_is_whole_once_its_description_is_written(copied, monkeypatch):
    manifest = copied / "fantasyportrait.json"
    assert_atomic(lambda: ModelFolder(copied).write_manifest({"adapter": {}}), manifest, monkeypatch)


def test_the_published_layout_has_its_authors_files_and_configuration(published):
    names = {path.name for path in published.iterdir()}
    assert names == {
        "config.json", "diffusion_pytorch_model.safetensors", "Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth",
        "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", "google",
    }  # fmt: skip
    assert contents(published / "config.json") == {
        "_class_name": "WanModel", "model_type": "i2v", "dim": 48, "ffn_dim": 96, "freq_dim": 32, "in_dim": 36,
        "out_dim": 16, "num_heads": 2, "num_layers": 2, "text_len": 512, "eps": 1e-6,
    }  # fmt: skip
    assert "encoder.embed_tokens.weight" not in open_tensors(published / "models_t5_umt5-xxl-enc-bf16.pth")


def test_the_diffusers_layout_says_what_each_part_is(published, tmp_path):
    assert save_base(WanCheckpoint(published), tmp_path, "diffusers") == []
    configs = {path.parent.name: contents(path) for path in tmp_path.glob("*/config.json")}
    assert configs["transformer"] == {
        "_class_name": "WanTransformer3DModel", "patch_size": [1, 2, 2], **TINY.backbone.to_diffusers()}  # fmt: skip
    assert configs["vae"] == {"_class_name": "AutoencoderKLWan", "base_dim": 4, "z_dim": 16}
    text, image = configs["text_encoder"], configs["image_encoder"]
    assert (text["architectures"], text["model_type"], text["d_kv"]) == (["UMT5EncoderModel"], "umt5", 8)
    assert (image["architectures"], image["model_type"]) == (["CLIPVisionModel"], "clip_vision_model")
    assert (image["num_attention_heads"], image["image_size"]) == (2, 224)
    assert all(n.startswith("vision_model.") for n in open_tensors(tmp_path / "image_encoder/model.safetensors"))


@pytest.mark.parametrize(("layout", "place"), [("diffusers", "tokenizer"), ("published", "google/umt5-xxl")])
@pytest.mark.parametrize("source", ["tokenizer", "google/umt5-xxl"])
def test_the_tokenizer_goes_along_and_missing_parts_are_named(tmp_path, source, layout, place):
    (tmp_path / "a" / source).mkdir(parents=True)
    (tmp_path / "a" / source / "spiece.model").write_text("words")
    base = WanCheckpoint(tmp_path / "a")
    assert base.tokenizer == tmp_path / "a" / source
    lines = convert(out=tmp_path / "b", base=tmp_path / "a", to=layout)
    assert len(lines) == 5
    assert all(line.startswith(f"skipped: {tmp_path / 'a'} has no ") for line in lines[1:])
    assert (tmp_path / "b" / place / "spiece.model").read_text() == "words"


def test_an_unknown_layout_is_refused(tiny, tmp_path):
    with pytest.raises(UserError, match="unknown layout 'comfy'; known: diffusers, published"):
        save_base(WanCheckpoint(tiny / "base"), tmp_path, "comfy")
    with pytest.raises(UserError, match="give --adapter"):
        convert(out=tmp_path, base=tiny / "base", to="comfy")
    with pytest.raises(UserError, match="give --adapter"):
        convert(out=tmp_path, model=tiny, to="diffusers")


@pytest.mark.parametrize("name", ["num_heads", "num_attention_heads"])
def test_heads_are_counted_by_the_configuration(copied, name):
    (copied / "base/transformer/config.json").write_text(json.dumps({name: 3}))
    size = WanCheckpoint(copied / "base").backbone
    assert (size.num_attention_heads, size.attention_head_dim) == (3, 16)


def test_an_image_encoders_heads_are_read_from_its_own_configuration_alone(copied):
    base, config = WanCheckpoint(copied / "base"), copied / "base/image_encoder/config.json"
    config.write_text('{"num_attention_heads": 5, "hidden_size": 160}')
    assert base.image_encoder_num_heads == 5
    config.write_text('{"num_attention_heads": 5}')  # a published download has the backbone's there
    assert base.image_encoder_num_heads is None


def test_the_published_files_are_taken_first_and_in_order(tmp_path):
    base = WanCheckpoint(tmp_path)
    (tmp_path / "transformer").mkdir()
    names = [f"transformer/diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (3, 1, 2)]
    for name in names:
        (tmp_path / name).touch()
    assert base.files("backbone") == tuple(tmp_path / name for name in sorted(names))
    (tmp_path / "diffusion_pytorch_model.safetensors").touch()
    assert base.files("backbone") == (tmp_path / "diffusion_pytorch_model.safetensors",)


def test_the_backbones_index_is_not_the_vaes(tmp_path):
    index = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "Wan2.1_VAE.pth").touch()
    assert WanCheckpoint(tmp_path).files("VAE") == (tmp_path / "Wan2.1_VAE.pth",)


def test_a_backbone_of_other_inputs_is_refused(copied):
    (path,) = (copied / "base/transformer").glob("*.safetensors")
    tensors = dict(open_tensors(path))
    save_tensors(path, {**tensors, "patch_embedding.weight": torch.zeros(48, 16, 1, 2, 2)})
    with pytest.raises(UserError, match="not an image-to-video model"):
        _ = WanCheckpoint(copied / "base").backbone


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2; this version reads 1"),
        ({"format": None}, "has format None"),
        ({"base": None}, "has no entry for base"),
        ({"adapter": None}, "has no entry for adapter"),
    ],
)
def test_a_description_of_another_format_or_with_a_part_missing_is_refused(tmp_path, change, message):
    manifest = {"format": 1, "adapter": {}, "expression": {}, "base": "base", **change}
    (tmp_path / "fantasyportrait.json").write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
    with pytest.raises(UserError, match=message):
        _ = ModelFolder(tmp_path).manifest


@pytest.mark.parametrize(("text", "message"), [('{"a": ', "is not valid JSON"), ("[1]", "holds a list, not an object")])
def test_a_broken_configuration_is_named(copied, text, message):
    (copied / "base/transformer/config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        _ = WanCheckpoint(copied / "base").backbone


@pytest.mark.parametrize(
    ("file", "lost", "what"),
    [
        ("adapter.safetensors", "norm.bias", "adapter"),
        ("expression.safetensors", "to_mouth.0.bias", "expression encoder"),
        ("base/transformer/diffusion_pytorch_model.safetensors", "proj_out.bias", "backbone"),
    ],
)
def test_a_part_that_lacks_a_tensor_is_found_from_headers(copied, file, lost, what):
    tensors = open_tensors(copied / file)
    save_tensors(copied / file, {n: tensors[n].clone() for n in tensors if n != lost})
    with pytest.raises(UserError, match=f"does not fit the {what}: 1 missing"):
        info(copied)


@pytest.mark.parametrize("change", [{"num_layers": 3}, {"dim": 96}])
def test_an_adapter_of_another_size_than_the_backbone_is_found_from_headers(copied, change):
    path = copied / "fantasyportrait.json"
    manifest = contents(path)
    manifest["adapter"]["config"] |= change
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="the adapter is for a backbone of width"):
        check_model_folder(ModelFolder(copied))


def test_info_on_a_folder_gives_its_checkpoint_and_sizes(tiny):
    found = info(tiny)
    assert (found["is"], found["checkpoint"]) == ("model folder", ModelFolder(tiny).name)
    assert found["adapter"]["token_dim"] == 64
    assert found["base"]["size"] == vars(TINY.backbone)
    assert set(found["base"]["parts"].values()) == {
        "backbone, diffusers layout, 1 file(s)", "VAE, diffusers layout, 1 file(s)",
        "text encoder, transformers layout, 1 file(s)", "image encoder, transformers layout, 1 file(s)",
    }  # fmt: skip
