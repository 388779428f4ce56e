"""The metrics as torchmetrics classes: equal to `exprbench score`, also over several processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from exprbench.media import read_clip
from exprbench.metrics.extractors import frame_features
from exprbench.metrics.frechet import frechet_distance
from exprbench.metrics.psnr import psnr
from exprbench.metrics.ssim import ssim
from exprbench.torch import FID, FVD, KID, LMD, PSNR, SSIM, ExprBenchMetric, metrics

ROOT = Path(__file__).parents[1]
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}  # or the host's name would be looked up


class Colours:
    """A network whose features are the mean colours of a frame's quarters (or of a clip's middle frame)."""

    id, num_features, batch = "colours", 12, 4

    def prepare(self, frame):
        height, width = (side // 2 * 2 for side in frame.shape[:2])
        quarters = frame[:height, :width].reshape(2, height // 2, 2, width // 2, 3)
        return quarters.mean((1, 3)).ravel().astype(np.float32)

    def features(self, prepared):
        return np.stack([p if isinstance(p, np.ndarray) else p[len(p) // 2] for p in prepared])


def videos(count=3, frames=20, seed=0):
    """(B, T, 3, 32, 48) uint8 predictions and references."""
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randint(0, 256, (count, frames, 3, 32, 48), dtype=torch.uint8, generator=generator)
    noise = torch.randint(0, 12, reference.shape, dtype=torch.uint8, generator=generator)
    return torch.maximum(reference, noise), reference


def by_hand(function, predicted, reference):
    pairs = zip(predicted.movedim(-3, -1).numpy(), reference.movedim(-3, -1).numpy(), strict=True)
    return np.mean([np.mean([function(r, p) for p, r in zip(*pair, strict=True)]) for pair in pairs])


@pytest.mark.parametrize(("metric", "function"), [(PSNR, psnr), (SSIM, ssim)])
def test_pixel_metrics_are_means_over_videos(metric, function):
    predicted, reference = videos()
    whole = metric()
    whole.update(predicted, reference)
    assert whole.compute().item() == pytest.approx(by_hand(function, predicted, reference), rel=1e-12)
    assert whole.higher_is_better
    single = metric()
    for p, r in zip(predicted, reference, strict=True):
        single.update(p, r)
    assert single.compute() == whole.compute()


def test_forward_gives_the_value_of_the_batch_and_accumulates():
    predicted, reference = videos()
    metric, first = PSNR(), PSNR()
    first.update(predicted[:1], reference[:1])
    assert metric(predicted[:1], reference[:1]) == first.compute()
    metric(predicted[1:], reference[1:])
    whole = PSNR()
    whole.update(predicted, reference)
    assert metric.compute().item() == pytest.approx(whole.compute().item(), rel=1e-12)


def test_a_prediction_of_another_size_is_brought_to_the_references():
    predicted, reference = videos(1)
    metric = PSNR()
    metric.update(torch.nn.functional.interpolate(predicted[0].float(), size=(16, 24)).to(torch.uint8), reference[0])
    assert 0 < metric.compute() < 20


def test_nothing_added_has_no_value():
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert torch.isnan(PSNR().compute())


def test_frames_of_another_kind_are_refused():
    predicted, reference = videos(1)
    for bad in (predicted.float(), predicted[0, 0], predicted[..., :2, :, :]):
        with pytest.raises(ValueError, match=r"expected \(B, T, 3, H, W\) uint8"):
            PSNR().update(bad, reference)


def test_unknown_columns_are_refused():
    for column in ("psrn", "fid"):
        with pytest.raises(ValueError, match="unknown column"):
            ExprBenchMetric(column)
    with pytest.raises(ValueError, match="unknown column"):
        ExprBenchMetric("aed_full", profile="mediapipe")


def test_fid_is_the_distance_of_all_frames():
    predicted, reference = videos()
    metric = FID(Colours())
    for p, r in zip(predicted, reference, strict=True):
        metric.update(p, r)
    frames = [v.movedim(-3, -1).flatten(0, 1).numpy() for v in (predicted, reference)]
    expected = frechet_distance(*(frame_features(list(f), Colours()) for f in frames))
    assert metric.compute().item() == pytest.approx(expected, rel=1e-9)
    forward = FID(Colours())
    for p, r in zip(predicted, reference, strict=True):
        forward(p, r)
    assert forward.compute().item() == pytest.approx(expected, rel=1e-9)


def test_fvd_takes_clips():
    predicted, reference = videos(4, frames=33)
    metric = FVD(Colours())
    metric.update(predicted, reference)
    assert int(metric.predicted_n[0]) == 8  # two clips of 16 frames in each of four videos
    assert metric.compute() > 0
    metric.reset()
    metric.update(reference, reference)
    assert metric.compute().item() == pytest.approx(0, abs=1e-9)


def test_metrics_fit_a_collection():
    predicted, reference = videos(2)
    collection = MetricCollection(metrics(["psnr", "ssim", "psnr_pooled"]))
    collection.update(predicted, reference)
    assert set(collection.compute()) == {"psnr", "ssim", "psnr_pooled"}


# The ranks are forks, which need not import again.
RANKS = """
import sys, torch
from multiprocessing import get_context
from tests.test_torch import Colours, videos
from exprbench.torch import FID, PSNR

