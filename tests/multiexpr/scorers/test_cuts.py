import cv2
import numpy as np
import pytest

from multiexpr.recipe import ScoreCuts
from multiexpr.scorers.cuts import CutScorer, content_changes, hard_cuts, neighbour_means

RNG = np.random.default_rng(0)
JUMP = 0.1  # limit of the default recipe


def score(frames):
    measurement = CutScorer(ScoreCuts()).start({"fps": 12.5})
    for i, frame in enumerate(frames):
        measurement.update(frame, i / 12.5)
    return measurement.compute()


@pytest.mark.parametrize(
    ("fps", "wanted"), [(8, 8), (25, 25), (30, 30), (29.97, 29.97), (31, 15.5), (50, 25), (60, 30), (120, 30)]
)
def test_frames_are_those_of_the_clip_up_to_30_per_second(fps, wanted):
    times_s = CutScorer(ScoreCuts()).frames({"length_s": 4.0, "fps": fps}).times_s
    assert times_s[1] == pytest.approx(1 / wanted, abs=1e-4)


def texture(seed):
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 255, (144, 256, 3), np.uint8), (0, 0), 4)


def room(seed):
    """Return a picture of large areas of different colours."""
    rough = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 255, (144, 256, 3), np.uint8), (0, 0), 15)
    return cv2.normalize(rough, None, 0, 255, cv2.NORM_MINMAX)


def pan(image, count, step=2):
    return [np.roll(image, i * step, 1) for i in range(count)]


def test_a_cut_is_detected_at_its_time():
    columns = score([*pan(texture(0), 20), *pan(255 - texture(1), 20)])
    assert columns["cut"] > 10
    assert columns["cut_times_s"] == [pytest.approx(20 / 12.5)]
    assert columns["jump"] > JUMP
    assert columns["jump_s"] == pytest.approx(20 / 12.5)


def test_motion_is_not_a_cut():
    assert score(pan(texture(0), 40, step=6))["cut"] == 0
    assert score([texture(0)] * 20)["cut"] == 0


@pytest.mark.parametrize("position", [1, 2, 39])
def test_cuts_near_the_ends_are_detected(position):
    frames = [*pan(texture(0), position), *pan(255 - texture(1), 40 - position)]
    assert score(frames)["cut"] > 10


def test_clips_of_one_and_two_frames():
    nothing = {"cut": 0.0, "cut_times_s": [], "jump_s": None, "gradual_s": None}
    nothing |= dict.fromkeys(("jump", "gradual"), 0.0)
    assert score([texture(0)]) == nothing
    assert score([texture(0), 255 - texture(1)])["cut"] > 10


def test_neighbour_means_use_fewer_values_at_the_ends():
    assert neighbour_means(np.array([1.0, 2, 3, 4, 5])).tolist() == [2.5, 8 / 3, 3.0, 10 / 3, 3.5]
    assert neighbour_means(np.array([7.0])).tolist() == [0.0]


def test_changes_are_pyscenedetects_own_of_frames_at_the_wanted_size():
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector
    from scenedetect.stats_manager import StatsManager

    frames = [cv2.resize(picture, (512, 288)) for picture in (texture(0), texture(5), 255 - texture(1))]
    running, detector = CutScorer(ScoreCuts(long_side=128)).start({"fps": 12.5}), ContentDetector()
    detector.stats_manager = StatsManager()
    detector.stats_manager.register_metrics(detector.get_metrics())
    for i, frame in enumerate(frames):
        running.update(frame, i / 12.5)
        small = cv2.resize(frame, (128, 72), interpolation=cv2.INTER_AREA)
        detector.process_frame(FrameTimecode(i, fps=12.5), np.ascontiguousarray(small[..., ::-1]))
    times = [FrameTimecode(i, fps=12.5) for i in range(3)]
    theirs = [detector.stats_manager.get_metrics(at, ["content_val"])[0] for at in times]
    assert content_changes(running.frames, 12.5) == pytest.approx(theirs[1:])
    assert min(theirs[1:]) > 5


def test_red_to_magenta_is_a_large_change_of_hue():
    red, magenta = (np.full((72, 128, 3), colour, np.uint8) for colour in ((255, 0, 0), (255, 0, 255)))
    assert score([red, magenta])["cut"] == pytest.approx(150 / 3, abs=1)  # blue to magenta would be 30


def result_of(changes, ratio=3.0):
    """What comes of changes between frames a second apart."""
    return hard_cuts(np.array(changes), [float(i + 1) for i in range(len(changes))], ratio)


def test_a_cut_stands_out_by_the_recipes_ratio_from_its_neighbours():
    changes = [10.0, 10.0, 30.0, 10.0, 10.0]
    assert result_of(changes)["cut"] == 30  # just three times as large
    assert result_of([10.0, 10.0, 29.9, 10.0, 10.0])["cut"] == 0
    assert result_of(changes, ratio=3.1)["cut"] == 0
    assert result_of([10.0, 10.0, 25.0, 10.0, 10.0], ratio=2.5)["cut"] == 25


