import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.data import astronaut, coffee
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from exprbench.metrics import ssim as module
from exprbench.metrics.errors import MetricError
from exprbench.metrics.ssim import KERNEL, KERNEL_SINGLE, ssim

SIDE = 256


def peer(a, b):
    return structural_similarity(
        a, b, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )


def to_uint8(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noisy(frame, amount, seed=0):
    return to_uint8(frame + np.random.default_rng(seed).normal(0, amount, frame.shape))


def jpeg(frame, quality):
    return cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def flat(value):
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def halves(left, right, amount, seed):
    frame = flat(left)
    frame[:, SIDE // 2 :] = right
    return noisy(frame, amount, seed)


PHOTO = cv2.resize(astronaut(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
OTHER = cv2.resize(coffee(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
RAMP = np.broadcast_to((np.arange(SIDE) // 2).astype(np.uint8)[None, :, None], PHOTO.shape).copy()
CUTOUT = np.where(cv2.GaussianBlur(PHOTO, (0, 0), 8).max(-1, keepdims=True) > 120, PHOTO, np.uint8(250))
# Filmed, drawn, and made up to be hard for single precision: flat parts far from each other, little noise.
PAIRS = {
    "compressed": (PHOTO, jpeg(PHOTO, 40)),
    "blurred": (PHOTO, cv2.GaussianBlur(PHOTO, (0, 0), 1.5)),
    "shifted": (PHOTO, np.roll(PHOTO, 3, axis=1)),
    "noisy": (PHOTO, noisy(PHOTO, 12)),
    "another": (PHOTO, OTHER),
    "mirrored": (PHOTO, np.ascontiguousarray(PHOTO[:, ::-1])),
    "black": (PHOTO, flat(0)),
    "white": (PHOTO, flat(255)),
    "grey levels": (flat(255), flat(155)),
    "black on white": (flat(0), flat(255)),
    "bright noise": (noisy(flat(240), 2), noisy(flat(240), 2, seed=1)),
    "dark noise": (noisy(flat(4), 2), noisy(flat(5), 2, seed=1)),
    "halves": (halves(20, 240, 0, 1), halves(23, 238, 0, 2)),
    "noisy halves": (halves(40, 210, 6, 1), halves(43, 208, 6, 2)),
    "cut out on grey": (CUTOUT, flat(160)),
    "ramp": (RAMP, flat(200)),
    "random": tuple(np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_value_is_that_of_scikit_image(name):
    a, b = PAIRS[name]
    assert ssim(a, b) == pytest.approx(peer(a, b), abs=1e-6)


def test_single_precision_is_used_where_it_does_no_harm():
    single = {name: module._shift(*PAIRS[name]) is not None for name in PAIRS}
    assert all(single[name] for name in ("compressed", "blurred", "black", "bright noise"))
    assert not any(single[name] for name in ("noisy halves", "cut out on grey", "ramp"))


def test_the_value_is_that_of_torchmetrics_without_its_border():
    a, b = PAIRS["compressed"]
    planes = [torch.from_numpy(v).permute(2, 0, 1)[None].double() for v in (b, a)]
    _, whole = structural_similarity_index_measure(*planes, data_range=255.0, return_full_image=True)
    assert ssim(a, b) == pytest.approx(float(whole[..., 5:-5, 5:-5].mean()), abs=1e-6)


small = arrays(np.uint8, st.tuples(st.integers(11, 24), st.integers(11, 24), st.just(3)))


@settings(max_examples=25, deadline=None)
@given(small, st.integers(0, 2**31))
def test_small_frames_are_exact(a, seed):
    b = noisy(a, 20, seed)
    assert ssim(a, b) == pytest.approx(peer(a, b), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(small, st.integers(0, 2**31))
def test_it_is_symmetric_bounded_and_one_at_equality(a, seed):
    b = np.random.default_rng(seed).integers(0, 256, a.shape, np.uint8)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)
    assert -1 <= ssim(a, b) < 1
    assert ssim(a, a.copy()) == 1


def test_flat_frames_have_their_closed_form():
    c1 = (0.01 * 255) ** 2
    for x, y in ((0, 255), (100, 200), (250, 251)):
        assert ssim(flat(x), flat(y)) == pytest.approx((2 * x * y + c1) / (x * x + y * y + c1), abs=1e-6)


def test_more_damage_scores_less():
    for damage in (lambda k: noisy(PHOTO, 2**k), lambda k: cv2.GaussianBlur(PHOTO, (0, 0), 0.5 + k)):
        scores = [ssim(PHOTO, damage(k)) for k in range(6)]
        assert scores == sorted(scores, reverse=True)


def test_channels_weigh_alike():
    a, b = PAIRS["compressed"]
    assert ssim(a[..., ::-1].copy(), b[..., ::-1].copy()) == pytest.approx(ssim(a, b), abs=1e-9)


def test_bands_are_the_whole(monkeypatch):
    a, b = PAIRS["compressed"]
    whole = ssim(a, b)
    monkeypatch.setattr(module, "BAND_VALUES", SIDE * 3 * 7)
    assert len(module._bands(a, b)) == 36
    assert ssim(a, b) == pytest.approx(whole, abs=1e-8)


def test_sizes_may_alternate():
    a, b = PAIRS["compressed"]
    parts = [(a, b), (a[:200, :150].copy(), b[:200, :150].copy()), (a[:, :222], b[:, :222])]
    once = [ssim(*pair) for pair in parts]
    assert [ssim(*pair) for pair in parts] == once
    assert once == pytest.approx([peer(*pair) for pair in parts], abs=1e-6)


def test_the_kernel_is_a_gaussian_and_sums_to_one():
    assert pytest.approx(cv2.getGaussianKernel(11, 1.5).ravel(), abs=1e-15) == KERNEL
    assert KERNEL_SINGLE.astype(np.float64).sum() == 1


def test_frames_smaller_than_the_window_are_refused():
    frame = np.zeros((10, 40, 3), np.uint8)
    with pytest.raises(MetricError) as caught:
        ssim(frame, frame)
    assert caught.value.code == "frame_too_small"
    with pytest.raises(ValueError, match="one shape"):
        ssim(PHOTO, PHOTO[:128])