def one(rank):
    store = f"file://{sys.argv[1]}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    predicted, reference = videos()
    share = slice(0, 1) if rank == 0 else slice(1, None)
    for metric in (PSNR(), FID(Colours())):
        metric.update(predicted[share], reference[share])
        value = metric.compute().item()
        if rank == 0:
            print(repr(value), flush=True)

ranks = [get_context("fork").Process(target=one, args=(rank,)) for rank in range(2)]
for rank in ranks:
    rank.start()
for rank in ranks:
    rank.join()
sys.exit(any(rank.exitcode for rank in ranks))
"""


def test_two_processes_give_the_number_of_one(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **LOOPBACK}
    run = subprocess.run(
        [sys.executable, "-c", RANKS, tmp_path / "store"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        env=environment,
    )
    psnr_value, fid_value = map(float, run.stdout.split())
    predicted, reference = videos()
    for metric, value in ((PSNR(), psnr_value), (FID(Colours()), fid_value)):
        metric.update(predicted, reference)
        assert value == pytest.approx(metric.compute().item(), rel=1e-9)


def test_faces_on_a_real_clip(shared, needs_weights):
    needs_weights("face_landmarker")
    frames = torch.from_numpy(read_clip(shared("driving/d13.mp4"), fps=25, max_frames=8)[0]).movedim(-1, -3)
    metric, same = LMD(), LMD()
    same.update(frames, frames)
    assert same.compute() == 0
    metric.update(frames.roll(1, 0), frames)
    assert metric.compute() > 1e-4
    gone = LMD()
    gone.update(torch.zeros_like(frames), frames)
    assert gone.num_videos == 0


def test_kid_is_torchmetrics_on_all_frames_at_once():
    from torchmetrics.image.kid import poly_mmd

    predicted, reference = videos()
    metric = KID(Colours())
    for i in range(3):
        metric.update(predicted[i], reference[i])
    sides = [
        torch.from_numpy(np.concatenate([frame_features(list(v), Colours()) for v in side.movedim(-3, -1).numpy()]))
        for side in (reference, predicted)
    ]
    assert metric.compute().item() == pytest.approx(poly_mmd(*(s.double() for s in sides)).item(), rel=1e-6)
    assert not metric.higher_is_better


def test_further_columns_by_name():
    predicted, reference = videos()
    metric = ExprBenchMetric("l1")
    metric.update(predicted, reference)
    expected = (predicted.double() - reference.double()).abs().mean()
    assert metric.compute().item() == pytest.approx(expected.item(), rel=1e-9)
