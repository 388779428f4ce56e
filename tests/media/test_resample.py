from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exprbench.media import resample


def shown(times_s, fps, last_s):
    ends = [*times_s[1:], times_s[-1] + last_s]
    return [
        i for i, n in resample(zip(range(len(times_s)), times_s, ends, strict=True), Fraction(fps)) for _ in range(n)
    ]


def nearest(times_s, fps, last_s):
    """The definition, written the slow way."""
    total = max(1, round(fps * (times_s[-1] + last_s)))
    return [min(range(len(times_s)), key=lambda i: (abs(times_s[i] - Fraction(k) / fps), i)) for k in range(total)]


@pytest.mark.parametrize("fps", ["15", "23", "24", "30000/1001", "24000/1001", "25", "30", "50", "60"])
def test_an_hour_at_any_rate_ends_without_drift(fps):
    rate = Fraction(fps)
    times = [i / rate for i in range(round(3600 * rate))]
    out = shown(times, 25, 1 / rate)
    assert len(out) == round(25 * len(times) / rate)
    assert all(abs(times[i] - Fraction(k, 25)) <= 1 / rate / 2 + Fraction(1, 50) for k, i in enumerate(out[:-1]))
    assert abs(times[out[-1]] - Fraction(len(out) - 1, 25)) <= 1 / rate


def test_the_same_rate_is_the_identity():
    assert shown([Fraction(i, 25) for i in range(100)], 25, Fraction(1, 25)) == list(range(100))


def test_timestamps_rounded_to_milliseconds_still_give_every_frame():
    times = [Fraction(round(1000 * i / 24), 1000) for i in range(240)]
    assert shown(times, 24, Fraction(42, 1000)) == list(range(240))


@given(
    st.lists(st.integers(0, 400), max_size=40),
    st.sampled_from([Fraction(25), Fraction(24), Fraction(30000, 1001)]),
    st.integers(42, 200),  # a last frame shorter than one output frame may be shown all the same
)
def test_variable_rates_follow_the_definition(gaps_ms, fps, last_ms):
    times = [Fraction(sum(gaps_ms[:i]), 1000) for i in range(len(gaps_ms) + 1)]
    last_s = Fraction(last_ms, 1000)
    ours, slow = shown(times, fps, last_s), nearest(times, fps, last_s)
    assert [times[i] for i in ours] == [times[i] for i in slow]  # frames of one time are as good as each other


def test_one_frame_gives_at_least_one():
    assert shown([Fraction(0)], 25, Fraction(1, 1000)) == [0]


def test_no_frames_give_none():
    assert list(resample([], Fraction(25))) == []
