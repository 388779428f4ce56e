"""Names of tensors in the layouts, detection of formats, sizes inferred from shapes, and `info`."""

import re

import pytest
import torch

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.export import join_qkv, save_pickle
from fantasyportrait.checkpoints.formats import (
    check_shapes,
    detect_format,
    infer_adapter_config,
    infer_backbone_config,
    infer_image_encoder_config,
    infer_text_encoder_config,
    open_as,
)
from fantasyportrait.checkpoints.info import info
from fantasyportrait.checkpoints.key_mapping import IMAGE_ENCODER, TEXT_ENCODER
from fantasyportrait.checkpoints.tensors import Tensors, save_tensors
from fantasyportrait.model.configs import AdapterConfig, BackboneConfig


def named(*names):
    return Tensors({name: torch.zeros(2, 3) for name in names}, "a file")


# Names


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("token_embedding.weight", "shared.weight"),
        ("norm.weight", "encoder.final_layer_norm.weight"),
        ("blocks.12.norm1.weight", "encoder.block.12.layer.0.layer_norm.weight"),
        ("blocks.0.norm2.weight", "encoder.block.0.layer.1.layer_norm.weight"),
        ("blocks.0.attn.o.weight", "encoder.block.0.layer.0.SelfAttention.o.weight"),
        ("blocks.0.attn.k.weight", "encoder.block.0.layer.0.SelfAttention.k.weight"),
        (
            "blocks.3.pos_embedding.embedding.weight",
            "encoder.block.3.layer.0.SelfAttention.relative_attention_bias.weight",
        ),
        ("blocks.0.ffn.gate.0.weight", "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"),  # the one with a GELU
        ("blocks.0.ffn.fc1.weight", "encoder.block.0.layer.1.DenseReluDense.wi_1.weight"),
        ("blocks.0.ffn.fc2.weight", "encoder.block.0.layer.1.DenseReluDense.wo.weight"),
    ],
)
def test_names_of_the_text_encoder(published, ours):
    assert TEXT_ENCODER.to_internal(published) == ours
    assert TEXT_ENCODER.to_published(ours) == published


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("visual.cls_embedding", "embeddings.class_embedding"),
        ("visual.pos_embedding", "embeddings.position_embedding.weight"),
        ("visual.patch_embedding.weight", "embeddings.patch_embedding.weight"),
        ("visual.pre_norm.bias", "pre_layrnorm.bias"),
        ("visual.post_norm.bias", "post_layernorm.bias"),
        ("visual.transformer.31.norm1.weight", "encoder.layers.31.layer_norm1.weight"),
        ("visual.transformer.0.norm2.weight", "encoder.layers.0.layer_norm2.weight"),
        ("visual.transformer.0.attn.q.bias", "encoder.layers.0.self_attn.q_proj.bias"),
        ("visual.transformer.0.attn.v.bias", "encoder.layers.0.self_attn.v_proj.bias"),
        ("visual.transformer.0.attn.proj.bias", "encoder.layers.0.self_attn.out_proj.bias"),
        ("visual.transformer.0.mlp.0.bias", "encoder.layers.0.mlp.fc1.bias"),
        ("visual.transformer.0.mlp.2.bias", "encoder.layers.0.mlp.fc2.bias"),
    ],
)
def test_names_of_the_image_encoder(published, ours):
    assert IMAGE_ENCODER.to_internal(published) == ours
    assert IMAGE_ENCODER.to_published(ours) == published


def test_queries_keys_and_values_are_published_in_this_order_in_one_tensor():
    place = "visual.transformer.0.attn"
    published = {
        f"{place}.to_qkv.bias": torch.arange(6.0),
        "visual.cls_embedding": torch.zeros(1, 1, 4),
        "visual.pos_embedding": torch.zeros(1, 5, 4),
        "visual.transformer.0.attn.to_qkv.weight": torch.zeros(6, 2),
        "textual.norm.weight": torch.zeros(1),
    }
    ours = open_as("image encoder", Tensors(published, ""))
    attention = "encoder.layers.0.self_attn"
    values = {w: ours[f"{attention}.{w}_proj.bias"].tolist() for w in "qkv"}
    assert values == {"q": [0, 1], "k": [2, 3], "v": [4, 5]}
    assert ours.shape("embeddings.class_embedding") == (4,)
    assert ours.shape("embeddings.position_embedding.weight") == (5, 4)
    assert not any("norm" in name for name in ours)  # the textual half
    joined = join_qkv(dict(ours.rename(IMAGE_ENCODER.map_to_published(ours))))
    assert joined[f"{place}.to_qkv.bias"].tolist() == [0, 1, 2, 3, 4, 5]
    assert {name: t.shape for name, t in joined.items()} == {n: published[n].shape for n in joined}
    assert len(joined) == 4


