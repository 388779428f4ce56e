import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr

from exprbench.metrics.psnr import decibel, frame_mean, identical_share, pooled, psnr, squared_error

frames = arrays(np.uint8, (12, 9, 3))


def noisy(frame, amount, seed=0):
    noise = np.random.default_rng(seed).normal(0, amount, frame.shape)
    return np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)


def test_a_constant_difference_has_its_closed_form():
    frame = np.full((40, 60, 3), 100, np.uint8)
    assert psnr(frame, frame + np.uint8(10)) == pytest.approx(10 * np.log10(255**2 / 100), abs=1e-12)
    assert psnr(np.zeros_like(frame), np.full_like(frame, 255)) == pytest.approx(0, abs=1e-12)


def test_identical_frames_score_the_cap_and_so_does_one_wrong_bit_in_a_large_frame():
    frame = np.zeros((600, 600, 3), np.uint8)
    assert psnr(frame, frame) == 100
    almost = frame.copy()
    almost[0, 0, 0] = 1
    assert psnr(frame, almost) == 100
    assert squared_error(frame, almost) == 1


@settings(max_examples=50, deadline=None)
@given(frames, frames)
def test_the_value_is_that_of_scikit_image(a, b):
    if (a != b).any():
        assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(frames, frames)
def test_it_is_symmetric_and_the_error_is_a_whole_number(a, b):
    assert psnr(a, b) == psnr(b, a)
    assert squared_error(a, b) == int(((a.astype(int) - b) ** 2).sum())


def test_more_noise_scores_less():
    frame = np.full((64, 64, 3), 128, np.uint8)
    scores = [psnr(frame, noisy(frame, amount)) for amount in (1, 2, 4, 8, 16, 32)]
    assert scores == sorted(scores, reverse=True)


def test_large_frames_are_exact():
    a, b = np.zeros((2160, 3840, 3), np.uint8), np.full((2160, 3840, 3), 255, np.uint8)
    assert squared_error(a, b) == a.size * 255**2


def test_a_video_is_averaged_over_frames_and_also_pooled():
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (5, 32, 48, 3), np.uint8)
    predicted = np.stack([noisy(f, 3 * (i + 1)) for i, f in enumerate(reference)])
    errors, size = [squared_error(r, p) for r, p in zip(reference, predicted, strict=True)], reference[0].size
    channels_first = [torch.from_numpy(v).permute(0, 3, 1, 2).double() for v in (predicted, reference)]
    peers = torch_psnr(*channels_first, data_range=255.0, dim=(1, 2, 3), reduction="none")
    mean = float(peers.mean())
    assert frame_mean(errors, size) == pytest.approx(mean, abs=1e-5)  # theirs keeps the range in single precision
    assert pooled(errors, size) == pytest.approx(
        peak_signal_noise_ratio(reference, predicted, data_range=255), abs=1e-9
    )
    assert frame_mean(errors, size) >= pooled(errors, size)  # Jensen
    assert identical_share(errors, size) == 0


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
def test_the_order_of_frames_is_of_no_matter(errors):
    assert frame_mean(errors, 1000) == pytest.approx(frame_mean(errors[::-1], 1000), abs=1e-12)
    assert pooled(errors, 1000) == pooled(errors[::-1], 1000)
    assert identical_share(errors, 1000) == errors.count(0) / len(errors)


def test_no_frames_have_no_score():
    assert np.isnan([reduce([], 100) for reduce in (frame_mean, pooled, identical_share)]).all()


def test_the_error_of_a_video_is_that_of_its_parts():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    halves = squared_error(a[:30], b[:30]) + squared_error(a[30:], b[30:])
    assert squared_error(a, b) == halves
    assert decibel(halves, a.size) == psnr(a, b)


def test_frames_of_two_sizes_or_of_floats_are_refused():
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="one shape"):
        psnr(frame, frame[:4])
    with pytest.raises(ValueError, match="uint8"):
        psnr(frame, frame.astype(np.float32))
