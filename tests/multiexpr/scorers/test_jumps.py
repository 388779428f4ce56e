"""Jump cuts and dissolves between takes of the same people, whose background stays as it is; slides."""

import cv2
import numpy as np
import pytest

from multiexpr.scorers.cuts import cell_colours
from multiexpr.scorers.dissolves import largest_dissolve
from multiexpr.scorers.jumps import grid_size, halves, largest_jump
from multiexpr.scorers.slides import largest_slide

FPS = 12.5  # of gradual cuts
RATE = 25  # of jumps
JUMP, GRADUAL = 0.1, 0.5  # limits of the default recipe


def blobs(seed, shape, sigma):
    rough = np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(rough, (0, 0), sigma), None, 0, 255, cv2.NORM_MINMAX)


ROOM, PEOPLE = blobs(0, (144, 256), 15), [blobs(seed, (100, 64), 2.5) for seed in (1, 2)]


def picture(moments, people=(0, 1)):
    """Return a frame (144, 256, 3) of two people, each at a moment in seconds of slow, smooth movements."""
    frame = ROOM.copy()
    for person in people:
        t = moments[person]
        x = 30 + 130 * person + 7 * np.sin(1.7 * t + person) + 4 * np.sin(2.9 * t)
        y = 22 + 6 * np.sin(1.3 * t + 2 * person) + 3 * np.cos(3.1 * t)
        to_place = np.float32([[1, 0, x], [0, 1, y]])
        frame = cv2.warpAffine(PEOPLE[person], to_place, (256, 144), frame, borderMode=cv2.BORDER_TRANSPARENT)
    return frame


def take(start, count, fps=FPS):
    """Return frames of both people from a moment in seconds on."""
    return [picture([start + i / fps] * 2) for i in range(count)]


def jump(moments):
    """Return the largest jump of frames of two people at given moments in seconds, at 25 frames per second."""
    return largest_jump([picture([t] * 2) for t in moments], RATE)


def dissolved(first, second, start, count):
    """Return two takes, of which the first is blended into the second from frame `start` on, in `count` frames."""
    weights = np.clip((np.arange(len(first)) - start + 1) / (count + 1), 0, 1)
    pairs = zip(first, second, weights, strict=True)
    return [cv2.addWeighted(a, 1 - weight, b, weight, 0) for a, b, weight in pairs]


def seconds(count):
    return np.arange(count) / RATE


def test_people_who_move_neither_jump_nor_dissolve():
    assert jump(seconds(120))[0] == 0
    assert largest_dissolve(take(0, 60), FPS)[0] < GRADUAL


@pytest.mark.parametrize("later_s", [1.2, 3.0, 7.5])
def test_a_jump_cut_is_found_at_its_frame(later_s):
    share, frame = jump(seconds(100) + later_s * (np.arange(100) >= 50))
    assert share > 2 * JUMP
    assert frame == 50


@pytest.mark.parametrize("person", [0, 1])
def test_a_jump_of_one_of_two_people_is_no_cut(person):
    moments = np.stack([seconds(100)] * 2, 1)
    moments[50:, person] += 3
    assert largest_jump([picture(t) for t in moments], RATE)[0] == 0


def test_a_jump_counts_only_if_all_halves_move():
    frames = [picture([i / RATE + 40 * (i >= 50)] * 2, people=(1,)) for i in range(100)]
    assert largest_jump(frames, RATE) == (0, -1)


@pytest.mark.parametrize("steps", [3, 5, 8])
def test_a_quick_movement_of_all_is_no_jump(steps):
    """Up to five times as fast for a few frames, evenly or with a slow start and end."""
    even = np.clip((np.arange(100) - 50) / steps, 0, 1)
    for progress in (even, (1 - np.cos(np.pi * even)) / 2):
        assert jump(seconds(100) + 4 * steps / RATE * progress)[0] < JUMP


@pytest.mark.parametrize("fps", [6, 8, 10, 12, 15, 20, 24])
def test_steps_of_a_low_frame_rate_are_no_jumps(fps):
    assert jump(np.floor(seconds(120) * fps) / fps)[0] < JUMP


@pytest.mark.parametrize("fps", [12, 15])
def test_a_jump_cut_is_found_among_repeated_frames(fps):
    share, frame = jump(np.floor(seconds(120) * fps) / fps + 3 * (np.arange(120) >= 50))
    assert share > JUMP
    assert frame == 50


@pytest.mark.parametrize("count", [2, 4])
def test_a_pause_of_the_recording_is_no_jump(count):
    moments = [0.04 * (40 if 40 < i <= 40 + count else i) for i in range(120)]
    assert jump(moments)[0] < JUMP


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_jump(length):
    frames = take(0, 100, RATE)
    for i in range(50, 50 + length):
        frames[i] = cv2.add(frames[i], (130.0,) * 3)
    assert largest_jump(frames, RATE)[0] < JUMP


def test_a_lamp_is_no_jump():
    frames = [cv2.add(frame, (30.0 * (i >= 50),) * 3) for i, frame in enumerate(take(0, 100, RATE))]
    assert largest_jump(frames, RATE)[0] < JUMP


def test_a_stuttering_zoom_is_no_jump():
    """Zooms by whole pixels move the picture in uneven steps."""
    frames = []
    for i, frame in enumerate(take(0, 100, RATE)):
        x, y = (int(side * (1 - 1 / (1 + i / 300)) / 2) for side in (256, 144))
        frames.append(cv2.resize(frame[y : 144 - y, x : 256 - x], (256, 144), interpolation=cv2.INTER_CUBIC))
    assert largest_jump(frames, RATE)[0] < JUMP


