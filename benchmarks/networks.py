"""FID's network on video frames: exprbench, the network alone on prepared tensors, pytorch-fid with its default batch.

Weights are random, which does not change the time. Runs on a GPU if there is one; the table names the device.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Row, Table, arguments, compare, report
from exprbench.metrics.extractors import frame_features
from exprbench.metrics.fid import InceptionFeatures
from tests.metrics.files import inception_state, saved

SIDE, PYTORCH_FID_BATCH = 512, 50
NUM_FRAMES = {"cuda": 500, "cpu": 8}
OURS, ALONE, THEIRS = "exprbench, from frames", "the network alone", f"pytorch-fid, batches of {PYTORCH_FID_BATCH}"


def photographs(count: int) -> list[np.ndarray]:
    """Return shifted copies of one photograph."""
    from skimage.data import astronaut

    return [np.ascontiguousarray(np.roll(astronaut(), 8 * i, axis=1)) for i in range(count)]


def alternatives(frames: list[np.ndarray], ours: InceptionFeatures) -> dict[str, Callable[[], np.ndarray]]:
    """Return functions that compute the features of all frames."""
    theirs = copy(ours)
    theirs.order, theirs.batch = torch.contiguous_format, PYTORCH_FID_BATCH
    prepared = [ours.prepare(frame) for frame in frames]

    def in_batches(extractor: InceptionFeatures, tensors: list) -> np.ndarray:
        starts = range(0, len(tensors), extractor.batch)
        return np.concatenate([extractor.features(tensors[i : i + extractor.batch]) for i in starts])

    def by_pytorch_fid() -> np.ndarray:
        return in_batches(theirs, [torch.from_numpy(f).permute(2, 0, 1).float().div(255) for f in frames])

    theirs.network = _resizing(ours.network)
    return {
        OURS: lambda: frame_features(frames, ours),
        ALONE: lambda: in_batches(ours, prepared),
        THEIRS: by_pytorch_fid,
    }


def _resizing(network: torch.nn.Module) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Return the network as run by pytorch-fid: frames are moved to the device and resized there."""

    def run(batch: torch.Tensor) -> list[torch.Tensor]:
        batch = batch.to(next(network.parameters()).device)
        sized = torch.nn.functional.interpolate(batch, size=(299, 299), mode="bilinear", align_corners=False)
        return network(2 * sized - 1)

    return run


def with_memory(rows: list[Row], functions: dict[str, Callable[[], np.ndarray]], device: str) -> list[Row]:
    """Add frames per second and, on a GPU, the peak memory above the weights to the rows."""
    for row in rows:
        row.note = f"{row.value.shape[0] / row.median_s:.1f} frames per second"
        row.value = None
        if device == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            functions[row.name]()
            row.peak_mb = (torch.cuda.max_memory_allocated() - before) / 1e6
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("networks", __doc__.splitlines()[0], argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        ours = InceptionFeatures(saved(Path(folder) / "inception.pth", inception_state()), device=device)
    functions = alternatives(photographs(NUM_FRAMES[device]), ours)
    rows = with_memory(compare(functions, args.repeats, warm_up=device == "cuda"), functions, device)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    title = f"Inception, {NUM_FRAMES[device]} frames of {SIDE} x {SIDE}, random weights, on {name}"
    report("networks", [Table(title=title, rows=rows)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
