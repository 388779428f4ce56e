import numpy as np
import pytest

from fantasyportrait.colour_matching import match_colour, to_lab

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(60, 180, (32, 48, 3), dtype=np.uint8)


def drifting(num_frames, per_frame):
    """Return frames of one picture whose red value grows, after the first ten frames."""
    frames = np.tile(PICTURE.astype(float), (num_frames, 1, 1, 1))
    frames[..., 0] += per_frame * np.maximum(np.arange(num_frames) - 9, 0)[:, None, None]
    return frames.round().clip(0, 255).astype(np.uint8)


def colour(frame):
    return to_lab(frame).mean((0, 1))


def test_frames_without_drift_stay_as_they_are():
    frames = drifting(30, 0)
    for before, after in zip(frames, match_colour(iter(frames), 10), strict=True):
        assert np.abs(before.astype(int) - after).max() <= 1  # CIELAB and back


def test_the_first_window_is_untouched_and_slow_drift_is_removed():
    frames = drifting(100, 0.5)
    matched = list(match_colour(iter(frames), 10))
    assert all(np.array_equal(a, b) for a, b in zip(frames[:10], matched, strict=False))
    drift = [np.linalg.norm(colour(video[-1]) - colour(frames[0])) for video in (frames, matched)]
    assert drift[0] > 10
    assert drift[1] < 0.15 * drift[0]


def test_one_bright_frame_stays_bright():
    frames = drifting(60, 0)
    frames[40] = (frames[40].astype(int) + 40).clip(0, 255)
    matched = list(match_colour(iter(frames), 20))
    change = colour(frames[40])[0] - colour(frames[39])[0]
    assert colour(matched[40])[0] - colour(matched[39])[0] == pytest.approx(change, rel=0.15)


def test_a_flat_frame_is_not_stretched():
    frames = [PICTURE] * 5 + [np.full_like(PICTURE, 100)] * 20
    assert np.isfinite(np.stack(list(match_colour(iter(frames), 5)))).all()
    assert np.ptp(list(match_colour(iter(frames), 5))[-1].reshape(-1, 3), axis=0).max() <= 1
