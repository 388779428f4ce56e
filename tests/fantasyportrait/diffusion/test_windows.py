from itertools import pairwise

import pytest
import torch

from fantasyportrait.diffusion.windows import count_latent_frames, split_windows


@pytest.mark.parametrize(("num_frames", "expected"), [(1, 1), (2, 2), (5, 2), (6, 3), (9, 3), (81, 21), (82, 22)])
def test_latent_frames_hold_any_number_of_frames(num_frames, expected):
    assert count_latent_frames(num_frames) == expected
    assert 4 * expected - 3 >= num_frames


@pytest.mark.parametrize("num_latent_frames", [1, 5, 21])
def test_a_short_clip_is_one_window(num_latent_frames):
    (window,) = split_windows(num_latent_frames, 21, 5)
    assert (window.start, window.stop) == (0, num_latent_frames)
    assert window.weights.eq(1).all()
    assert window.frame_slice == slice(0, 4 * num_latent_frames - 3)


@pytest.mark.parametrize(
    ("num_latent_frames", "length", "overlap"), [(22, 21, 5), (40, 21, 5), (100, 21, 4), (9, 4, 1), (7, 4, 3)]
)
def test_weights_add_up_to_one_and_windows_are_of_one_length(num_latent_frames, length, overlap):
    windows = split_windows(num_latent_frames, length, overlap)
    total = torch.zeros(num_latent_frames)
    for window in windows:
        assert window.stop - window.start == length
        assert (window.weights >= 0).all()
        total[window.latent_slice] += window.weights
    torch.testing.assert_close(total, torch.ones(num_latent_frames))
    for before, after in pairwise(windows):
        assert before.stop - after.start >= overlap
    assert windows[-1].stop == num_latent_frames


def test_the_first_latent_frame_of_a_later_window_has_no_weight():
    for window in split_windows(60, 21, 5)[1:]:
        assert window.weights[0] == 0


def test_a_window_covers_the_frames_of_its_latents():
    window = split_windows(40, 21, 5)[1]
    assert window.start == 16
    assert window.frame_slice == slice(64, 145)


def test_impossible_overlaps_are_refused():
    with pytest.raises(ValueError, match="overlap of 21"):
        split_windows(40, 21, 21)


def test_weights_rise_and_fall_in_even_steps_through_an_overlap():
    first, second = split_windows(16, 10, 4)
    assert first.weights.tolist() == pytest.approx([1] * 6 + [1, 0.75, 0.5, 0.25])
    assert second.weights.tolist() == pytest.approx([0, 0.25, 0.5, 0.75] + [1] * 6)


def test_the_last_window_ends_with_the_clip_and_shares_more_with_the_one_before():
    windows = split_windows(30, 10, 4)
    assert [(w.start, w.stop) for w in windows] == [(0, 10), (6, 16), (12, 22), (18, 28), (20, 30)]
    assert split_windows(22, 10, 4)[-1].start == 12  # where it fits, there is none too many


@pytest.mark.parametrize("overlap", [0, 21, 22])
def test_overlaps_are_from_one_to_one_less_than_a_window(overlap):
    assert len(split_windows(40, 21, 20)) == 20
    with pytest.raises(ValueError, match="expected 1 to 20"):
        split_windows(40, 21, overlap)


def test_a_clip_of_just_a_windows_length_is_one_window():
    assert len(split_windows(21, 21, 5)) == 1
    assert len(split_windows(22, 21, 5)) == 2
