"""Damage: each measure rises with its damage and not with the others, nor with the content of a clip."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from multiexpr.recipe import KeepDamage, ScoreDamage
from multiexpr.scorers.frame_damage import (
    DamageScorer,
    blockiness,
    clipped_share,
    combing,
    content_box,
    enlargement,
    grain,
    halos,
    isolated_edges,
    median_picture,
    noise_sd,
    posterisation,
    without_bars,
)

LIMITS = KeepDamage()


def scene(shift=0, height=240, width=400):
    """Return a textured scene, moved sideways."""
    rng = np.random.default_rng(3)
    ground = cv2.GaussianBlur(rng.integers(0, 255, (height, width + 200), np.uint8), (0, 0), 3)
    ground = cv2.normalize(ground, None, 40, 210, cv2.NORM_MINMAX)
    cv2.circle(ground, (width // 2, height // 2), 60, 230, -1)
    return ground[:, 100 + shift : 100 + shift + width]


def grainy(picture, sd):
    noise = np.random.default_rng(1).normal(0, sd, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def woven(first, second):
    """Return the even lines of one picture and the odd ones of another."""
    frame = first.copy()
    frame[1::2] = second[1::2]
    return frame


def blocked(picture, levels=12):
    """Return a picture whose 8 x 8 blocks keep only their mean, in steps of `levels`."""
    height, width = picture.shape[0] // 8 * 8, picture.shape[1] // 8 * 8
    means = cv2.resize(picture[:height, :width], (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    steps = (np.rint(means / levels) * levels).astype(np.uint8)
    return cv2.resize(steps, (width, height), interpolation=cv2.INTER_NEAREST)


def sharpened_fully(picture):
    return cv2.addWeighted(picture, 2, cv2.GaussianBlur(picture, (0, 0), 1), -1, 0)


def film_grain(picture, sd):
    noise = cv2.GaussianBlur(np.random.default_rng(1).normal(size=picture.shape), (0, 0), 0.7)
    return np.clip(np.rint(picture + noise * sd / noise.std()), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sd", [10, 20])
def test_noise_is_measured_in_levels(sd):
    assert noise_sd(grainy(scene(), sd)) == pytest.approx(sd, rel=0.15)


def test_film_grain_is_noise_although_neighbouring_pixels_are_alike():
    flat = np.full((240, 400), 128, np.uint8)
    assert noise_sd(film_grain(flat, 15)) == pytest.approx(15, rel=0.15)
    assert noise_sd(film_grain(flat, 15), 1) < 10


def test_texture_edges_and_blocks_are_no_noise():
    assert noise_sd(scene()) < 4
    assert noise_sd(scene(), 1) < 2
    assert noise_sd(blocked(scene())) < 4
    assert noise_sd(np.full((240, 400), 128, np.uint8)) == 0


def shaded(levels=256, noise=0.0):
    """Return a picture with smooth shading and a uniform background, quantised to a number of levels."""
    rng = np.random.default_rng(2)
    smooth = cv2.GaussianBlur(rng.normal(size=(360, 640)), (0, 0), 40)
    picture = cv2.normalize(smooth, None, 20, 235, cv2.NORM_MINMAX)
    picture[:, 500:] = 90
    picture = np.floor(picture / 256 * levels) * 256 / levels + rng.normal(0, noise, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def recorded(picture):
    """Return a picture as a codec leaves it."""
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("side", [4, 6, 6.4, 16])
def test_pixelated_pictures_are_blocky(side):
    picture = scene(height=360, width=640)
    small = cv2.resize(picture, None, fx=1 / side, fy=1 / side, interpolation=cv2.INTER_AREA)
    pixelated = cv2.resize(small, (640, 360), interpolation=cv2.INTER_NEAREST)
    assert blockiness(recorded(pixelated)) > LIMITS.max_blockiness
    assert blockiness(recorded(picture)) < LIMITS.max_blockiness / 2


@pytest.mark.parametrize(("height", "width"), [(240, 160), (120, 160), (150, 300)])
def test_people_in_front_of_a_uniform_wall_are_not_blocky(height, width):
    wall = np.full((360, 640), 180, np.uint8)
    wall[360 - height :, 320 - width // 2 : 320 + width // 2] = scene(height=height, width=width)
    assert blockiness(recorded(wall)) < LIMITS.max_blockiness
    assert blockiness(cv2.GaussianBlur(wall, (0, 0), 0.6)) < LIMITS.max_blockiness


@pytest.mark.parametrize("levels", [4, 8, 12])
def test_a_picture_of_few_levels_is_posterised(levels):
    assert posterisation([recorded(shaded(levels))]) > LIMITS.max_posterisation
    assert posterisation([recorded(shaded())]) < 0.5


@pytest.mark.parametrize(
    "change", [lambda p: (p * 0.3 + 20).astype(np.uint8), lambda p: cv2.convertScaleAbs(p, alpha=1.1), sharpened_fully]
)
def test_contrast_and_sharpening_do_not_posterise(change):
    assert posterisation([recorded(change(shaded()))]) < LIMITS.max_posterisation


def test_pictures_without_flat_parts_are_not_posterised():
    assert posterisation([shaded(8, noise=10.0)]) == 0
    assert posterisation([np.zeros((2, 2), np.uint8)]) < 2


def test_clipped_blocks_do_not_hide_noise():
    half_white = grainy(scene(), 20)
    half_white[:120] = 255
    assert noise_sd(half_white) == pytest.approx(20, rel=0.15)


def test_combs_are_the_lines_of_two_fields():
    still = scene()
    assert combing(scene(8), still) == 0
    assert combing(woven(still, scene(8)), still) > 100 * LIMITS.max_combing
    assert combing(grainy(still, 30), still) <= LIMITS.max_combing
    assert combing(np.zeros((3, 40), np.uint8), np.zeros((3, 40))) == 0


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_the_median_picture_is_the_median_of_each_pixel(count):
    pictures = list(np.random.default_rng(count).integers(0, 256, (count, 20, 30), np.uint8))
    assert np.array_equal(median_picture(pictures), np.median(pictures, axis=0))


@pytest.mark.parametrize("sd", [0, 5])
@pytest.mark.parametrize("distance", [20, 80])
def test_thin_lines_that_do_not_move_are_no_combs(sd, distance):
    striped = scene()
    striped[40:120:2, 50:250] = np.clip(striped[40:120:2, 50:250].astype(int) + distance, 0, 255)
    assert combing(striped, scene()) > 100 * LIMITS.max_combing  # that appear are
    assert score([grainy(striped, sd)] * 3)["combing"] <= LIMITS.max_combing


def test_blocks_have_steps_every_eight_pixels_in_both_directions():
    assert blockiness(scene()) < LIMITS.max_blockiness / 2
    assert blockiness(blocked(scene())) > 2 * LIMITS.max_blockiness
    shifted = blocked(scene())[3:, 5:]  # the grid does not have to begin at the corner
    assert blockiness(shifted) > 2 * LIMITS.max_blockiness


def test_a_seam_or_a_fence_is_no_block():
    seam = scene()
    seam[:, 200:] = 255 - seam[:, 200:]
    assert blockiness(seam) < LIMITS.max_blockiness
    fence = scene()
    fence[:, ::16] //= 2  # in one direction only
    assert blockiness(fence) < LIMITS.max_blockiness


def test_clipped_pixels_have_a_channel_at_its_end():
    frame = np.full((10, 10, 3), 200, np.uint8)
    frame[:5, :, 0] = 255
    assert clipped_share(frame) == 0.5


@pytest.mark.parametrize("colour", [0, 16, 128, 255])
def test_bars_of_any_colour_are_left_out(colour):
    frames = [cv2.cvtColor(scene(s), cv2.COLOR_GRAY2RGB) for s in (0, 5)]
    barred = [cv2.copyMakeBorder(f, 20, 30, 40, 50, cv2.BORDER_CONSTANT, value=(colour,) * 3) for f in frames]
    assert content_box(barred) == (40, 20, 440, 260)
    assert all(np.array_equal(a, b) for a, b in zip(without_bars(barred), frames, strict=True))


def test_a_picture_without_bars_and_a_uniform_one_stay_whole():
    frames = [cv2.cvtColor(scene(), cv2.COLOR_GRAY2RGB)]
    assert content_box(frames) == (0, 0, 400, 240)
    assert content_box([np.zeros((20, 30, 3), np.uint8)]) == (0, 0, 30, 20)
    flash = [np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 255, np.uint8)]  # uniform, but not over time
    assert content_box(flash) == (0, 0, 30, 20)


def score(frames):
    scorer = DamageScorer(ScoreDamage(num_frames=len(frames)))
    measurement = scorer.start({})
    for i, frame in enumerate(frames):
        measurement.update(cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB), float(i))
    return measurement.compute()


def test_the_worst_frame_counts_for_combs_and_the_median_for_the_others():
    still, moving = scene(), woven(scene(), scene(8))
    assert score([still] * 4 + [moving])["combing"] == pytest.approx(combing(moving, still), abs=1e-4)
    assert score([still] * 3 + [grainy(still, 20)] * 2)["noise"] < 4


def test_bars_change_no_score():
    whole = [scene(s) for s in (0, 2, 4)]
    barred = [cv2.copyMakeBorder(frame, 40, 40, 0, 0, cv2.BORDER_CONSTANT) for frame in whole]
    with_bars, without = score(barred), score(whole)
    assert with_bars["content_box"] == [0.0, 0.125, 1.0, 0.875]
    assert {k: v for k, v in with_bars.items() if k != "content_box"} == {
        k: v for k, v in without.items() if k != "content_box"
    }


def edges(sharpening=0.0, noise=0.0):
    """Return a picture of soft steps 80 pixels apart, sharpened by an unsharp mask."""
    row = np.where(np.arange(640) // 80 % 2, 170.0, 70.0)
    picture = cv2.GaussianBlur(np.tile(row, (200, 1)).astype(np.float32), (0, 0), 1.5)
    picture += sharpening * (picture - cv2.GaussianBlur(picture, (0, 0), 2.0))
    picture += np.random.default_rng(0).normal(0, noise, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def halos_of(picture):
    return halos(isolated_edges(picture))


def test_sharpened_edges_have_halos_and_others_have_none():
    assert halos_of(edges()) == 0
    weak, strong = halos_of(edges(1.0)), halos_of(edges(3.0))
    assert 0.05 < weak < strong < 1
    assert halos_of(edges(3.0).T.copy()) == pytest.approx(strong)


def test_halos_are_found_if_one_side_of_the_edges_is_clipped():
    """A sharpened silhouette in front of a white sky overshoots on its dark side only."""
    bright = np.clip(edges(3.0).astype(np.float32) + 85, 0, 255).astype(np.uint8)
    assert (bright == 255).mean() > 0.3
    assert halos_of(bright) > 0.1
    black_and_white = np.clip((edges().astype(np.float32) - 120) * 20, 0, 255).astype(np.uint8)
    assert halos_of(black_and_white) == 0


def test_noise_and_thin_lines_are_no_halos():
    assert halos_of(edges(noise=10.0)) == 0
    lines = np.full((200, 640), 90, np.uint8)
    lines[:, 40::80] = 200
    assert halos_of(lines) == 0


def enlarged(factor, kernel, sharpening=0.0):
    """Return steps of a small picture, enlarged and then sharpened."""
    row = np.where(np.arange(96) // 16 % 2, 170, 70).astype(np.uint8)
    picture = cv2.resize(np.tile(row, (40, 1)), None, fx=factor, fy=factor, interpolation=kernel).astype(np.float32)
    picture += sharpening * (picture - cv2.blur(picture, (7, 7)))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sharpening", [0.0, 2.5])
@pytest.mark.parametrize(("factor", "kernel"), [(4, cv2.INTER_CUBIC), (6, cv2.INTER_CUBIC), (4, cv2.INTER_LANCZOS4)])
def test_the_factor_of_an_enlargement_is_found_with_and_without_sharpening(factor, kernel, sharpening):
    found = enlargement(isolated_edges(enlarged(factor, kernel, sharpening)))
    assert found == pytest.approx(factor, rel=0.35)


def in_and_out_of_focus():
    """Return a sharpened picture; a fifth of it is in focus, and the rest as soft as if it were enlarged."""
    row = np.where(np.arange(1600) // 80 % 2, 170.0, 70.0)
    steps = np.tile(row, (200, 1)).astype(np.float32)
    picture = np.hstack([cv2.GaussianBlur(steps[:, :320], (0, 0), 0.5), cv2.GaussianBlur(steps[:, 320:], (0, 0), 2.0)])
    picture += 2 * (picture - cv2.GaussianBlur(picture, (0, 0), 2.0))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def test_a_picture_that_is_not_enlarged_has_the_factor_1():
    assert enlargement(isolated_edges(edges())) == 1
    assert enlargement(isolated_edges(edges(3.0))) < 3  # sharpened, and softer than pixels can show
    assert enlargement(isolated_edges(in_and_out_of_focus())) < 1.5
    assert enlargement(isolated_edges(np.full((200, 300), 90, np.uint8))) == 1
    assert enlargement(isolated_edges(np.zeros((3, 3), np.uint8))) == 1


def test_grain_is_noise_relative_to_detail():
    """The same noise hides the detail of a blurred picture, but not that of a sharp one."""
    sharp = edges(noise=8.0)
    blurred = cv2.GaussianBlur(edges(), (0, 0), 8).astype(np.float32)
    grainy = np.clip(blurred + np.random.default_rng(0).normal(0, 8, blurred.shape), 0, 255).astype(np.uint8)
    assert grain(sharp) < 1 < grain(grainy)
    assert grain(edges()) == 0
    assert noise_sd(sharp) == pytest.approx(noise_sd(grainy), rel=0.1)


def enlarge(frame, lines):
    return cv2.resize(frame, (round(frame.shape[1] * lines / len(frame)), lines), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("lines", [360, 480])
def test_combs_of_a_video_that_was_enlarged_are_found(lines):
    still = [scene(s, height=lines, width=600) for s in range(0, 60, 6)]
    combed = [woven(first, second) for first, second in pairwise(still)]
    assert score([enlarge(frame, 640) for frame in still])["combing"] <= LIMITS.max_combing
    assert score([enlarge(frame, 640) for frame in combed])["combing"] > LIMITS.max_combing


def test_blocks_of_a_video_that_was_enlarged_are_found():
    frames = [scene(s, height=360, width=600) for s in (0, 6, 12)]
    blocky = [cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 3])[1], 0) for frame in frames]
    assert score([enlarge(frame, 600) for frame in frames])["blockiness"] <= LIMITS.max_blockiness
    assert score([enlarge(frame, 600) for frame in blocky])["blockiness"] > LIMITS.max_blockiness
