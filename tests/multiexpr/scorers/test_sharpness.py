import cv2
import numpy as np
import pytest

from multiexpr.recipe import ScoreSharpness
from multiexpr.scorers.sharpness import SharpnessScorer, laplacian_variance, resize_short_side

RNG = np.random.default_rng(0)


def score(frames, **params):
    measurement = SharpnessScorer(ScoreSharpness(**params)).start({})
    for i, frame in enumerate(frames):
        measurement.update(frame, i)
    return measurement.compute()


def picture(height=360, width=640):
    smooth = cv2.GaussianBlur(RNG.integers(0, 255, (height, width, 3), np.uint8), (0, 0), 1)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)


def test_the_variance_is_that_of_the_plain_sum():
    gray = RNG.integers(0, 255, (40, 50), np.uint8)
    padded = np.pad(gray.astype(float), 1, mode="reflect")
    plain = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    assert laplacian_variance(gray) == pytest.approx(plain.var(), rel=1e-9)


def test_closed_forms():
    assert laplacian_variance(np.full((30, 30), 77, np.uint8)) == 0
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (50, 1))
    assert laplacian_variance(ramp[:, 1:-1][:, 1:-1]) < 1  # a ramp has no second derivative but at its ends
    checks = np.indices((40, 40)).sum(0) % 2 * 255
    inner = cv2.Laplacian(checks.astype(np.uint8), cv2.CV_32F)[1:-1, 1:-1]
    assert np.abs(inner).min() == 4 * 255


def test_scikit_image_agrees():
    filters = pytest.importorskip("skimage.filters")
    gray = RNG.integers(0, 255, (40, 50), np.uint8)
    theirs = -filters.laplace(gray.astype(float), ksize=3)[1:-1, 1:-1]
    ours = cv2.Laplacian(gray, cv2.CV_32F)[1:-1, 1:-1]
    assert np.abs(ours - theirs).max() < 1e-3


def test_blur_lowers_it_and_size_does_not_matter_much():
    sharp = picture(720, 1280)
    values = [score([cv2.GaussianBlur(sharp, (0, 0), s) if s else sharp])["sharpness"] for s in (0, 1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 50 * values[-1]
    half = cv2.resize(sharp, (640, 360), interpolation=cv2.INTER_AREA)
    assert score([half])["sharpness"] == pytest.approx(score([sharp])["sharpness"], rel=0.02)


def test_a_low_percentile_over_frames():
    sharp, soft = picture(), cv2.GaussianBlur(picture(), (0, 0), 6)
    assert score([soft, *[sharp] * 9])["sharpness"] > 10 * score([soft] * 3 + [sharp] * 7)["sharpness"]


def test_brightness_is_the_median_of_the_means():
    grays = [np.full((360, 640, 3), v, np.uint8) for v in (0, 51, 255)]
    assert score(grays)["luma"] == pytest.approx(0.2, abs=1e-4)


def test_contrast_is_the_range_of_levels_without_the_outermost_hundredths():
    ramp = np.repeat(np.tile(np.linspace(0, 255, 640).astype(np.uint8), (360, 1))[..., None], 3, axis=2)
    assert score([ramp])["contrast"] == pytest.approx(0.98, abs=0.01)
    fog = (ramp * 0.2 + 160).astype(np.uint8)
    fog[:1] = 0  # a few dark pixels are no contrast
    assert score([fog])["contrast"] == pytest.approx(0.2 * 0.98, abs=0.01)


@pytest.mark.parametrize("shape", [(360, 640), (640, 360), (720, 1280), (100, 50), (361, 361)])
def test_frames_are_resized_to_the_short_side(shape):
    out = resize_short_side(np.zeros((*shape, 3), np.uint8), 360)
    assert min(out.shape[:2]) == 360
    assert out.shape[0] / out.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.01)


def test_the_recipe_says_which_percentile_counts():
    frames = [cv2.GaussianBlur(picture(), (0, 0), sigma) for sigma in (1, 2, 4, 6, 8)]
    values = [score([frame])["sharpness"] for frame in frames]
    for percentile in (0, 20, 50, 90, 100):
        expected = np.percentile(values, percentile)
        assert score(frames, percentile=float(percentile))["sharpness"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("colour", "weight"), [((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114)])
def test_brightness_weighs_the_colours_as_the_eye_does(colour, weight):
    assert score([np.full((360, 640, 3), colour, np.uint8)])["luma"] == pytest.approx(weight, abs=0.003)


def test_white_is_as_bright_as_can_be():
    assert score([np.full((360, 640, 3), 255, np.uint8)])["luma"] == 1.0


def test_it_asks_for_frames_spread_over_the_clip_of_the_size_it_measures_at():
    wanted = SharpnessScorer(ScoreSharpness(num_frames=2, short_side=200)).frames({"length_s": 8.0})
    assert (wanted.times_s, wanted.short_side, wanted.long_side) == ((2.0, 6.0), 200, 0)


def test_frames_are_shrunk_by_area_and_grown_linearly():
    frame = picture(720, 1280)
    assert np.array_equal(resize_short_side(frame, 360), cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA))
    assert np.array_equal(
        resize_short_side(frame, 1080), cv2.resize(frame, (1920, 1080), interpolation=cv2.INTER_LINEAR)
    )
    assert resize_short_side(frame, 720) is frame
