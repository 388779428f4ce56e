"""The encoders with published tensors, compared with plain functions of the published architecture."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from exprbench.core.errors import UserError
from fantasyportrait.checkpoints.convert import convert
from fantasyportrait.checkpoints.loading import load_image_encoder, load_text_encoder
from fantasyportrait.checkpoints.model_folder import WanCheckpoint
from fantasyportrait.checkpoints.tensors import open_tensors
from fantasyportrait.model.text_image_encoders import (
    CLIP_MEAN,
    CLIP_STD,
    clean_prompt,
    encode_image,
    encode_prompt,
    tokenize_prompt,
)
from tests.closeness import assert_close


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    out = tmp_path_factory.mktemp("published")
    convert(out=out / "tiny", random="tiny")
    convert(out=out / "wan", base=out / "tiny/base", to="published")
    return WanCheckpoint(out / "wan")


def buckets(length, num=32, farthest=128):
    """Return T5's buckets of relative positions, bidirectional."""
    offset = torch.arange(length)[None] - torch.arange(length)[:, None]
    half, exact = num // 2, num // 4
    far = exact + (torch.log(offset.abs().clamp_min(1) / exact) / np.log(farthest / exact) * (half - exact)).long()
    return (offset > 0) * half + torch.where(offset.abs() < exact, offset.abs(), far.clamp_max(half - 1))


def text_reference(t, ids, num_heads):
    def norm(x, weight):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight

    x = t["token_embedding.weight"][ids]
    num_blocks = len({name.split(".")[1] for name in t if name.startswith("blocks.")})
    for i in range(num_blocks):
        b = {name.removeprefix(f"blocks.{i}."): tensor for name, tensor in t.items()}
        y = norm(x, b["norm1.weight"])
        q, k, v = ((y @ b[f"attn.{w}.weight"].T).unflatten(-1, (num_heads, -1)).transpose(0, 1) for w in "qkv")
        bias = b["pos_embedding.embedding.weight"][buckets(len(ids))].permute(2, 0, 1)
        y = (q @ k.transpose(1, 2) + bias).softmax(-1) @ v  # T5 does not scale
        x = x + y.transpose(0, 1).flatten(1) @ b["attn.o.weight"].T
        y = norm(x, b["norm2.weight"])
        gate = F.gelu(y @ b["ffn.gate.0.weight"].T, approximate="tanh")
        x = x + (gate * (y @ b["ffn.fc1.weight"].T)) @ b["ffn.fc2.weight"].T
    return norm(x, t["norm.weight"])


def test_the_text_encoder_computes_what_the_published_one_does(published):
    tensors = {n: t.float() for n, t in open_tensors(*published.files("text encoder")).items()}
    ids = [5, 9, 33, 2, 60, 7, 1]
    encoder = load_text_encoder(published, dtype=torch.float32)
    embedding = encode_prompt(encoder, ids)
    assert embedding.shape == (1, 512, 24)
    assert not embedding[0, len(ids) :].any()
    assert_close(embedding[0, : len(ids)], text_reference(tensors, torch.tensor(ids), 2))


def image_reference(t, pixels, num_heads):
    """Compute all blocks but the last, as published."""

    def norm(x, name, i=None):
        place = name if i is None else f"visual.transformer.{i}.{name}"
        return F.layer_norm(x, x.shape[-1:], t[f"{place}.weight"], t[f"{place}.bias"], 1e-5)

    def linear(x, name, i):
        return F.linear(x, t[f"visual.transformer.{i}.{name}.weight"], t[f"visual.transformer.{i}.{name}.bias"])

    weight = t["visual.patch_embedding.weight"]
    x = F.conv2d(pixels, weight, stride=weight.shape[-1]).flatten(2).transpose(1, 2)
    x = norm(torch.cat([t["visual.cls_embedding"], x], 1) + t["visual.pos_embedding"], "visual.pre_norm")
    num_blocks = len({name.split(".")[2] for name in t if name.startswith("visual.transformer.")})
    for i in range(num_blocks - 1):
        q, k, v = linear(norm(x, "norm1", i), "attn.to_qkv", i).unflatten(-1, (3, num_heads, -1)).unbind(2)
        y = F.scaled_dot_product_attention(*(u.transpose(1, 2) for u in (q, k, v))).transpose(1, 2).flatten(2)
        x = x + linear(y, "attn.proj", i)
        x = x + linear(F.gelu(linear(norm(x, "norm2", i), "mlp.0", i)), "mlp.2", i)
    return x


@pytest.mark.parametrize("size", [(96, 160), (512, 320)])
@torch.no_grad()
def test_the_image_encoder_computes_what_the_published_one_does(published, size):
    tensors = dict(open_tensors(*published.files("image encoder")))
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    embedding = encode_image(load_image_encoder(published), image)
    unit = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    squeezed = F.interpolate(unit, (224, 224), mode="bicubic", align_corners=False)
    pixels = (squeezed - torch.tensor(CLIP_MEAN).view(1, 3, 1, 1)) / torch.tensor(CLIP_STD).view(1, 3, 1, 1)
    assert_close(embedding, image_reference(tensors, pixels, 2))
    assert embedding.shape == (1, 257, 160)


def test_the_empty_prompt_is_one_token():
    assert tokenize_prompt("", None) == [1]
    assert tokenize_prompt(" \n", None) == [1]


def test_prompts_are_cleaned():
    assert clean_prompt("  two   people &amp;amp;\n talk ") == "two people & talk"


def test_a_prompt_without_a_tokenizer_is_refused():
    with pytest.raises(UserError, match="no tokenizer"):
        tokenize_prompt("a man talks", None)


def test_a_prompt_is_tokenized_and_ends(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "a": 2, "man": 3, "?": 4}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>").save_pretrained(tmp_path)
    assert tokenize_prompt("a  man talks", tmp_path) == [2, 3, 4, 1]
    assert tokenize_prompt("a &amp; man", tmp_path) == [2, 4, 3, 1]  # cleaned before
    assert len(tokenize_prompt("man " * 600, tmp_path)) == 512


def test_text_that_was_decoded_wrongly_is_repaired():
    assert clean_prompt("caf\u00c3\u00a9 &amp;lt;") == "caf\u00e9 <"


def test_the_image_encoders_mean_and_deviation_are_clips():
    from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    assert list(CLIP_MEAN) == list(OPENAI_CLIP_MEAN)
    assert list(CLIP_STD) == list(OPENAI_CLIP_STD)


def test_prompts_are_embedded_in_single_precision_whatever_the_encoders(published):
    assert encode_prompt(load_text_encoder(published), [5, 9, 1]).dtype == torch.float32
