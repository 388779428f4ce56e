"""Speech: the mouth of the person who speaks opens with the loudness."""

import numpy as np
import pytest

from exprbench.media import VideoSource
from multiexpr.scorers.speech import MIN_FRAMES, loudness, mouth_opening, speaking
from tests.conftest import SHARED

RNG = np.random.default_rng(0)


def syllables(count):
    return np.convolve(np.abs(RNG.normal(size=count + 4)), np.ones(5) / 5, "valid")


def test_the_mouth_that_follows_the_sound_speaks_also_with_a_lag():
    loud = syllables(100)
    seen = np.ones(100, bool)
    assert speaking(loud * 3 + 1, loud, seen) == pytest.approx(1)
    assert speaking(np.roll(loud, 2), loud, seen) > 0.9
    assert speaking(np.roll(loud, 20), loud, seen) < 0.5
    assert speaking(syllables(100), loud, seen) < 0.5


def test_only_the_frames_with_the_face_count():
    loud, seen = syllables(60), np.arange(60) % 3 != 0
    assert speaking(loud[seen], loud, seen) == pytest.approx(1)


def test_silence_a_still_mouth_and_a_short_clip_are_no_speech():
    assert speaking(syllables(50), np.full(50, -9.0), np.ones(50, bool)) == 0
    assert speaking(np.ones(50), syllables(50), np.ones(50, bool)) == 0
    few = MIN_FRAMES - 3
    assert speaking(np.arange(few), np.arange(few), np.ones(few, bool)) == 0


def test_the_opening_of_a_mouth_does_not_depend_on_the_size_of_the_face():
    landmarks = np.zeros((2, 478, 3))
    landmarks[:, 13], landmarks[:, 14] = (0.5, 0.6, 0), (0.5, 0.65, 0)
    landmarks[:, 33], landmarks[:, 263] = (0.45, 0.4, 0), (0.55, 0.4, 0)
    landmarks[1, :, :2] *= 0.5
    assert mouth_opening(landmarks, (400, 400)) == pytest.approx([0.5, 0.5])


@pytest.mark.shared
def test_the_sound_of_a_file_is_measured_in_time_with_its_frames():
    path = SHARED / "data/driving/d10.mp4"
    if not path.exists():
        pytest.skip("needs ../shared/data")
    whole = loudness(VideoSource(path=str(path)), 12.5, 75)
    later = loudness(VideoSource(path=str(path), start_s=2.0, duration_s=4.0), 12.5, 50)
    assert whole.shape == (75,)
    assert np.ptp(whole) > 2  # speech with pauses
    np.testing.assert_allclose(later, whole[25:], atol=0.2)
    assert loudness(VideoSource(path=str(SHARED / "data/multi/two_person.mp4")), 12.5, 50) is None