def test_times_are_those_of_cuts_at_least_half_as_strong_as_the_strongest():
    quiet = [1.0] * 5
    found = result_of([*quiet, 40.0, *quiet, 20.0, *quiet, 19.0, *quiet])
    assert found == {"cut": 40.0, "cut_times_s": [6.0, 12.0]}
    assert result_of([0.0] * 4) == {"cut": 0.0, "cut_times_s": []}


def talking(seed, count, scale=3):
    """A textured scene in front of which two patches move up and down, as faces do."""
    ground, frames = room(seed), []
    for i in range(count):
        frame = ground.copy()
        for x, phase in ((60, 0.0), (160, 1.0)):
            y = 50 + round(scale * np.sin(i / 3 + phase))
            frame[y : y + 60, x : x + 40] = 255 - frame[y : y + 60, x : x + 40]
        frames.append(frame)
    return frames


def blended(first, second, count):
    return [np.rint(first + (second - first) * ((i + 1) / (count + 1))).astype(np.uint8) for i in range(count)]


def wiped(first, second, count):
    frames = []
    for i in range(count):
        x = round(first.shape[1] * (i + 1) / (count + 1))
        frames.append(np.hstack([second[:, :x], first[:, x:]]).astype(np.uint8))
    return frames


@pytest.mark.parametrize("between", [blended, wiped])
@pytest.mark.parametrize("count", [5, 10, 18])
def test_gradual_cuts_are_detected_at_their_middle(between, count):
    first, second = talking(0, 20), talking(7, 20)
    shots = first[-1].astype(np.float64), second[0].astype(np.float64)
    columns = score([*first, *between(*shots, count), *second])
    assert columns["gradual"] > 0.5
    assert columns["gradual_s"] == pytest.approx((20 + count / 2) / 12.5, abs=0.6)


def test_a_fade_through_black_is_a_gradual_cut():
    first, second, black = talking(0, 20), talking(7, 20), np.zeros((144, 256, 3))
    out, back = blended(first[-1].astype(float), black, 5), blended(black, second[0].astype(float), 5)
    assert score([*first, *out, *back, *second])["gradual"] > 0.5


def test_motion_is_no_gradual_cut_and_no_jump():
    for frames in (talking(0, 50), talking(0, 50, scale=12), pan(texture(0), 50, step=1), pan(texture(0), 50, step=4)):
        columns = score(frames)
        assert columns["gradual"] <= 0.5
        assert columns["jump"] <= JUMP


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut_of_any_kind(length):
    frames = talking(0, 40)
    for i in range(20, 20 + length):
        frames[i] = np.clip(frames[i].astype(int) + 130, 0, 255).astype(np.uint8)
    columns = score(frames)
    assert columns["cut"] < 5
    assert columns["gradual"] <= 0.5
    assert columns["jump"] <= JUMP


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_a_change_of_exposure_is_no_cut_of_any_kind(steps):
    frames = talking(0, 40)
    ramp = np.clip((np.arange(40) - 15) / steps, 0, 1)
    brighter = [
        np.clip(f.astype(float) * (0.6 + 0.4 * r), 0, 255).astype(np.uint8) for f, r in zip(frames, ramp, strict=True)
    ]
    columns = score(brighter)
    assert columns["cut"] < 10
    assert columns["jump"] <= JUMP
    assert columns["gradual"] <= 0.5


@pytest.mark.parametrize("level", [0.0, 255.0])
@pytest.mark.parametrize("count", [2, 6])
def test_a_short_fade_through_a_uniform_picture_is_a_gradual_cut(level, count):
    first, second, blank = talking(0, 20), talking(7, 20), np.full((144, 256, 3), level)
    out, back = blended(first[-1].astype(float), blank, count), blended(blank, second[0].astype(float), count)
    columns = score([*first, *out, blank.astype(np.uint8), *back, *second])
    assert columns["gradual"] > 0.5
    assert columns["gradual_s"] == pytest.approx((20 + count) / 12.5, abs=0.5)


def test_bars_do_not_hide_a_cut():
    frames = [*pan(texture(0), 20), *pan(255 - texture(1), 20)]
    barred = [cv2.copyMakeBorder(frame, 100, 100, 0, 0, cv2.BORDER_CONSTANT) for frame in frames]
    assert score(barred)["cut"] > 0.8 * score(frames)["cut"]


@pytest.mark.shared
def test_an_animated_film_has_cuts(shared):
    from exprbench.media import open_frames

    with open_frames(shared("raw/Megamind.avi"), [k / 12.5 for k in range(100)], long_side=256) as frames:
        columns = score(frames)
    assert columns["cut"] > 27
