"""FID's network on frames of video: ours, the network alone on ready tensors, pytorch-fid with its default batch.

Weights are random: they cost what the published ones do. On a GPU where there is one; features differ between devices,
so the device stands in the table.
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

SIDE, THEIR_BATCH = 512, 50
NUM_FRAMES = {"cuda": 500, "cpu": 8}
OURS, ALONE, THEIRS = "exprbench, from frames", "the network alone", f"pytorch-fid's batch of {THEIR_BATCH}"


def photographs(count: int) -> list[np.ndarray]:
    """Different looks at one photograph."""
    from skimage.data import astronaut

    return [np.ascontiguousarray(np.roll(astronaut(), 8 * i, axis=1)) for i in range(count)]


def ways(frames: list[np.ndarray], ours: InceptionFeatures, device: str) -> dict[str, Callable[[], np.ndarray]]:
    """Each gives the features of all frames."""
    theirs = copy(ours)
    theirs.order, theirs.batch = torch.contiguous_format, THEIR_BATCH
    ready = [ours.prepare(frame) for frame in frames]

    def in_batches(extractor: InceptionFeatures, tensors: list) -> np.ndarray:
        starts = range(0, len(tensors), extractor.batch)
        return np.concatenate([extractor.features(tensors[i : i + extractor.batch]) for i in starts])

    def their_way() -> np.ndarray:
        return in_batches(theirs, [torch.from_numpy(f).permute(2, 0, 1).float().div(255) for f in frames])

    theirs.network = _resizing(ours.network)
    return {OURS: lambda: frame_features(frames, ours), ALONE: lambda: in_batches(ours, ready), THEIRS: their_way}


def _resizing(network: torch.nn.Module) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """As pytorch-fid runs it: frames go to the device as they are and the network resizes them."""

    def run(batch: torch.Tensor) -> list[torch.Tensor]:
        batch = batch.to(next(network.parameters()).device)
        sized = torch.nn.functional.interpolate(batch, size=(299, 299), mode="bilinear", align_corners=False)
        return network(2 * sized - 1)

    return run


def with_memory(rows: list[Row], alternatives: dict[str, Callable[[], np.ndarray]], device: str) -> list[Row]:
    """What a GPU held above the weights at its peak."""
    for row in rows:
        row.note = f"{row.value.shape[0] / row.median_s:.1f} frames a second"
        row.value = None
        if device == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            alternatives[row.name]()
            row.peak_mb = (torch.cuda.max_memory_allocated() - before) / 1e6
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report."""
    args = arguments("networks", __doc__.splitlines()[0], argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        ours = InceptionFeatures(saved(Path(folder) / "inception.pth", inception_state()), device=device)
    alternatives = ways(photographs(NUM_FRAMES[device]), ours, device)
    rows = with_memory(compare(alternatives, args.repeats, warm_up=device == "cuda"), alternatives, device)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    title = f"Inception, {NUM_FRAMES[device]} frames of {SIDE} x {SIDE}, random weights, on {name}"
    reach = "on a GPU, within 10 % of the network alone, in half the memory of the batch of 50"
    report("networks", [Table(title=title, rows=rows, reach=reach)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
