"""PSNR and SSIM of 512 x 512 RGB frames on one core: exprbench, scikit-image and torchmetrics."""

import sys
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from benchmarks.common import Table, arguments, compare, report
from exprbench.metrics.psnr import psnr
from exprbench.metrics.ssim import C1, C2, KERNEL_SINGLE, ssim

SIDE, NUM_FRAMES = 512, 10
NUM_PASSES = {"SSIM": 1, "PSNR": 50}  # PSNR of ten frames is too fast to be timed
OURS = "exprbench"
Frames = list[tuple[np.ndarray, np.ndarray]]


def frames() -> Frames:
    """Return pairs of frames of a panning photograph and of its strongly compressed version."""
    from skimage.data import astronaut

    wide = cv2.resize(astronaut(), (SIDE + 8 * NUM_FRAMES,) * 2, interpolation=cv2.INTER_CUBIC)
    references = [np.ascontiguousarray(wide[8 * i : 8 * i + SIDE, 4 * i : 4 * i + SIDE]) for i in range(NUM_FRAMES)]
    return [(r, _compressed(r, quality=40)) for r in references]


def _compressed(frame: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def over(pairs: Frames, metric: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[], np.ndarray]:
    """Return a function that computes a metric for every pair."""
    return lambda: np.array([metric(r, p) for r, p in pairs])


def four_filters(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Return SSIM by four plain single-precision filters, without control of rounding or reuse of memory."""
    x, y = reference.astype(np.float32), predicted.astype(np.float32)
    s, d = x + y, x - y

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(image, -1, KERNEL_SINGLE, KERNEL_SINGLE)[5:-5, 5:-5]

    s_bar, d_bar = mean(s) ** 2, mean(d) ** 2
    var_s, var_d = mean(s * s) - s_bar, mean(d * d) - d_bar
    numerator = (s_bar - d_bar + 2 * C1) * (var_s - var_d + 2 * C2)
    return float((numerator / ((s_bar + d_bar + 2 * C1) * (var_s + var_d + 2 * C2))).mean(dtype=np.float64))


def ssim_alternatives(pairs: Frames) -> dict[str, Callable[[], np.ndarray]]:
    """Return the alternatives, exprbench first."""
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import structural_similarity_index_measure

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return {
        OURS: over(pairs, ssim),
        "four filters, plain": over(pairs, four_filters),
        "scikit-image": over(pairs, lambda r, p: structural_similarity(r, p, channel_axis=-1, **options)),
        "torchmetrics": over(
            pairs, lambda r, p: float(structural_similarity_index_measure(_planes(p), _planes(r), data_range=255.0))
        ),
    }


def psnr_alternatives(pairs: Frames) -> dict[str, Callable[[], np.ndarray]]:
    """Return the alternatives, exprbench first."""
    from skimage.metrics import peak_signal_noise_ratio
    from torchmetrics.functional.image import peak_signal_noise_ratio as by_torch

    return {
        OURS: over(pairs, psnr),
        "scikit-image": over(pairs, lambda r, p: peak_signal_noise_ratio(r, p, data_range=255)),
        "torchmetrics": over(pairs, lambda r, p: float(by_torch(_planes(p), _planes(r), data_range=255.0))),
    }


def _planes(frame: np.ndarray) -> object:
    import torch

    return torch.from_numpy(frame).permute(2, 0, 1)[None].float()


def repeated(function: Callable[[], np.ndarray], passes: int) -> Callable[[], np.ndarray]:
    """Return a function that calls another `passes` times and returns its last result."""

    def run() -> np.ndarray:
        for _ in range(passes):
            values = function()
        return values

    return run


def table(title: str, alternatives: dict[str, Callable[[], np.ndarray]], repeats: int) -> Table:
    """Return the time per frame of each alternative, and its largest difference from scikit-image's values."""
    passes = NUM_PASSES[title]
    functions = {name: repeated(function, passes) for name, function in alternatives.items()}
    rows = compare(functions, repeats, clock=time.process_time)
    truth = next(row.value for row in rows if row.name == "scikit-image")
    for row in rows:
        row.note = f"largest difference {np.abs(row.value - truth).max():.0e}"
        row.value = float(row.value.mean())
        row.median_s, row.fastest_s = row.median_s / NUM_FRAMES / passes, row.fastest_s / NUM_FRAMES / passes
    return Table(title=f"{title}, a frame of {SIDE} x {SIDE}, one core", rows=rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    import torch

    args = arguments("psnr_ssim", __doc__, argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    pairs = frames()
    tables = [
        table("SSIM", ssim_alternatives(pairs), args.repeats),
        table("PSNR", psnr_alternatives(pairs), args.repeats),
    ]
    report("psnr_ssim", tables, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
