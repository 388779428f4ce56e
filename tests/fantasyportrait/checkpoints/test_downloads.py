"""Wan2.1 as it is downloaded: sharded, with its index beside the other parts, in both layouts."""

import json
import shutil

import pytest
import torch

from exprbench.core.errors import UserError
from exprbench.media import read_clip
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.checkpoints.info import info
from fantasyportrait.checkpoints.loading import (
    check_model_folder,
    get_shapes,
    load_image_encoder,
    load_text_encoder,
    load_transformer,
    load_vae,
)
from fantasyportrait.checkpoints.model_folder import ModelFolder, WanCheckpoint
from fantasyportrait.checkpoints.shards import find_checkpoint
from fantasyportrait.cli import main
from tests.fantasyportrait import downloads
from tests.people import clip, person, still

LAYOUTS = ("published", "diffusers")
PARTS = ("backbone", "VAE", "text encoder", "image encoder")


@pytest.fixture(scope="module")
def source():
    return downloads.tiny_pipeline()


@pytest.fixture(scope="module")
def bases(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    downloads.write_published(source, folder / "published")
    downloads.write_diffusers(source, folder / "diffusers")
    return {layout: folder / layout for layout in LAYOUTS}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    convert(out=folder / "tiny", random="tiny")
    convert(out=folder, model=folder / "tiny", to="released")
    return {"adapter": folder / "fantasyportrait_model.ckpt", "expression": folder / "pd_fpg.pth"}


def test_the_files_are_laid_out_as_downloaded(bases):
    root = {path.name for path in bases["published"].iterdir()}
    assert {"diffusion_pytorch_model.safetensors.index.json", "config.json", "Wan2.1_VAE.pth", "google"} <= root
    assert sum(name.startswith("diffusion_pytorch_model-") for name in root) == 7
    folders = {path.name for path in bases["diffusers"].iterdir()}
    assert folders >= {"model_index.json", "transformer", "vae", "text_encoder", "image_encoder", "tokenizer"}
    for part in ("transformer/diffusion_pytorch_model", "text_encoder/model"):
        assert (bases["diffusers"] / f"{part}.safetensors.index.json").is_file()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_component_has_the_weights_of_its_source(source, bases, layout):
    base = WanCheckpoint(bases[layout])
    precision = {"atol": 1e-2, "rtol": 1e-2} if layout == "published" else {"atol": 0, "rtol": 0}  # bf16 and fp16 files
    pairs = [
        (load_transformer(base, dtype=torch.float32), source.transformer, {"atol": 0, "rtol": 0}),
        (load_vae(base), source.vae, {"atol": 0, "rtol": 0}),
        (load_text_encoder(base, dtype=torch.float32), source.text_encoder, precision),
        (load_image_encoder(base), source.image_encoder, precision),
    ]
    for loaded, original, tolerance in pairs:
        expected = original.state_dict()
        assert get_shapes(loaded) == get_shapes(original)
        for name, tensor in loaded.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], **tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_info_and_convert_find_every_part(bases, released, layout, tmp_path):
    assert {part: text.split(",")[0] for part, text in info(bases[layout])["parts"].items()} == {p: p for p in PARTS}
    messages = convert(out=tmp_path / "m", base=bases[layout], **released)
    assert len(messages) == 1  # no note about a missing text encoder
    assert "none missing, none left over" in messages[0]
    assert (tmp_path / "m/empty_prompt.safetensors").is_file()
    check_model_folder(ModelFolder(tmp_path / "m"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_samples_with_a_prompt(bases, released, layout, tmp_path):
    convert(out=tmp_path / "m", base=bases[layout], **released)
    still(tmp_path / "p.png", person(1))
    clip(tmp_path / "d.mp4", 5, person(5, x=0.4, seed=3))
    words = ["sample", "--model", tmp_path / "m", "--portrait", tmp_path / "p.png", "--driver", tmp_path / "d.mp4"]
    words += ["--out", tmp_path / "o.mp4", "--steps", 1, "--max-side", 64, "--prompt", "a woman sings"]
    assert main([*map(str, words), "--text-guidance", "2", "--negative-prompt", "blurry"]) == 0
    assert len(read_clip(tmp_path / "o.mp4")[0]) == 5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_other_layout_and_back_gives_the_same_tensors(bases, layout, tmp_path):
    other = LAYOUTS[1 - LAYOUTS.index(layout)]
    assert convert(out=tmp_path / "a", base=bases[layout], to=other) == [f"wrote {tmp_path / 'a'} in {other} layout"]
    assert convert(out=tmp_path / "b", base=tmp_path / "a", to=layout) == [f"wrote {tmp_path / 'b'} in {layout} layout"]
    for part in PARTS:
        before, after = (WanCheckpoint(folder).tensors(part) for folder in (bases[layout], tmp_path / "b"))
        used = {n: t for n, t in before.items() if n != "encoder.embed_tokens.weight"}
        assert set(used) == set(after)
        assert all(torch.equal(used[n], after[n]) for n in used)
    assert WanCheckpoint(tmp_path / "b").tokenizer


def test_an_image_encoder_saved_by_transformers_5_has_the_same_tensors(source, bases, tmp_path):
    source.image_encoder.save_pretrained(tmp_path / "image_encoder")
    bare, prefixed = (WanCheckpoint(folder).tensors("image encoder") for folder in (tmp_path, bases["diffusers"]))
    assert set(bare) == set(prefixed)
    assert all(torch.equal(bare[n], prefixed[n]) for n in bare)


# A part is found by its own stem


def touch(folder, *names, index=()):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    for name, files in dict(index).items():
        (folder / name).write_text(json.dumps({"weight_map": {str(i): file for i, file in enumerate(files)}}))
    return folder


def found(folder, pattern="model*.safetensors"):
    return [path.name for path in find_checkpoint(folder, pattern)]


def test_an_index_of_another_part_is_left_alone(tmp_path):
    touch(tmp_path, "model.safetensors", index={"other.safetensors.index.json": ["other-1-of-2.safetensors"]})
    assert found(tmp_path) == ["model.safetensors"]


def test_an_index_selects_its_files_among_leftovers(tmp_path):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    leftover = "model-00001-of-00003.safetensors"
    touch(tmp_path, *shards, leftover, index={"model.safetensors.index.json": shards})
    assert found(tmp_path) == shards
    (tmp_path / "model.safetensors.index.json").unlink()
    with pytest.raises(UserError, match=r"shards of several checkpoints \(of 00002, 00003\); keep one"):
        found(tmp_path)


def test_a_plain_file_is_preferred_to_its_variants(tmp_path):
    touch(tmp_path, "model.safetensors", "model.fp16.safetensors")
    assert found(tmp_path) == ["model.safetensors"]
    (tmp_path / "model.safetensors").unlink()
    assert found(tmp_path) == ["model.fp16.safetensors"]
    shards = [f"model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    touch(tmp_path / "b", *shards, index={"model.safetensors.index.fp16.json": shards})
    assert found(tmp_path / "b") == shards


def test_two_checkpoints_of_one_part_are_refused(tmp_path):
    touch(tmp_path, "models_t5_umt5-xxl-enc-bf16.pth", "models_t5_umt5-xxl-enc-fp8.safetensors")
    with pytest.raises(UserError, match=r"several checkpoints of one component \(models_t5.*\); keep one"):
        found(tmp_path, "models_t5_*")
    touch(tmp_path / "b", "models_t5_umt5-xxl-enc-bf16.pth", "models_t5_umt5-xxl-enc-bf16.pth.incomplete")
    assert found(tmp_path / "b", "models_t5_*") == ["models_t5_umt5-xxl-enc-bf16.pth"]


@pytest.mark.parametrize("with_index", [True, False])
def test_missing_shards_are_named_with_and_without_an_index(tmp_path, with_index):
    shards = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    touch(tmp_path, *shards[:2], index={"model.safetensors.index.json": shards} if with_index else {})
    with pytest.raises(UserError, match=r"lacks model-00003-of-00003\.safetensors; finish the download"):
        found(tmp_path)


def test_an_index_without_any_shard_is_an_unfinished_download(tmp_path):
    touch(tmp_path, index={"model.safetensors.index.json": ["model-00001-of-00001.safetensors"]})
    with pytest.raises(UserError, match="finish the download"):
        found(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match="lists no files; download it again"):
        found(tmp_path)


def test_an_incomplete_part_is_an_error_not_a_missing_part(bases, released, tmp_path):
    shutil.copytree(bases["diffusers"], tmp_path / "base")
    lost = sorted((tmp_path / "base/text_encoder").glob("model-*"))[0]
    lost.unlink()
    with pytest.raises(UserError, match=f"lacks {lost.name}; finish the download"):
        convert(out=tmp_path / "m", base=tmp_path / "base", **released)
    with pytest.raises(UserError, match=f"lacks {lost.name}"):
        convert(out=tmp_path / "p", base=tmp_path / "base", to="published")
    assert f"lacks {lost.name}" in info(tmp_path / "base")["parts"]["text encoder"]


def test_a_base_without_encoders_is_converted_with_a_note(bases, tmp_path):
    shutil.copytree(bases["diffusers"], tmp_path / "base")
    shutil.rmtree(tmp_path / "base/text_encoder")
    assert convert(out=tmp_path / "p", base=tmp_path / "base", to="published")[1:] == [
        f"skipped: {tmp_path / 'base'} has no text encoder"
    ]