# Formats

SIGNS = {
    "adapter, our layout": ["linear.head.weight", "layers.0.to_k.weight"],
    "adapter, released layout": [
        "proj_model.eye_proj.weight",
        "ip_adapter.blocks.0.cross_attn.processor.ip_adapter_single_stream_k_proj.weight",
    ],
    "adapter, flat layout": [
        "proj_model.eye_proj.weight",
        "ip_adapter.blocks.0.cross_attn.ip_adapter_single_stream_k_proj.weight",
    ],
    "expression encoder, published layout": ["model.conv6.weight", "to_mouth.0.weight"],
    "backbone, published layout": ["blocks.0.self_attn.q.weight", "patch_embedding.weight"],
    "backbone, diffusers layout": ["blocks.0.attn1.to_q.weight", "patch_embedding.weight"],
    "VAE, published layout": ["encoder.downsamples.0.residual.0.gamma", "conv2.weight"],
    "VAE, diffusers layout": ["encoder.down_blocks.0.norm1.gamma", "post_quant_conv.weight"],
    "text encoder, published layout": ["token_embedding.weight", "blocks.0.pos_embedding.embedding.weight"],
    "text encoder, transformers layout": ["shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"],
    "image encoder, published layout": ["visual.cls_embedding", "visual.transformer.0.attn.to_qkv.weight"],
    "image encoder, transformers layout": ["vision_model.embeddings.class_embedding"],
}


@pytest.mark.parametrize("kind", SIGNS)
def test_models_are_recognised_by_all_of_their_signs(kind):
    signs = SIGNS[kind]
    assert str(detect_format(named("another", *signs))[0]) == kind
    for sign in signs:
        assert detect_format(named("another", *(other for other in signs if other != sign))) is None


@pytest.mark.parametrize(
    "prefix", ["model.diffusion_model.", "diffusion_model.", "module.", "state_dict.", "model_state.", "pd_fpg."]
)
def test_a_wrapping_that_some_files_have_is_taken_off(prefix):
    signs = SIGNS["backbone, diffusers layout"]
    found = open_as("backbone", named(*(prefix + sign for sign in signs), "other"))
    assert set(found) == set(signs)


def test_the_flat_adapter_file_is_read_without_the_encoder_in_it():
    found = open_as("adapter", named(*SIGNS["adapter, flat layout"], "pd_fpg.model.conv6.weight"))
    assert set(found) == {"linear.eyes.weight", "layers.0.to_k.weight"}


def test_a_tensor_without_a_name_of_ours_keeps_its_own():
    found = open_as("adapter", named(*SIGNS["adapter, released layout"], "proj_model.extra"))
    assert "proj_model.extra" in found


def shaped(**shapes):
    return Tensors({name: torch.zeros(shape) for name, shape in shapes.items()}, "a file")


def test_shapes_of_one_rank_differ_too_and_the_first_three_names_are_given():
    expected = {f"t{i}": (2, 3) for i in range(4)} | {"same": (2, 3)}
    check_shapes(expected, shaped(**expected), "VAE")
    message = "a file does not fit the VAE: 4 of another shape " + re.escape(
        "(t0 [3, 2] for [2, 3], t1 [3, 2] for [2, 3], t2 [3, 2] for [2, 3], ...)"
    )
    with pytest.raises(UserError, match=f"^{message}$"):
        check_shapes(expected, shaped(**{f"t{i}": (3, 2) for i in range(4)}, same=(2, 3)), "VAE")
    with pytest.raises(UserError, match=r": 3 missing \(t0, t1, t2\)$"):
        check_shapes({f"t{i}": () for i in range(3)}, shaped(), "VAE")


def test_counters_of_batches_can_be_absent_and_surplus_tensors_are_allowed_unless_strict():
    counter = {"norm.num_batches_tracked": ()}
    check_shapes(counter, shaped(), "VAE")
    check_shapes(counter, shaped(extra=()), "VAE", strict=False)
    with pytest.raises(UserError, match=r": 1 unexpected \(extra\)$"):
        check_shapes(counter, shaped(extra=()), "VAE")
    with pytest.raises(UserError, match=r": 1 missing \(norm\.num_batches_tracked\.x\)$"):
        check_shapes({"norm.num_batches_tracked.x": ()}, shaped(), "VAE", strict=False)


# Sizes


