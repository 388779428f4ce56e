"""Small Wan2.1 bases of random weights in exactly the two layouts in which the real one is downloaded."""

import json
import shutil

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from fantasyportrait.checkpoints.export import join_qkv
from fantasyportrait.checkpoints.key_mapping import BACKBONE, IMAGE_ENCODER, TEXT_ENCODER, VAE
from fantasyportrait.model.configs import MODEL_CONFIGS

TINY = MODEL_CONFIGS["tiny"]


def tiny_pipeline():
    """Build diffusers' own pipeline from tiny modules of random weights."""
    torch.manual_seed(11)
    image = CLIPVisionConfig(**TINY.image_encoder, image_size=224, hidden_act="gelu")
    return WanImageToVideoPipeline(
        tokenizer=tiny_tokenizer(),
        text_encoder=UMT5EncoderModel(UMT5Config(**TINY.text_encoder, feed_forward_proj="gated-gelu")),
        vae=AutoencoderKLWan(**TINY.vae),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        image_processor=CLIPImageProcessor(),
        image_encoder=CLIPVisionModel(image),
        transformer=WanTransformer3DModel(**TINY.backbone.to_diffusers()),
    )


def tiny_tokenizer():
    """Build a tokenizer that ends each text with token 1, as umT5's does."""
    words = ["<pad>", "</s>", "<unk>", "a", "woman", "sings", "blurry"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def write_diffusers(pipeline, out):
    """Write `Wan2.1-I2V-14B-720P-Diffusers` in small: every part in its folder, large parts in shards."""
    pipeline.save_pretrained(out, max_shard_size="16KB")
    shutil.rmtree(out / "image_encoder")
    pipeline.image_encoder.save_pretrained(out / "image_encoder")  # not in shards, and with transformers 4's names
    path = out / "image_encoder/model.safetensors"
    state = {f"vision_model.{name.removeprefix('vision_model.')}": tensor for name, tensor in load_file(path).items()}
    save_file(state, path, {"format": "pt"})


def write_published(pipeline, out):
    """Write `Wan2.1-I2V-14B-720P` in small: shards with their index, and all other files, in one folder."""
    out.mkdir(parents=True)
    _write_published_backbone(pipeline.transformer, out)
    text = {k: v for k, v in pipeline.text_encoder.state_dict().items() if k != "encoder.embed_tokens.weight"}
    names = TEXT_ENCODER.map_to_published(text)
    torch.save({names[k]: v.bfloat16() for k, v in text.items()}, out / "models_t5_umt5-xxl-enc-bf16.pth")
    torch.save(published_clip(pipeline.image_encoder), out / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth")
    vae = pipeline.vae.state_dict()
    torch.save({VAE.to_published(k): v for k, v in vae.items()}, out / "Wan2.1_VAE.pth")
    pipeline.tokenizer.save_pretrained(out / "google/umt5-xxl")
    for name in ("README.md", "LICENSE.txt", "xlm-roberta-large/README.md", "assets/logo.png"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"not read")
    (out / "configuration.json").write_text("{}")


def _write_published_backbone(transformer, out, num_shards=7):
    state = {BACKBONE.to_published(k): v.contiguous() for k, v in sorted(transformer.state_dict().items())}
    names = sorted(state)
    files = [f"diffusion_pytorch_model-{i + 1:05d}-of-{num_shards:05d}.safetensors" for i in range(num_shards)]
    weight_map = {name: files[i * num_shards // len(names)] for i, name in enumerate(names)}
    for file in files:
        save_file({k: state[k] for k in names if weight_map[k] == file}, out / file)
    index = {"metadata": {"total_size": sum(t.nbytes for t in state.values())}, "weight_map": weight_map}
    (out / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    size = TINY.backbone
    config = {
        **{"_class_name": "WanModel", "_diffusers_version": "0.30.0", "model_type": "i2v", "eps": 1e-6},
        **{"dim": size.dim, "ffn_dim": size.ffn_dim, "freq_dim": size.freq_dim, "text_len": 512},
        **{"in_dim": 36, "out_dim": 16, "num_heads": size.num_attention_heads, "num_layers": size.num_layers},
    }
    (out / "config.json").write_text(json.dumps(config))


def published_clip(image_encoder):
    """Return the published image encoder in float16, with its textual half, its temperature and its unused head."""
    module = getattr(image_encoder, "vision_model", image_encoder)
    state = {IMAGE_ENCODER.to_published(k): v for k, v in module.state_dict().items() if IMAGE_ENCODER.to_published(k)}
    extra = {"log_scale": torch.zeros(()), "visual.head": torch.zeros(160, 8)}
    extra |= {"textual.token_embedding.weight": torch.zeros(5, 8), "textual.blocks.0.norm1.weight": torch.zeros(8)}
    return {name: tensor.half() for name, tensor in (join_qkv(state) | extra).items()}
