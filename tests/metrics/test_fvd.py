import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch.nn.functional import interpolate
from torchvision.transforms.functional import center_crop
from torchvision.transforms.functional import resize as resize_like_torchvision

from exprbench.metrics.clip_grid import PRESETS
from exprbench.metrics.extractors import clip_features, fvd_id
from exprbench.metrics.fvd import I3DFeatures, fitted
from exprbench.weights import WeightsError
from tests.closeness import assert_close


class SmallI3D(torch.nn.Module):
    """A network called as the published one is: two convolutions instead of many, the same input and output."""

    def __init__(self, num_features: int = 400):
        super().__init__()
        self.first = torch.nn.Conv3d(3, 6, (3, 9, 9), stride=(2, 8, 8))
        self.last = torch.nn.Conv3d(6, num_features, (2, 3, 3), stride=(2, 4, 4))

    def forward(self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False):
        if resize:
            x = torch.nn.functional.interpolate(x, size=[x.shape[2], 224, 224], mode="trilinear", align_corners=False)
        if rescale:
            x = 2 * x / 255 - 1
        x = self.last(torch.relu(self.first(x))).mean(dim=[2, 3, 4])
        return x if return_features else torch.softmax(x, 1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SmallI3D().eval()


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "i3d_torchscript.pt"
    torch.jit.script(network).save(str(path))
    return path


def video(count, height=150, width=200):
    photo = astronaut()
    return [np.ascontiguousarray(photo[2 * i : 2 * i + height, 3 * i : 3 * i + width]) for i in range(count)]


def test_features_are_those_the_network_gives_when_it_resizes_and_scales_itself(network, path):
    frames = video(40)
    raw = torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).float()
    with torch.no_grad():
        theirs = [network(raw[None, :, s : s + 16], True, True, True)[0].numpy() for s in (0, 16)]
    ours = clip_features(frames, I3DFeatures(path))
    assert ours.dtype == np.float32
    assert_close(ours, np.stack(theirs))


def test_batches_are_single_clips(path):
    frames = video(64)
    by_one, by_three = (clip_features(frames, I3DFeatures(path, batch=batch)) for batch in (1, 3))
    assert_close(by_one, by_three)
    assert by_one.shape == (4, 400)


def test_a_whole_video_may_be_one_clip(path):
    grid = PRESETS["one_clip_per_video"]
    extractor = I3DFeatures(path, fit=grid.fit)
    assert clip_features(video(21), extractor, grid).shape == (1, 400)
    assert fvd_id(extractor, grid) == "fvd[i3d-k400,allf,squash224]"


@pytest.mark.parametrize("shape", [(150, 200), (200, 150), (224, 224), (480, 853), (225, 224)])
def test_frames_are_fitted_as_other_libraries_fit_them(shape):
    image = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fitted(image, "squash224"), interpolate(image, (224, 224), mode="bilinear"))
    for fit, antialias in (("crop224", False), ("aa-crop224", True)):
        short = min(shape)
        size = [224 if length == short else -(-length * 224 // short) for length in shape]
        resized = resize_like_torchvision(image, size, antialias=antialias)
        assert fitted(image, fit).shape == (1, 3, 224, 224)
        top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
        assert_close(fitted(image, fit), resized[..., top : top + 224, left : left + 224], share=1e-5)
    square = fitted(image[..., : min(shape), : min(shape)], "crop224")
    assert torch.equal(square, center_crop(square, 224))


def test_a_file_that_is_no_network_of_ours_is_named(tmp_path):
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="is no torchscript"):
        I3DFeatures(broken)
    other = tmp_path / "other.pt"
    torch.jit.script(SmallI3D(num_features=399)).save(str(other))
    with pytest.raises(WeightsError, match="399"):
        clip_features(video(16), I3DFeatures(other))
