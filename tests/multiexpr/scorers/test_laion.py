import numpy as np
import pytest

from exprbench import UserError
from multiexpr.models.detector import Models
from multiexpr.models.laion_network import SIDE, find_clip_model, is_clip_available, load_clip, load_head
from multiexpr.recipe import load_recipe
from multiexpr.scorers import aesthetics_method, make_scorers
from multiexpr.scorers.laion import square_crops
from tests.closeness import assert_close

RNG = np.random.default_rng(0)


@pytest.mark.weights
def test_the_published_head_folds_into_one_affine_map(needs_weights):
    import torch

    path = needs_weights("laion_aesthetic")
    weight, bias = load_head(path)
    assert bias == pytest.approx(5.23664585, abs=1e-7)
    assert np.linalg.norm(weight) == pytest.approx(17.996, abs=1e-3)
    state = torch.load(path, map_location="cpu", weights_only=True)
    x = torch.from_numpy(RNG.normal(size=(7, 768)))
    y = x
    for layer in (0, 2, 4, 6, 7):
        y = y @ state[f"layers.{layer}.weight"].double().T + state[f"layers.{layer}.bias"].double()
    assert np.abs(y[:, 0].numpy() - (x.numpy() @ weight + bias)).max() < 1e-12


def test_a_head_with_other_layers_is_an_error(tmp_path):
    import torch

    torch.save({"layers.0.weight": torch.zeros(3, 768), "layers.0.bias": torch.zeros(3)}, tmp_path / "head.pth")
    with pytest.raises(UserError, match="is not the LAION predictor"):
        load_head(tmp_path / "head.pth")


@pytest.mark.parametrize(("shape", "count"), [((224, 224), 1), ((360, 640), 2), ((640, 360), 2), ((256, 1280), 5)])
def test_square_crops_cover_the_frame(shape, count):
    frame = np.zeros((*shape, 3), np.uint8)
    frame[:, -1] = frame[:, 0] = frame[0] = frame[-1] = 255
    crops = square_crops(frame)
    assert crops.shape == (count, SIDE, SIDE, 3)
    if shape[0] < shape[1]:
        assert crops[0][:, 0].max() > 60
        assert crops[-1][:, -1].max() > 60
    elif count > 1:
        assert crops[0][0].max() > 60
        assert crops[-1][-1].max() > 60


def test_squares_cover_a_long_frame_evenly_in_their_order():
    ramp = np.repeat(np.arange(1, 1121, dtype=np.uint16)[None] // 8, 224, 0).astype(np.uint8)
    frame = np.repeat(ramp[..., None], 3, 2)  # 224 x 1120: five squares side by side
    assert [crop[0, 0, 0] for crop in square_crops(frame)] == [0, 28, 56, 84, 112]
    upright = square_crops(frame.transpose(1, 0, 2)[:600])  # three squares, 188 pixels apart
    assert [crop[0, 0, 0] for crop in upright] == [0, 23, 47]


class Values:
    """Scores of crops: their mean value."""

    def aesthetics(self, crops):
        return crops.mean((1, 2, 3)) / 10


def test_the_score_is_the_mean_over_frames_and_the_lowest_is_kept():
    recipe = load_recipe(None, ["score.aesthetics.method=laion", "score.aesthetics.num_frames=3"])
    (scorer,) = [s for s in make_scorers(recipe, Values()) if s.name == "laion"]
    assert scorer.frames({"length_s": 6.0}).times_s == (1.0, 3.0, 5.0)
    start = scorer.start({})
    for value in (30, 60, 90):
        start.update(np.full((224, 448, 3), value, np.uint8), 0.0)
    assert start.compute() == {"laion": 6.0, "laion_min": 3.0}


def save_clip(folder, image_size=224, projection_dim=768):
    """A folder as `clip-vit-large-patch14` is laid out, of a network of the same interface and random weights."""
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=image_size,
        patch_size=56, projection_dim=projection_dim,
    )  # fmt: skip
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)


@pytest.mark.weights
@pytest.mark.parametrize(
    ("changes", "message"), [({"image_size": 280}, "at 280 pixels"), ({"projection_dim": 512}, "512 dimensions")]
)
def test_another_clip_is_refused(tmp_path, needs_weights, changes, message):
    needs_weights("laion_aesthetic")
    save_clip(tmp_path / "clip", **changes)
    with pytest.raises(UserError, match=f"{message}.*needs CLIP ViT-L/14: 768 at 224"):
        load_clip(str(tmp_path / "clip"), "cpu")


@pytest.fixture
def tiny_clip(tmp_path, monkeypatch, needs_weights):
    folder = tmp_path / "clip-vit-large-patch14"
    save_clip(folder)
    head = needs_weights("laion_aesthetic")
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", f"{tmp_path}:{head.parent}")
    return folder


@pytest.mark.weights
def test_clip_is_found_loaded_and_scored(tiny_clip):
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    assert is_clip_available("clip-vit-large-patch14")
    assert find_clip_model("clip-vit-large-patch14") == tiny_clip
    score = load_clip("clip-vit-large-patch14", "cpu")
    crops = RNG.integers(0, 255, (3, SIDE, SIDE, 3), np.uint8)
    processor = CLIPImageProcessor(size={"shortest_edge": 224}, crop_size=224)
    pixels = processor(list(crops), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        embedded = CLIPVisionModelWithProjection.from_pretrained(tiny_clip)(pixels).image_embeds.double().numpy()
    from exprbench import weights

    weight, bias = load_head(weights.require("laion_aesthetic"))
    theirs = embedded / np.linalg.norm(embedded, axis=1, keepdims=True) @ weight + bias
    assert_close(score(crops), theirs)
    assert_close(score(crops[:1]), score(crops)[:1])


@pytest.mark.weights
def test_the_scorer_takes_the_mean_of_squares_and_the_lowest_frame(tiny_clip):
    recipe = load_recipe(None, ["score.aesthetics.method=laion"])
    (scorer,) = [s for s in make_scorers(recipe, Models(recipe)) if s.name == "laion"]
    frames = RNG.integers(0, 255, (2, 224, 448, 3), np.uint8)
    measurement = scorer.start({"length_s": 4.0})
    for frame in frames:
        measurement.update(frame, 0)
    columns = measurement.compute()
    score = load_clip("clip-vit-large-patch14", "cpu")
    each = [score(square_crops(frame)).mean() for frame in frames]
    expected = {"laion": np.mean(each), "laion_min": min(each)}
    assert columns == pytest.approx(expected, abs=1e-3)  # rounding, of scores about 5
    assert scorer.fingerprint() != {}


@pytest.mark.weights
def test_auto_means_laion_if_clip_and_its_head_are_available(tiny_clip, monkeypatch):
    assert aesthetics_method(load_recipe()) == "laion"
    assert aesthetics_method(load_recipe(None, ["score.aesthetics.method=photomotion"])) == "photomotion"
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tiny_clip.parent))  # without the head
    assert aesthetics_method(load_recipe()) == "photomotion"
    assert aesthetics_method(load_recipe(None, ["score.aesthetics.method=laion"])) == "laion"


def test_auto_means_photomotion_without_clip(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert aesthetics_method(load_recipe()) == "photomotion"
    with pytest.raises(UserError, match=r"put the files of .*clip-vit-large-patch14 into"):
        find_clip_model("clip-vit-large-patch14")
