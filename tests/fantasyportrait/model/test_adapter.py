import numpy as np
import pytest
import torch

from fantasyportrait.model.adapter import MotionAdapter, latent_windows
from fantasyportrait.model.configs import AUGMENTED, FEATURES, MODEL_CONFIGS, NUM_QUERIES, AdapterConfig
from tests.closeness import assert_close
from tests.fantasyportrait import official as reference

TINY = MODEL_CONFIGS["tiny"].adapter


def tiny(**changes):
    torch.manual_seed(0)
    return MotionAdapter(AdapterConfig(**{**vars(TINY), **changes})).eval()


@pytest.fixture(scope="module")
def released(official):
    return reference.adapter(official("model_keys.json")["adapter"])


@torch.no_grad()
def test_tokens_and_windows_are_the_released_ones(official, released):
    given = official("adapter.npz")
    for num_frames, tokens, every in ((9, "tokens_F9", 1), (21, "tokens_F21_ch8", 8)):
        features = torch.from_numpy(given[f"feat_F{num_frames}"])
        embedding = released.tokens(features)
        assert_close(embedding.flatten(1, 2)[..., ::every], given[tokens])
        windows = latent_windows(embedding)
        assert_close(windows[..., ::16], given[f"windows_F{num_frames}_ch16"])


@pytest.mark.parametrize("num_frames", [2, 3, 4, 8])
def test_frames_that_do_not_fill_latent_frames_are_refused(num_frames):
    with pytest.raises(ValueError, match=f"{num_frames} frames do not fill whole latent frames"):
        latent_windows(torch.zeros(1, num_frames, 24, 1))


def test_windows_hold_the_frames_they_should(official):
    given = official("adapter.npz")
    for num_frames in (9, 21):
        index = torch.arange(24.0 * num_frames).view(1, num_frames, 24, 1) + 1
        windows = latent_windows(index)[0, ..., 0]
        for window, (start, stop), length in zip(
            windows, given[f"ranges_F{num_frames}"], given[f"lens_F{num_frames}"], strict=True
        ):
            expected = torch.arange(max(start, 0), stop + 1) + 1.0
            assert length == len(expected)
            assert torch.equal(window[:length], expected)
            assert not window[length:].any()


def test_one_frame_is_one_window():
    tokens = torch.randn(2, 1, 24, 5)
    windows = latent_windows(tokens)
    assert windows.shape == (2, 1, 97, 5)
    assert torch.equal(windows[:, 0, :24], tokens[:, 0])


def test_frames_that_fill_no_latent_frame_are_refused():
    with pytest.raises(ValueError, match="6 frames"):
        latent_windows(torch.zeros(1, 6, 24, 4))


@pytest.mark.parametrize(("row", "num_tokens"), [("selective", 24), ("none", 4), ("all", 32)])
def test_the_rows_of_table_3(row, num_tokens):
    adapter = tiny(augmented=AUGMENTED[row])
    tokens = adapter.tokens(torch.randn(2, 5, 554))
    assert tokens.shape == (2, 5, num_tokens, TINY.token_dim)
    assert adapter.config.num_tokens == num_tokens
    assert set(adapter.augment) == set(AUGMENTED[row])
    assert adapter.embed(torch.randn(3, 5, 554)).shape == (1, 2, 3 * (4 * num_tokens + 1), TINY.token_dim)


@torch.no_grad()
def test_people_are_concatenated_in_the_embedding():
    adapter = tiny().double()  # in float32, batches of another size are summed in another order
    features = torch.randn(3, 9, 554, dtype=torch.float64)
    together = adapter.embed(features)
    alone = torch.cat([adapter.embed(f[None]) for f in features], 2)
    assert_close(together, alone, share=1e-12)


@torch.no_grad()
def test_each_token_depends_on_its_own_feature_alone():
    adapter = tiny(augmented=AUGMENTED["all"])
    features = torch.randn(1, 1, 554)
    before = adapter.tokens(features)[0, 0]
    spans = np.cumsum([0, *FEATURES.values()])
    for i, name in enumerate(FEATURES):
        changed = features.clone()
        changed[..., spans[i] : spans[i + 1]] += 1
        moved = (adapter.tokens(changed)[0, 0] != before).any(-1)
        assert moved.tolist() == [feature == name for feature in adapter.config.token_features]


def test_strengths_weigh_the_tokens_of_their_feature():
    adapter = tiny()
    weights = adapter.token_weights({"mouth": 0.5, "eyes": 0.0}, num_frames=5)[..., 0]
    token_features = adapter.config.token_features
    expected = torch.tensor([{"mouth": 0.5, "eyes": 0.0}.get(feature, 1.0) for feature in token_features])
    assert torch.equal(weights[0, :24], expected)
    assert not weights[0, 24:].any()  # the zeros of the first window stay zeros
    assert torch.equal(weights[1, 1:], expected.repeat(4))
    assert weights[1, 0] == expected[-1]


def test_the_full_size_has_the_released_number_of_parameters():
    with torch.device("meta"):
        adapter = MotionAdapter(AdapterConfig())
    assert sum(p.numel() for p in adapter.parameters()) == 1_003_324_416
    assert len(adapter.state_dict()) == 80 + 108


def test_training_starts_from_plain_wan():
    adapter = tiny()
    assert not any(p.any() for layer in adapter.layers for p in layer.parameters())


def test_queries_are_as_many_as_released():
    adapter = tiny()
    assert {name: r.queries.shape[1] for name, r in adapter.augment.items()} == {"mouth": 16, "emotion": 4}
    assert NUM_QUERIES["mouth"] == 16


def test_mistaken_sizes_are_named():
    with pytest.raises(ValueError, match="nose"):
        AdapterConfig(augmented=("nose",))
    with pytest.raises(ValueError, match="multiple"):
        AdapterConfig(query_dim=100)
