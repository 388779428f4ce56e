import numpy as np
import pytest
import torch

from exprbench.metrics.l1 import absolute_error, frame_mean


def test_a_constant_offset_is_the_error():
    frame = np.full((8, 6, 3), 100, np.uint8)
    assert absolute_error(frame, frame) == 0
    assert absolute_error(frame, frame - 3) == absolute_error(frame - 3, frame) == 3


def test_it_equals_torch():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3)).astype(np.uint8)
    expected = torch.nn.functional.l1_loss(torch.from_numpy(a).double(), torch.from_numpy(b).double()).item()
    assert absolute_error(a, b) == pytest.approx(expected, rel=1e-12)


def test_frames_count_alike_and_none_give_no_number():
    assert frame_mean([1.0, 2.0], 144) == 1.5
    assert np.isnan(frame_mean([], 144))
