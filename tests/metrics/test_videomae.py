"""The published layout on a small random network, against transformers' VideoMAE with the same weights."""

import numpy as np
import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEModel

from exprbench.metrics import COLUMNS
from exprbench.metrics.extractors import clip_features
from exprbench.metrics.videomae import VideoMAEFeatures, VideoMAEShape, build, sinusoids
from exprbench.weights import WeightsError
from tests.metrics.files import drawn, saved

SMALL = VideoMAEShape(width=32, depth=2, num_heads=4, mlp_width=48, patch=56, num_classes=5)


@pytest.fixture(scope="module")
def published():
    return drawn(build(SMALL)).state_dict()


@pytest.fixture(scope="module")
def path(published, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("videomae") / "vit.pth", {"module": published})


def peer(state):
    """Transformers' network; its last norm is that of the mean, as in the published network."""
    config = VideoMAEConfig(
        image_size=224, patch_size=56, num_frames=16, tubelet_size=2, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=48, use_mean_pooling=True, layer_norm_eps=1e-6, qkv_bias=True,
    )  # fmt: skip
    network = VideoMAEModel(config).eval()
    found = {"embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"]}
    found["embeddings.patch_embeddings.projection.bias"] = state["patch_embed.proj.bias"]
    names = dict(network.named_parameters())
    for i in range(2):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        parts = dict(zip(["query", "key", "value"], state[f"{ours}.attn.qkv.weight"].chunk(3), strict=True))
        attention = f"{theirs}.attention.attention"
        found |= {f"{attention}.{name}.weight": value for name, value in parts.items()}
        for old, new in (("q", "query"), ("v", "value")):  # names of older and newer versions of transformers
            name = f"{attention}.{old}_bias" if f"{attention}.{old}_bias" in names else f"{attention}.{new}.bias"
            found[name] = state[f"{ours}.attn.{old}_bias"]
        for a, b in (
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            ("attn.proj", "attention.output.dense"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
        ):
            found |= {f"{theirs}.{b}.{kind}": state[f"{ours}.{a}.{kind}"] for kind in ("weight", "bias")}
    missing = set(names) - set(found)
    assert missing <= {"layernorm.weight", "layernorm.bias"}, missing
    network.load_state_dict(found, strict=False)
    norm = torch.nn.LayerNorm(32, eps=1e-6)
    norm.load_state_dict({kind: state[f"fc_norm.{kind}"] for kind in ("weight", "bias")})
    return network, norm


def frames(seed, count=16):
    return list(np.random.default_rng(seed).integers(0, 256, (count, 224, 224, 3)).astype(np.uint8))


def test_it_equals_transformers(published, path):
    network, norm = peer(published)
    clip = frames(0)
    pixels = torch.from_numpy(np.stack(clip)).permute(0, 3, 1, 2)[None].float() / 255
    with torch.no_grad():
        expected = norm(network(pixels).last_hidden_state.mean(1)).numpy()
    found = clip_features(clip, VideoMAEFeatures(path, shape=SMALL))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)  # float32 in another order


def test_a_batch_equals_its_clips(path):
    together = clip_features(frames(1, 32), VideoMAEFeatures(path, shape=SMALL, batch=2))
    alone = [clip_features(frames(1, 32)[i : i + 16], VideoMAEFeatures(path, shape=SMALL)) for i in (0, 16)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-3, atol=1e-4)


def test_the_position_encoding_by_its_formula():
    table = sinusoids(7, 6)
    for p in range(7):
        for i in range(6):
            angle = p / 10000 ** (2 * (i // 2) / 6)
            assert table[p, i] == pytest.approx(np.cos(angle) if i % 2 else np.sin(angle))


def test_the_published_network_has_a_billion_parameters_and_these_names():
    with torch.device("meta"):
        from exprbench.metrics import videomae

        small = videomae.build(VideoMAEShape(depth=1))
        shapes = {name: tuple(value.shape) for name, value in small.state_dict().items()}
    assert shapes["patch_embed.proj.weight"] == (1408, 3, 2, 14, 14)
    assert shapes["blocks.0.attn.qkv.weight"] == (4224, 1408)
    assert shapes["blocks.0.mlp.fc1.weight"] == (6144, 1408)
    assert shapes["head.weight"] == (174, 1408)
    per_block = sum(np.prod(s) for n, s in shapes.items() if n.startswith("blocks."))
    assert 40 * per_block == pytest.approx(1.01e9, rel=0.01)
    assert VideoMAEShape().num_tokens == 2048


def test_other_files_are_refused(tmp_path, published):
    for content in ({"module": {"x": torch.zeros(2)}}, {"module": 3}, [1]):
        with pytest.raises(WeightsError, match="weights_differ"):
            VideoMAEFeatures(saved(tmp_path / "other.pth", content), shape=SMALL)
    assert VideoMAEFeatures(saved(tmp_path / "flat.pth", published), shape=SMALL).num_features == 32


def test_the_id_names_network_and_clips():
    assert COLUMNS["fvd_videomae"].ids["paper"] == "fvd[videomae2-g-ssv2,16f,hop16,squash224]"
