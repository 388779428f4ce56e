"""Effective size: what blur and enlargement lower, and contrast, noise and sharpening hardly change."""

import cv2
import numpy as np
import pytest

from multiexpr.scorers.edges import (
    effective_side,
    fit_blur,
    gradient_energies,
    noise_to_detail,
    sharpest_side,
    without_impulses,
)


def shapes(side=256, seed=0):
    """Return a picture of overlapping bright and dark disks and rectangles, sharp and without noise."""
    rng = np.random.default_rng(seed)
    canvas = np.full((4 * side, 4 * side), 120, np.uint8)
    for _ in range(60):
        x, y, size, level = *rng.integers(0, 4 * side, 2), rng.integers(side // 8, side), rng.integers(30, 220)
        if rng.random() < 0.5:
            cv2.circle(canvas, (int(x), int(y)), int(size), int(level), -1)
        else:
            cv2.rectangle(canvas, (int(x), int(y)), (int(x + size), int(y + size)), int(level), -1)
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)


def grainy(picture, sd):
    rng = np.random.default_rng(1)
    return np.clip(np.rint(picture + rng.normal(0, sd, picture.shape)), 0, 255).astype(np.uint8)


def blurred(picture, sigma):
    return cv2.GaussianBlur(picture, (0, 0), sigma)


def sharpened(picture, amount=2.0):
    return cv2.addWeighted(picture, 1 + amount, blurred(picture, 1.4), -amount, 0)


def enlarged(picture, factor):
    small = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0, 5.0])
def test_the_width_of_a_gaussian_blur_is_found(sigma):
    energies = [energy.mean() for energy in gradient_energies(blurred(shapes(), sigma))]
    assert fit_blur(np.array([energies]))[0] == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("sigma", [2.0, 4.0])
def test_contrast_and_noise_hardly_change_the_size(sigma):
    picture = blurred(shapes(), sigma)
    expected = effective_side(picture)
    assert effective_side((picture * 0.4 + 60).astype(np.uint8)) == pytest.approx(expected, rel=0.1)
    for sd in (4, 12, 25):
        assert effective_side(grainy(picture, sd)) == pytest.approx(expected, rel=0.35)


def salted(picture, share=0.04):
    rng = np.random.default_rng(2)
    is_hit = rng.random(picture.shape[:2]) < share
    return np.where(is_hit, rng.choice([0, 255], picture.shape[:2]), picture).astype(np.uint8)


def smaller(picture):
    return cv2.resize(picture, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)


def film_grain(picture, sd):
    noise = cv2.GaussianBlur(np.random.default_rng(3).normal(size=picture.shape), (0, 0), 0.8)
    return np.clip(np.rint(picture + noise * sd / noise.std()), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("share", [0.02, 0.04, 0.1])
def test_blur_under_impulse_noise_is_found_after_a_median(share):
    """Resizing spreads impulses, so that they are no white noise."""
    soft, sharp = blurred(shapes(512), 6), shapes(512)
    expected = effective_side(smaller(soft))
    assert sharpest_side(smaller(salted(soft, share))) > 1.2 * expected
    assert effective_side(smaller(without_impulses(salted(soft, share)))) == pytest.approx(expected, rel=0.1)
    assert effective_side(smaller(without_impulses(salted(sharp, share)))) > 4 * expected


@pytest.mark.parametrize("damage", [lambda p: p, sharpened, lambda p: grainy(p, 12), lambda p: grainy(p, 40)])
def test_a_picture_without_impulses_keeps_its_detail(damage):
    picture = damage(shapes())
    assert without_impulses(picture) is picture
    colours = np.repeat(picture[..., None], 3, axis=2)
    assert without_impulses(colours) is colours


@pytest.mark.parametrize("damage", [lambda p: film_grain(p, 8), lambda p: grainy(smaller(p), 8)])
def test_blur_is_found_under_noise_of_any_spectrum(damage):
    """Film grain, and noise that was resized, are not white, but as strong in flat parts."""
    soft, sharp = blurred(shapes(512), 6), shapes(512)
    for measure in (effective_side, sharpest_side):
        clean = measure(soft)
        assert measure(smaller(damage(soft))) < 2 * clean < 0.6 * measure(smaller(damage(sharp)))


def with_lines(picture, sigma):
    """Return a picture of thin lines: their energy falls faster with the width of a blur than that of edges."""
    lines = np.full((256, 256), 128, np.uint8)
    for row, column in np.random.default_rng(5).integers(10, 246, (20, 2)):
        lines[row : row + 2, 5:250] = picture[row, column]
        lines[5:250, column : column + 2] = picture[column, row]
    return blurred(lines, sigma)


def test_fine_texture_in_a_part_is_no_noise():
    """Hair is as flat as a wall at the coarsest scale."""
    picture = shapes()
    texture = np.random.default_rng(4).integers(90, 160, (256, 90), np.uint8)
    picture[:, :90] = cv2.GaussianBlur(texture, (0, 0), 0.8)
    assert effective_side(picture) > 0.6 * effective_side(shapes())


def test_lines_and_edges_with_the_same_blur_have_a_similar_size():
    for sigma in (2.0, 4.0):
        assert effective_side(with_lines(shapes(), sigma)) == pytest.approx(
            effective_side(blurred(shapes(), sigma)), rel=0.4
        )


@pytest.mark.parametrize("sigma", [2.0, 4.0])
def test_noise_counts_more_in_a_picture_without_detail(sigma):
    sharp, soft = grainy(shapes(), 8), grainy(blurred(shapes(), sigma), 8)
    assert noise_to_detail(shapes()) < 0.01
    assert noise_to_detail(soft) > 2 * noise_to_detail(sharp)


@pytest.mark.parametrize("factor", [3, 4, 6])
def test_enlarged_pictures_keep_their_size_also_when_sharpened(factor):
    large = enlarged(shapes(), factor)
    assert effective_side(large) == pytest.approx(256 / factor, rel=0.25)


def test_sharpening_raises_the_size_of_a_much_enlarged_picture_little():
    assert effective_side(sharpened(enlarged(shapes(), 8))) < 1.5 * 256 / 8


def test_a_sharp_picture_has_its_own_size():
    assert effective_side(shapes()) > 0.6 * 256
    assert effective_side(shapes()[:100]) <= 100


def test_a_soft_background_does_not_hide_a_sharp_person():
    portrait = blurred(shapes(256, 1), 8)
    portrait[64:192, 64:192] = shapes(256, 2)[64:192, 64:192]
    assert sharpest_side(portrait) > 2 * effective_side(blurred(portrait, 4))
    assert sharpest_side(blurred(portrait, 6)) < 40


def test_a_uniform_picture_has_a_finite_size():
    assert np.isfinite(effective_side(np.full((50, 50), 77, np.uint8)))
    assert np.isfinite(sharpest_side(np.full((50, 50), 77, np.uint8)))
