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
from exprbench.metrics.set_distance import set_distance
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
    short = min(shape)
    size = [224 if length == short else -(-length * 224 // short) for length in shape]
    resized = resize_like_torchvision(image, size, antialias=False)
    assert fitted(image, "crop224").shape == (1, 3, 224, 224)
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    assert_close(fitted(image, "crop224"), resized[..., top : top + 224, left : left + 224], share=1e-5)
    square = fitted(image[..., : min(shape), : min(shape)], "crop224")
    assert torch.equal(square, center_crop(square, 224))


def cdfvd_input(frames):
    """What cd-fvd 0.1.1 feeds to I3D by default, (1, 3, T, 224, 224): resolution 256, bytes, then 224."""
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    short = min(video.shape[-2:])
    size = [256 if side == short else int(np.ceil(side * (256 / short))) for side in video.shape[-2:]]
    loaded = center_crop(resize_like_torchvision(video, size, antialias=True), 256)
    as_bytes = (loaded * 255).byte().numpy()
    resized = resize_like_torchvision(torch.FloatTensor(as_bytes), [224, 224], antialias=False)
    return (2 * resized / 255 - 1).transpose(0, 1)[None]


@pytest.mark.parametrize(("height", "width"), [(150, 200), (200, 150), (256, 256), (300, 300)])
def test_the_preset_cdfvd_is_cdfvds_default_path(network, path, height, width):
    """Features of the drawn clips, and the distance with covariances over n, recomputed without the code under test."""
    grid = PRESETS["cdfvd"]
    videos = {f"v{i}": [np.roll(f, 7 * i, axis=0) for f in video(20, height, width)] for i in range(6)}
    damaged = {name: [255 - f // 2 for f in frames] for name, frames in videos.items()}
    extractor, ours, theirs = I3DFeatures(path, fit=grid.fit), [], []
    for side in (videos, damaged):
        ours.append({name: clip_features(frames, extractor, grid, name) for name, frames in side.items()})
        spans = {name: grid.spans(len(frames), name)[0] for name, frames in side.items()}
        with torch.no_grad():
            inputs = [cdfvd_input(side[name][first:last]) for name, (first, last) in spans.items()]
            theirs.append(np.concatenate([network(x, return_features=True).numpy() for x in inputs]).astype(float))
    for mine, other in zip(ours, theirs, strict=True):
        assert np.concatenate(list(mine.values())) == pytest.approx(other, rel=1e-3, abs=1e-4)
    means, covariances = zip(*((x.mean(0), np.cov(x, rowvar=False, bias=True)) for x in theirs), strict=True)
    cross = np.sqrt(np.maximum(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0)).sum()
    expected = np.square(means[0] - means[1]).sum() + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * cross
    assert set_distance(*ours, biased=True).value == pytest.approx(expected, rel=1e-3)


def test_a_file_that_is_no_network_of_ours_is_named(tmp_path):
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="is no torchscript"):
        I3DFeatures(broken)
    other = tmp_path / "other.pt"
    torch.jit.script(SmallI3D(num_features=399)).save(str(other))
    with pytest.raises(WeightsError, match="399"):
        clip_features(video(16), I3DFeatures(other))