@pytest.mark.parametrize("count", [5, 10, 18])
@pytest.mark.parametrize("later_s", [5, 6, 12])
def test_a_dissolve_between_takes_of_the_same_people_is_found_at_its_middle(count, later_s):
    frames = dissolved(take(0, 60), take(later_s, 60), 20, count)
    value, frame = largest_dissolve(frames, FPS)
    assert value > GRADUAL
    assert frame == pytest.approx(20 + count / 2, abs=5)


def test_a_blend_of_takes_at_the_same_moment_is_none():
    frames = take(0, 60)
    assert largest_dissolve(dissolved(frames, take(0, 60), 20, 10), FPS)[0] < GRADUAL


@pytest.mark.parametrize("gain", [0.6, 1.4, 1.8])
@pytest.mark.parametrize("count", [1, 4, 10])
def test_a_change_of_exposure_is_neither_a_jump_nor_a_dissolve(gain, count):
    gains = np.interp(np.arange(60), (20, 20 + count), (1 / max(gain, 1), gain / max(gain, 1)))
    frames = [np.rint(frame * g).astype(np.uint8) for frame, g in zip(take(0, 60), gains, strict=True)]
    assert largest_dissolve(frames, FPS)[0] < GRADUAL
    assert largest_jump(frames, FPS)[0] < JUMP


@pytest.mark.parametrize("exposure_s", [0.0, 0.02, 0.04])
def test_motion_blur_in_a_quick_movement_is_no_dissolve(exposure_s):
    """The people move at up to 25 pixels per second, and six times as fast for a moment."""
    moments = np.cumsum([0.08 * (1 + 5 * np.exp(-(((i - 30) / 3) ** 2))) for i in range(60)])
    lengths = 1 + np.rint(25 * np.gradient(moments) / 0.08 * exposure_s).astype(int)
    frames = [cv2.blur(picture([t] * 2), (int(length), 1)) for t, length in zip(moments, lengths, strict=True)]
    assert largest_dissolve(frames, FPS)[0] < GRADUAL


@pytest.mark.parametrize("count", [1, 4, 5])
def test_short_clips_have_neither(count):
    assert largest_jump(take(0, count), RATE) == (0, -1)
    assert largest_dissolve(take(0, count), FPS)[0] < GRADUAL


def test_tiny_frames_have_neither():
    frames = [np.zeros((4, 6, 3), np.uint8)] * 20
    assert largest_jump(frames, RATE) == (0, -1)
    assert largest_dissolve(frames, FPS) == (0, -1)


@pytest.mark.parametrize("size", [(600, 60), (80, 20), (24, 300), (128, 31)])
def test_narrow_frames_can_be_compared(size):
    """With a short side below 32 pixels, OpenCV's flow crashes."""
    frames = [cv2.resize(picture([t] * 2), size) for t in seconds(20)]
    assert largest_jump(frames, RATE)[0] < JUMP
    assert largest_dissolve(frames, FPS)[0] < GRADUAL


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_slide_show_jumps(count):
    frames = [blobs(seed, (144, 256), 5) for seed in range(count) for _ in range(25)]
    share, frame = largest_jump(frames, RATE)
    assert share > 0.5
    assert frame % 25 == 0


def test_a_video_of_two_frames_per_second_does_not_jump():
    assert jump([t for t in np.arange(8) / 10 for _ in range(12)])[0] < JUMP


def test_a_recording_that_stalls_does_not_jump():
    moments = [*seconds(40), *([40 / RATE] * 15), *(40 / RATE + seconds(40))]
    assert jump(moments)[0] < JUMP


def test_halves_of_a_grid():
    assert grid_size(np.zeros((90, 160, 3))) == (24, 12)
    assert grid_size(np.zeros((160, 90, 3))) == (12, 24)
    left, right, upper, lower = halves((2, 2)).tolist()
    assert (left, right) == ([True, False, True, False], [False, True, False, True])
    assert (upper, lower) == ([True, True, False, False], [False, False, True, True])


def slid(first, second, axis, start, count):
    """Return frames in which the second picture pushes the first one out along an axis, from `start` on."""
    frames, side = [], first.shape[axis]
    for i in range(40):
        offset = round(side * np.clip((i - start) / count, 0, 1))
        frames.append(np.take(np.concatenate([first, second], axis), np.arange(offset, offset + side), axis))
    return frames


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("count", [5, 8, 12])
@pytest.mark.parametrize("way", [1, -1])
def test_a_slide_to_another_picture_is_found(axis, count, way):
    first, second = blobs(3, (144, 256), 4), blobs(4, (144, 256), 4)
    frames = [np.ascontiguousarray(np.flip(f, axis) if way < 0 else f) for f in slid(first, second, axis, 10, count)]
    total, frame = largest_slide(frames, cell_colours(frames), FPS)
    assert total == pytest.approx(1, abs=0.2)
    assert frame == pytest.approx(10 + count / 2, abs=2)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_pan_is_no_slide(share):
    scene = blobs(3, (144, 512), 4)
    offsets = [round(256 * share * np.clip((i - 10) / 8, 0, 1)) for i in range(40)]
    frames = [scene[:, offset : offset + 256] for offset in offsets]
    assert largest_slide(frames, cell_colours(frames), FPS) == (0, -1)
