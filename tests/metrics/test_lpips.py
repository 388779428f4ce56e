"""LPIPS against torchmetrics with the same backbone drawn at random; the heads are the published ones on both sides."""

from unittest import mock

import numpy as np
import pytest
import torch
import torchvision
from torchmetrics.functional.image.lpips import _LPIPS

from exprbench import weights
from exprbench.metrics import lpips
from exprbench.metrics.errors import MetricError
from exprbench.weights import WeightsError
from tests.metrics.files import drawn, saved


@pytest.fixture(scope="module")
def backbone():
    return drawn(torchvision.models.alexnet(weights=None))


@pytest.fixture(scope="module")
def path(backbone, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("alexnet") / "alexnet.pth", backbone.state_dict())


def pictures(seed, height=96, width=128):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    noisy = np.clip(base + rng.normal(0, 25, base.shape), 0, 255)
    return base.astype(np.uint8), noisy.astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (64, 64), (144, 72)])
def test_it_equals_torchmetrics(path, backbone, height, width):
    with mock.patch("torchmetrics.functional.image.lpips._get_tv_model_features", return_value=backbone.features):
        peer = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    reference, predicted = pictures(height, height, width)
    images = [torch.from_numpy(x).permute(2, 0, 1)[None].float() / 127.5 - 1 for x in (reference, predicted)]
    with torch.no_grad():
        expected = peer(*images).item()
    found = lpips.PerceptualDistance(path)(reference, predicted)
    assert found == pytest.approx(expected, rel=1e-4)  # float32 convolutions differ between processors
    assert found > 0


def test_equal_frames_are_at_no_distance_and_damage_grows(path):
    measure = lpips.PerceptualDistance(path)
    reference, _ = pictures(1)
    noise = np.random.default_rng(2).normal(0, 1, reference.shape)
    ladder = [np.clip(reference + amount * noise, 0, 255).astype(np.uint8) for amount in (0, 5, 20, 60)]
    distances = [measure(reference, image) for image in ladder]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert measure(ladder[2], reference) == pytest.approx(distances[2], rel=1e-5)


def test_frames_smaller_than_the_network_can_see(path):
    with pytest.raises(MetricError, match="frame_too_small"):
        lpips.PerceptualDistance(path)(*pictures(0, 32, 128))


def test_a_file_of_another_network_is_refused(tmp_path):
    other = saved(tmp_path / "other.pth", {"features.0.weight": torch.zeros(3)})
    with pytest.raises(WeightsError, match="weights_differ"):
        lpips.PerceptualDistance(other)


def test_the_heads_are_those_of_version_0_1():
    heads = lpips.published_heads()
    assert [tuple(head.shape) for head in heads] == [(c, 1, 1) for c in (64, 192, 384, 256, 256)]
    assert all((head >= 0).all() for head in heads)


def test_without_its_file_the_column_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path))
    lpips.load.cache_clear()
    with pytest.raises(WeightsError, match="exprbench weights fetch alexnet"):
        lpips.load("cpu")
    assert weights.get("alexnet").sha256.startswith("7be5be79")
