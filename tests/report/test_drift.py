"""Drift: means over time bins, each video once."""

import numpy as np
import pytest

from exprbench.report.drift import MAX_BINS, bin_seconds, drift


def test_frames_are_averaged_in_bins_and_then_over_videos():
    curves = [np.array([1.0, 3.0, 5.0, 7.0]), np.array([10.0, 20.0, np.nan, np.nan])]
    assert drift(curves, fps=2, width_s=1) == ([(2 + 15) / 2, 6.0], [2, 1])


def test_videos_of_different_length_leave_later_bins_to_the_others():
    assert drift([np.ones(2), np.full(6, 3.0)], fps=1, width_s=2) == ([2.0, 3.0, 3.0], [2, 1, 1])


def test_a_bin_without_values_has_no_mean():
    assert drift([np.array([1.0, np.nan, 2.0])], fps=1, width_s=1) == ([1.0, None, 2.0], [1, 0, 1])
    assert drift([], fps=25, width_s=1) == ([], [])


@pytest.mark.parametrize(("duration_s", "width_s"), [(2, 0.2), (5, 0.2), (12, 0.2), (30, 0.5), (60, 1), (600, 10)])
def test_bins_have_round_widths(duration_s, width_s):
    assert bin_seconds(duration_s) == pytest.approx(width_s)
    assert duration_s / bin_seconds(duration_s) <= MAX_BINS
