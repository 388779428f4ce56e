from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import fid_score, inception
from scipy import linalg
from skimage.data import astronaut, coffee

from exprbench.metrics.extractors import frame_features
from exprbench.metrics.fid import InceptionFeatures, bicubic_matrix, by_matrices, clean299
from exprbench.metrics.frechet import frechet_distance
from exprbench.weights import WeightsError
from tests.closeness import assert_close
from tests.metrics.files import inception_state, saved


@pytest.fixture(scope="module")
def state():
    return inception_state()


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("weights") / "inception.pth", state)


@pytest.fixture(scope="module")
def clean(weights):
    return InceptionFeatures(weights, batch=2)


@pytest.fixture(scope="module")
def bilinear(weights):
    return InceptionFeatures(weights, resize="pytorch299", batch=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of PNGs, of an odd size, and the same frames as arrays."""
    made = {}
    for name, photo in (("a", astronaut()), ("b", coffee())):
        folder = tmp_path_factory.mktemp(name)
        frames = [np.ascontiguousarray(photo[20 * i : 20 * i + 240, 10 * i : 10 * i + 310]) for i in range(3)]
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / f"{i}.png")
        made[folder] = frames
    return made


@pytest.fixture
def handed(state):
    """pytorch-fid, with our file instead of a download."""
    with mock.patch.object(inception, "load_state_dict_from_url", return_value=state):
        yield


def test_features_are_those_of_pytorch_fids_own_path(folders, bilinear, handed):
    model = inception.InceptionV3()
    for folder, frames in folders.items():
        theirs = fid_score.get_activations(sorted(folder.glob("*.png")), model, batch_size=3, num_workers=0)
        assert_close(frame_features(frames, bilinear), theirs)


@pytest.mark.slow
def test_fid_is_that_of_pytorch_fid(folders, bilinear, handed):
    try:
        linalg.sqrtm(np.eye(2), disp=False)
    except TypeError:
        pytest.skip("pytorch-fid calls scipy.linalg.sqrtm(disp=False), which this scipy has no more")
    theirs = fid_score.calculate_fid_given_paths([str(f) for f in folders], 3, "cpu", 2048, num_workers=0)
    ours = frechet_distance(*(frame_features(frames, bilinear) for frames in folders.values()))
    assert ours == pytest.approx(theirs, rel=1e-3)  # of features that differ by rounding


def test_clean299_is_the_networks_own_input_less_128(clean, state, handed):
    frame = astronaut()
    prepared = clean.prepare(frame)
    assert_close(prepared, (clean299(frame) - 128) / 128)
    model = inception.InceptionV3(resize_input=False, normalize_input=False).eval()
    with torch.no_grad():
        theirs = model(torch.from_numpy((clean299(frame) - 128) / 128)[None])[0].flatten(1).numpy()
    assert_close(clean.features([prepared]), theirs)


@pytest.mark.parametrize("shape", [(512, 512), (240, 426), (720, 405), (299, 299), (100, 80)])
def test_the_filters_matrices_do_what_pillow_does(shape):
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert_close(by_matrices(frame, "cpu"), clean299(frame), share=1e-5)


def test_a_flat_frame_stays_flat():
    assert_close(clean299(np.full((60, 90, 3), 77, np.uint8)), np.full((3, 299, 299), 77), share=1e-5)
    assert bicubic_matrix(123, 45).sum(1) == pytest.approx(np.ones(45), abs=1e-12)


def test_antialiasing_is_what_tells_the_two_apart():
    stripes = np.zeros((598, 598, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(clean299(stripes)[:, 20:-20, 20:-20]) < 1
    assert clean299(stripes).mean() == pytest.approx(127.5, abs=0.5)


def test_batches_are_single_frames(clean):
    frames = [np.roll(astronaut(), 40 * i, axis=1) for i in range(3)]
    together = frame_features(frames, clean)
    one_by_one = np.concatenate([frame_features([frame], clean) for frame in frames])
    assert together.shape == (3, 2048)
    assert together.dtype == np.float32
    assert_close(one_by_one, together)


def test_the_ids_say_how_frames_are_resized(clean, bilinear):
    assert clean.id == "inception2015,clean299,pool3"
    assert bilinear.id == "inception2015,pytorch299,pool3"


def test_nothing_is_downloaded(weights):
    with mock.patch("torch.hub.download_url_to_file", side_effect=AssertionError("a download")):
        InceptionFeatures(weights)


def test_a_file_of_another_network_is_named(tmp_path, state):
    for name, wrong in (("empty", {}), ("cut", dict(list(state.items())[:50]))):
        path = saved(tmp_path / f"{name}.pth", wrong)
        with pytest.raises(WeightsError, match=f"{name}.pth is of another network"):
            InceptionFeatures(path)
