import cv2
import numpy as np
import pytest

from multiexpr.recipe import ScoreAesthetics
from multiexpr.scorers import photomotion
from multiexpr.scorers.edges import sharpest_side
from multiexpr.scorers.photomotion import (
    FLOOR,
    MOTION,
    PHOTO,
    PhotomotionScorer,
    colourfulness,
    integrate,
    motion_between,
    motion_features,
    photo_features,
    saliency,
)

RNG = np.random.default_rng(1)


def scene(shift=0, height=360, width=640):
    """Return a textured scene with a bright figure, moved sideways by `shift` pixels."""
    rng = np.random.default_rng(3)
    ground = cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3), np.uint8), (0, 0), 3)
    frame = cv2.normalize(ground, None, 20, 150, cv2.NORM_MINMAX)
    cv2.circle(frame, (width // 3 + shift, height // 2), 60, (230, 180, 120), -1)
    cv2.circle(frame, (width // 3 + shift, height // 2), 20, (30, 90, 200), -1)
    return frame


def score(make_pair, count=5):
    """Return the columns of a clip; `make_pair(i)` returns the two frames of the i-th pair."""
    scorer = PhotomotionScorer(ScoreAesthetics(num_frames=count))
    facts = {"length_s": 5.0}
    measurement = scorer.start(facts)
    times = scorer.frames(facts).times_s
    frames = [frame for i in range(count) for frame in make_pair(i)]
    for time_s, frame in zip(times, frames, strict=True):
        measurement.update(frame, time_s)
    return measurement.compute()


def lively(i):
    return scene(8 * i), scene(8 * i + 3)


def test_pairs_of_frames_are_requested():
    times = PhotomotionScorer(ScoreAesthetics(num_frames=4, pair_s=0.1)).frames({"length_s": 8.0}).times_s
    assert times == (1.0, 1.1, 3.0, 3.1, 5.0, 5.1, 7.0, 7.1)


def test_damage_lowers_the_score():
    whole = score(lively)["photomotion"]
    assert 5 < whole <= 10
    for damage in (
        lambda f: cv2.GaussianBlur(f, (0, 0), 8),
        lambda f: (f * 0.15).astype(np.uint8),
        lambda f: (128 + (f.astype(int) - 128) // 8).astype(np.uint8),
        lambda f: np.clip(f.astype(int) + 130, 0, 255).astype(np.uint8),
    ):
        assert score(lambda i, d=damage: [d(f) for f in lively(i)])["photomotion"] < whole - 0.4


def with_noise(frame, sd):
    noise = np.random.default_rng(0).normal(0, sd, frame.shape)
    return np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)


def with_combs(frame):
    woven = frame.copy()
    woven[1::2] = np.roll(frame, 9, 1)[1::2]
    return woven


@pytest.mark.parametrize(
    "damage", [lambda f: with_noise(f, 30), lambda f: with_noise(cv2.GaussianBlur(f, (0, 0), 5), 15), with_combs]
)
def test_damage_that_adds_detail_lowers_the_score_too(damage):
    whole = score(lively)["photomotion"]
    assert score(lambda i: [damage(f) for f in lively(i)])["photomotion"] < whole - 1


def test_bars_do_not_change_the_score():
    def barred(i):
        return [cv2.copyMakeBorder(f, 60, 60, 0, 0, cv2.BORDER_CONSTANT) for f in lively(i)]

    assert score(barred)["photomotion"] == pytest.approx(score(lively)["photomotion"], abs=0.05)


def test_a_frozen_picture_is_not_lively_and_a_shaken_one_not_steady():
    frozen = score(lambda i: (scene(), scene()))
    moving = score(lively)
    assert frozen["photo_liveliness"] == FLOOR
    assert moving["photo_liveliness"] > 5 * FLOOR
    shifts = RNG.integers(-25, 25, (5, 2))
    shaken = score(lambda i: (scene(8 * i), np.roll(scene(8 * i + 3), tuple(shifts[i]), (0, 1))))
    assert shaken["photo_steadiness"] < moving["photo_steadiness"] - 0.2


def test_black_frames_have_a_low_score():
    black = np.zeros((360, 640, 3), np.uint8)
    columns = score(lambda i: (black, black))
    assert columns["photomotion"] < 2
    assert all(np.isfinite(value) for value in columns.values())


def test_the_end_of_a_clip_has_the_largest_weight():
    bad, good = [cv2.GaussianBlur(f, (0, 0), 10) for f in lively(0)], lively(0)
    ends_badly = score(lambda i: bad if i >= 3 else good)["photomotion"]
    begins_badly = score(lambda i: bad if i < 2 else good)["photomotion"]
    assert ends_badly < begins_badly


def test_integration_of_equal_moments_is_their_quality_and_bad_ones_count_more():
    def features(values):
        return {name: np.array(values) for name in PHOTO}, {name: np.array(values) for name in MOTION}

    assert integrate(*features([0.7, 0.7, 0.7])) == pytest.approx(0.7)
    assert integrate(*features([0.2, 0.8])) < 0.5
    assert integrate(*features([0.8, 0.2])) < integrate(*features([0.2, 0.8]))


def test_colourfulness_of_gray_is_zero_and_matches_the_plain_formula():
    gray = np.repeat(RNG.integers(0, 255, (20, 30, 1), np.uint8), 3, 2)
    assert colourfulness(gray) == 0
    frame = RNG.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    r, g, b = frame.reshape(-1, 3).T.astype(float)
    rg, yb = r - g, 0.5 * (r + g) - b
    plain = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert colourfulness(frame) == pytest.approx(plain)


def test_the_saliency_map_peaks_at_the_object():
    gray = np.full((360, 640), 120, np.uint8)
    cv2.circle(gray, (160, 90), 14, 250, -1)
    salience = saliency(gray)
    assert salience.sum() == pytest.approx(1)
    y, x = np.unravel_index(salience.argmax(), salience.shape)
    assert abs(x / 64 - 160 / 640) < 0.08
    assert abs(y / 64 - 90 / 360) < 0.08


def test_a_pan_is_camera_motion_with_little_residual():
    gray = cv2.cvtColor(scene(), cv2.COLOR_RGB2GRAY)[:120, :214]
    camera, residual = motion_between(gray, np.roll(gray, 4, 1), 0.1)
    diagonal = np.hypot(120, 214)
    assert camera[0] == pytest.approx(4 / diagonal / 0.1, rel=0.1)
    assert abs(camera[1]) < 0.02
    assert np.median(np.abs(residual)) < 0.02


def test_an_even_pan_is_steady():
    pan = np.array([0.3, 0.0])
    assert motion_features([(pan, np.zeros((4, 4, 2)))] * 4)["steadiness"] == pytest.approx([1.0])


def test_features_stay_within_their_bounds():
    for frame in (scene(), np.zeros((360, 640, 3), np.uint8), np.full((360, 500, 3), 255, np.uint8)):
        assert all(FLOOR <= value <= 1 for value in photo_features(frame).values())


def flat(*colour):
    return np.full((360, 640, 3), colour, np.uint8)


@pytest.mark.parametrize("value", [20, 100, 115, 140, 230])
def test_exposure_is_best_a_little_below_the_middle(value):
    found = photo_features(flat(value, value, value))["exposure"]
    assert found == pytest.approx(max(FLOOR, np.exp(-(((value / 255 - 0.45) / 0.28) ** 2))))


@pytest.mark.parametrize("clipped", [0, 5, 250, 255])
def test_what_is_black_or_white_counts_against_the_exposure(clipped):
    frame = flat(115, 115, 115)
    frame[:36] = clipped  # a tenth
    luma = (0.9 * 115 + 0.1 * clipped) / 255
    assert photo_features(frame)["exposure"] == pytest.approx(0.9 * np.exp(-(((luma - 0.45) / 0.28) ** 2)))


def test_contrast_is_the_range_without_the_extremes():
    frame = flat(100, 100, 100)
    frame[:180] = 151
    frame[:10], frame[-10:] = 0, 255  # less than a twentieth each
    assert photo_features(frame)["contrast"] == pytest.approx(51 / 255 / 0.7)


def test_colour_and_focus_follow_their_formulas():
    frame = scene()
    found = photo_features(frame)
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    assert found["colour"] == pytest.approx(1 - np.exp(-colourfulness(frame) / 25))
    assert found["focus"] == pytest.approx(min(1, sharpest_side(gray) / 250))
    assert photo_features(cv2.GaussianBlur(frame, (0, 0), 6))["focus"] < 0.3


@pytest.fixture
def salient(monkeypatch):
    """`salient({(row, column): weight})`: features of a picture with this salience on its grid of 64 by 64."""

    def features(weights):
        salience = np.zeros((64, 64))
        for at, weight in weights.items():
            salience[at] = weight
        monkeypatch.setattr(photomotion, "saliency", lambda gray: salience / salience.sum())
        return photo_features(scene())

    return features


@pytest.mark.parametrize(
    ("row", "column", "nearest"),
    [
        (21, 21, (1 / 3, 1 / 3)),
        (2, 24, (1 / 3, 1 / 3)),
        (40, 60, (2 / 3, 2 / 3)),
        (33, 30, (0.5, 0.5)),
        (44, 18, (2 / 3, 1 / 3)),
    ],
)
def test_composition_falls_with_the_distance_of_the_salience_from_a_crossing_of_thirds_or_the_middle(
    salient, row, column, nearest
):
    y, x = (row + 0.5) / 64, (column + 0.5) / 64
    distance = np.hypot(y - nearest[0], x - nearest[1])
    assert salient({(row, column): 1.0})["composition"] == pytest.approx(np.exp(-((distance / 0.25) ** 2)))


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.5), (0.65, 0.75), (0.2, FLOOR), (0.9, 1.0)])
def test_an_image_is_simple_if_its_most_salient_fifth_holds_most_of_the_salience(salient, share, expected):
    most, rest = 64 * 64 // 5 + 1, 64 * 64 - 64 * 64 // 5 - 1
    cells = [(i // 64, i % 64) for i in range(64 * 64)]
    weights = dict.fromkeys(cells[:most], share / most) | dict.fromkeys(cells[most:], (1 - share) / rest)
    assert salient(weights)["simplicity"] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("speed", [0.001, 0.01, 0.1, 0.5])
def test_some_motion_is_lively_and_much_is_not(speed):
    rest = np.full((4, 4, 2), speed / np.sqrt(2))
    (found,) = motion_features([(np.zeros(2), rest)])["liveliness"]
    assert found == pytest.approx(max(FLOOR, speed / (speed + 0.01) * np.exp(-((speed / 0.4) ** 2))))


def test_a_camera_is_as_steady_as_its_velocity_is_even():
    shaken = [(np.array([0.1, v]), np.zeros((4, 4, 2))) for v in (0.0, 0.2)]  # deviates by 0.1
    assert motion_features(shaken)["steadiness"] == pytest.approx([np.exp(-((0.1 / 0.15) ** 2))])
    assert motion_features([]) == {"liveliness": [FLOOR], "steadiness": [1.0]}


def one_moment(**features):
    values = {name: np.array([features.get(name, 1.0)]) for name in (*PHOTO, *MOTION)}
    return {name: values[name] for name in PHOTO}, {name: values[name] for name in MOTION}


WEIGHTS = {"exposure": 1, "contrast": 1, "colour": 0.5, "focus": 2, "cleanness": 3, "simplicity": 0.5,
           "composition": 0.5, "liveliness": 1, "steadiness": 1}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_feature_has_its_weight_in_the_quality_of_a_moment(name):
    assert integrate(*one_moment(**{name: 0.25})) == pytest.approx(0.25 ** (WEIGHTS[name] / 10.5))


def test_moments_count_by_their_harmonic_mean_the_last_twice_as_much_as_the_first():
    both = [{name: np.array([0.2, 0.8]) for name in names} for names in (PHOTO, MOTION)]
    assert integrate(*both) == pytest.approx(3 / (1 / 0.2 + 2 / 0.8))
