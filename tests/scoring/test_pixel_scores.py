"""Scores from the pixels of two videos, frame by frame."""

import numpy as np
import pytest
from PIL import Image

from exprbench.core.files import sha256_path
from exprbench.media import read_clip, write_frames
from exprbench.metrics import COLUMNS
from exprbench.metrics.psnr import psnr
from exprbench.metrics.ssim import ssim
from exprbench.scoring.cases import _reduce_pixels
from exprbench.scoring.computations import pixel_computation, shape_computation
from exprbench.scoring.single_pass import FramePair, VideoInput, single_pass
from tests.scoring.conftest import NUM_FRAMES, case_of
from tests.videos import numbered

OWN = "single-self-0001"
PIXEL_COLUMNS = [metric for metric in COLUMNS.values() if metric.kind == "pixel" and metric.name != "lpips"]


def noisy(seed, shape=(96, 160, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def scored(pairs):
    """(values, reasons) of every pixel column for (predicted, reference) frames, through the bytes of the cache."""
    video = VideoInput(path="a.mp4", sha256="a", fps=25)
    computation = pixel_computation("pixels", video, video, PIXEL_COLUMNS)
    accumulator = computation.start()
    for predicted, reference in pairs:
        accumulator.update(FramePair(reference, predicted))
    values, unscored = {}, {}
    result = computation.unpack(computation.pack(accumulator.compute()))
    _reduce_pixels(PIXEL_COLUMNS, result, values, unscored)
    return values, unscored, result["resized"]


def test_values_are_means_over_the_frames():
    pairs = [(noisy(i), noisy(i + 10)) for i in range(3)] + [(noisy(9), noisy(9))]
    values, unscored, resized = scored(pairs)
    assert values["psnr"] == pytest.approx(np.mean([psnr(r, p) for p, r in pairs]))
    assert values["ssim"] == pytest.approx(np.mean([ssim(r, p) for p, r in pairs]))
    assert values["psnr_identical"] == 0.25
    assert values["psnr_pooled"] < values["psnr"]
    assert (unscored, resized) == ({}, False)


@pytest.mark.parametrize("size", [(80, 48), (96, 160), (161, 97)])
def test_a_prediction_is_brought_to_the_references_size(method, size):
    """By Pillow's bicubic filter, whichever of the two is larger or in portrait format."""
    frames = [np.asarray(Image.fromarray(numbered(7 * i)).resize(size)) for i in range(NUM_FRAMES)]
    method.path(OWN).unlink()
    write_frames(method.folder / OWN, frames)
    record = method.score(metrics=["psnr", "ssim"], split="single", track="self")
    case = case_of(record, OWN)
    reference = read_clip(method.bench.path("driving/ada.mp4"))[0]
    fitted = [np.asarray(Image.fromarray(f).resize((160, 96), Image.Resampling.BICUBIC)) for f in frames]
    assert (case.resized, case.size) == (True, size)
    assert case.values["psnr"] == pytest.approx(np.mean([psnr(r, f) for r, f in zip(reference, fitted, strict=True)]))
    assert case.values["ssim"] == pytest.approx(np.mean([ssim(r, f) for r, f in zip(reference, fitted, strict=True)]))


def test_only_the_pixel_metrics_resize(method):
    method.write(OWN, [np.zeros((48, 80, 3), np.uint8)] * NUM_FRAMES)
    record = method.score(metrics=["lmd"], split="single", track="self")
    assert not case_of(record, OWN).resized
    assert record.groups[0].num_resized == 0


def test_frames_too_small_for_ssim_still_have_a_psnr():
    values, unscored, _ = scored([(noisy(1, (8, 20, 3)), noisy(2, (8, 20, 3)))] * 2)
    assert unscored == {"ssim": "frame_too_small: 20x8 pixels; SSIM needs 11x11"}
    assert set(values) == {"psnr", "psnr_pooled", "psnr_identical", "l1"}


def test_a_videos_frames_and_size_are_counted(method):
    video = VideoInput(path=method.path(OWN), sha256=sha256_path(method.path(OWN)), fps=12.5, max_frames=15)
    computation = shape_computation("shape", video)
    assert not computation.is_cached()
    assert tuple(single_pass([computation])["shape"]) == (15, 160, 96)
    assert tuple(computation.recall()) == (15, 160, 96)
