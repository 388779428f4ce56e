import numpy as np
import pytest
import torch
from skimage.data import astronaut
from skimage.transform import estimate_transform, warp
from torch.nn.functional import adaptive_avg_pool2d

from exprbench.metrics import smirk
from exprbench.weights import WeightsError
from tests.closeness import assert_close
from tests.metrics.files import drawn, saved

timm = pytest.importorskip("timm")

# name in the file -> (backbone, its last channels, linear layer, outputs), as the public code has them
LAYOUT = {
    "pose_encoder": ("tf_mobilenetv3_small_minimal_100", 576, "pose_cam_layers", 6),
    "shape_encoder": ("tf_mobilenetv3_large_minimal_100", 960, "shape_layers", 300),
    "expression_encoder": ("tf_mobilenetv3_large_minimal_100", 960, "expression_layers", 55),
}


def parts():
    made = {}
    for i, (name, (backbone, channels, layer, outputs)) in enumerate(LAYOUT.items()):
        encoder = drawn(timm.create_model(backbone, pretrained=False, features_only=True), seed=i).eval()
        linear = drawn(torch.nn.Linear(channels, outputs), seed=10 + i)
        linear.weight.data *= 1e-3
        linear.bias.data.normal_(0, 1, generator=torch.Generator().manual_seed(i))
        made[name] = encoder, layer, linear
    return made


def published(made):
    state = {"smirk_generator.first.weight": torch.zeros(2)}
    for name, (encoder, layer, linear) in made.items():
        state |= {f"smirk_encoder.{name}.encoder.{k}": v for k, v in encoder.state_dict().items()}
        state |= {f"smirk_encoder.{name}.{layer}.0.{k}": v for k, v in linear.state_dict().items()}
    return state


@pytest.fixture(scope="module")
def made():
    return parts()


@pytest.fixture(scope="module")
def network(made, tmp_path_factory):
    return smirk.ExpressionNetwork(saved(tmp_path_factory.mktemp("weights") / "SMIRK_em1.pt", published(made)), batch=2)


def crops(count=3):
    photo = astronaut()
    return [np.ascontiguousarray(photo[15 * i : 15 * i + 224, 90:314]) for i in range(count)]


def test_parameters_are_those_of_the_public_codes_network(made, network):
    images = torch.from_numpy(np.stack(crops())).permute(0, 3, 1, 2).float() / 255

    def outputs(name):
        encoder, _, linear = made[name]
        return linear(adaptive_avg_pool2d(encoder(images)[-1], (1, 1)).squeeze(-1).squeeze(-1))

    with torch.no_grad():
        pose, raw = outputs("pose_encoder")[:, :3], outputs("expression_encoder")
    eyelids, jaw = raw[:, 50:52].clamp(0, 1), torch.cat([raw[:, 52:53].relu(), raw[:, 53:55].clamp(-0.2, 0.2)], 1)
    read = network(crops())
    assert_close(read.pose, pose)
    assert_close(read.expression, torch.cat([raw[:, :50], eyelids, jaw], 1))
    assert np.ptp(read.expression[:, :50], axis=0).max() > 1e-3  # the pictures differ, and so do the readings


def test_eyelids_and_jaw_stay_in_their_ranges(network):
    read = network(crops()).expression
    assert read.shape == (3, 55)
    assert ((read[:, 50:52] >= 0) & (read[:, 50:52] <= 1)).all()
    assert (read[:, 52] >= 0).all()
    assert (np.abs(read[:, 53:]) <= 0.2).all()


def test_batches_are_single_crops(network):
    together, one_by_one = network(crops()), [network([c]) for c in crops()]
    assert_close(together.expression, np.concatenate([r.expression for r in one_by_one]))
    assert_close(together.pose, np.concatenate([r.pose for r in one_by_one]))
    assert network([]).expression.shape == (0, 55)


@pytest.mark.parametrize("seed", range(6))
def test_the_crop_is_that_of_the_public_code(seed):
    rng = np.random.default_rng(seed)
    frame = astronaut()[:400]
    points = rng.uniform(0, 1, (478, 2)) * rng.uniform(30, 300, 2) + rng.uniform(-60, 300, 2)
    low, high = points.min(0), points.max(0)
    size = int((high - low).sum() / 2 * 1.4)
    (x, y), half = (low + high) / 2, size / 2
    corners = np.array([[x - half, y - half], [x - half, y + half], [x + half, y - half]])
    to_crop = estimate_transform("similarity", corners, np.array([[0, 0], [0, 223], [223, 0]]))
    theirs = warp(frame, to_crop.inverse, output_shape=(224, 224), preserve_range=True).astype(np.uint8)
    ours = smirk.crop(frame, points + 0.5)  # the public code counts from the centre of the first pixel
    assert (ours != theirs).mean() < 1e-4
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_crop_outside_the_frame_is_black():
    frame = np.full((100, 100, 3), 255, np.uint8)
    assert not smirk.crop(frame, np.array([[500.0, 500], [600, 600]])).any()
    assert smirk.crop(frame, np.array([[50.0, 50], [50, 50]])).shape == (224, 224, 3)


def test_a_file_of_another_network_is_named(made, tmp_path):
    state = published(made)
    state["smirk_encoder.pose_encoder.pose_cam_layers.0.weight"] = torch.zeros(7, 576)
    del state["smirk_encoder.shape_encoder.encoder.conv_stem.weight"]
    with pytest.raises(WeightsError) as caught:
        smirk.ExpressionNetwork(saved(tmp_path / "w.pt", state))
    assert "1 missing (shape_encoder.encoder.conv_stem.weight)" in caught.value.detail
    assert "pose_encoder.pose_cam_layers.0.weight [7, 576] for [6, 576]" in caught.value.detail