def test_an_adapters_size_is_that_of_its_shapes():
    shapes = {f"layers.{i}.to_k.weight": (48, 64) for i in range(11)} | {"linear.head.weight": (64, 6)}
    assert infer_adapter_config(shapes) == AdapterConfig(num_layers=11, dim=48, token_dim=64, augmented=())
    augment = {"augment.emotion.queries": (4, 128)} | {
        f"augment.emotion.layers.{i}.norm.weight": (1,) for i in range(3)
    }
    size = AdapterConfig(num_layers=11, dim=48, token_dim=64, query_dim=128, depth=3, augmented=("emotion",))
    assert infer_adapter_config({**shapes, **augment}) == size


def backbone_shapes(**changes):
    embedder = "condition_embedder"
    return {
        "patch_embedding.weight": (512, 36, 1, 2, 2),
        **{f"blocks.{i}.ffn.net.0.proj.weight": (96, 512) for i in range(11)},
        f"{embedder}.time_embedder.linear_1.weight": (512, 32),
        f"{embedder}.text_embedder.linear_1.weight": (512, 24),
        f"{embedder}.image_embedder.norm1.weight": (160,),
        "proj_out.weight": (64, 512),
        **changes,
    }


@pytest.mark.parametrize(("given", "heads", "width"), [(None, 4, 128), (8, 8, 64)])
def test_a_backbones_size_is_that_of_its_shapes(given, heads, width):
    size = BackboneConfig(
        num_layers=11, num_attention_heads=heads, attention_head_dim=width, ffn_dim=96, freq_dim=32, text_dim=24,
        image_dim=160, in_channels=36, out_channels=16,
    )  # fmt: skip
    assert infer_backbone_config(backbone_shapes(), given) == size
    shapes = backbone_shapes()
    del shapes["condition_embedder.image_embedder.norm1.weight"]
    assert infer_backbone_config(shapes).image_dim == 0


def test_a_text_encoders_size_is_that_of_its_shapes():
    layer = "encoder.block.0.layer"
    shapes = {
        f"{layer}.0.SelfAttention.relative_attention_bias.weight": (32, 6),
        "shared.weight": (64, 24),
        f"{layer}.0.SelfAttention.q.weight": (48, 24),
        f"{layer}.1.DenseReluDense.wi_0.weight": (40, 24),
        "encoder.block.1.layer.0.layer_norm.weight": (24,),
    }
    assert infer_text_encoder_config(shapes) == {
        "vocab_size": 64, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_heads": 6, "num_layers": 2,
        "relative_attention_num_buckets": 32, "feed_forward_proj": "gated-gelu",
    }  # fmt: skip


@pytest.mark.parametrize(("given", "heads"), [(None, 2), (5, 5)])
def test_an_image_encoders_size_is_that_of_its_shapes(given, heads):
    shapes = {
        "embeddings.class_embedding": (160,),
        "embeddings.patch_embedding.weight": (160, 3, 14, 14),
        "embeddings.position_embedding.weight": (257, 160),
        "encoder.layers.0.mlp.fc1.weight": (64, 160),
        "encoder.layers.1.mlp.fc1.weight": (64, 160),
    }
    assert infer_image_encoder_config(shapes, given) == {
        "hidden_size": 160, "intermediate_size": 64, "num_attention_heads": heads, "num_hidden_layers": 2,
        "patch_size": 14, "image_size": 224, "hidden_act": "gelu",
    }  # fmt: skip


# Info


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin", "a.ckpt", "a.safetensors"])
def test_info_on_a_file_of_something_else(tmp_path, name):
    tensors = {f"t{i}": torch.zeros(2, 3, dtype=[torch.float32, torch.bfloat16][i % 2]) for i in range(6)}
    (save_tensors if name.endswith("safetensors") else save_pickle)(tmp_path / name, tensors)
    assert info(tmp_path / name) == {
        "is": "unknown",
        "tensors": 6,
        "parameters": 36,
        "types": ["bfloat16", "float32"],
        "first names": ["t0", "t1", "t2", "t3", "t4"],
    }


def test_info_on_a_download_names_each_part_and_what_is_missing(tmp_path):
    save_tensors(tmp_path / "vae/a.safetensors", {n: torch.zeros(1) for n in SIGNS["VAE, diffusers layout"]})
    save_tensors(tmp_path / "text_encoder/a.safetensors", {"other": torch.zeros(1)})
    parts = {"backbone": "missing", "VAE": "VAE, diffusers layout, 1 file(s)", "text encoder": "not recognised",
             "image encoder": "missing"}  # fmt: skip
    assert info(tmp_path) == {"is": "Wan2.1 download", "path": str(tmp_path), "parts": parts}
