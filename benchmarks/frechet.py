"""The Fréchet distance of FID (2048 dimensions): exprbench, pytorch-fid's matrix root, torchmetrics' eigenvalues.

The time of means and covariances is not included. With fewer samples than dimensions exprbench starts from the
features; the covariances of the others are still not included in their time.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.common import Row, Table, arguments, compare, report
from exprbench.metrics.frechet import frechet_distance, gaussian
from exprbench.metrics.moments import moments

DIMS = 2048
OURS, ROOT, EIGENVALUES = "exprbench", "matrix root (pytorch-fid)", "eigenvalues (torchmetrics)"


def features(num_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of normal features (num_samples, 2048), float32, with different covariances."""
    rng = np.random.default_rng(0)
    mix = np.eye(DIMS) + 0.3 * rng.normal(size=(DIMS, DIMS)) / np.sqrt(DIMS)
    x, y = rng.normal(size=(2, num_samples, DIMS))
    return x.astype(np.float32), (y @ mix + 0.05).astype(np.float32)


def exact(x: np.ndarray, y: np.ndarray) -> float:
    """Return the distance by a third method: QR factors of the samples, and singular values of their product."""
    parts = []
    for samples in (x.astype(np.float64), y.astype(np.float64)):
        mean = samples.mean(0)
        parts.append((mean, np.linalg.qr((samples - mean) / np.sqrt(len(samples) - 1), mode="r")))
    (mean_x, root_x), (mean_y, root_y) = parts
    cross = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    return float(((mean_x - mean_y) ** 2).sum() + (root_x**2).sum() + (root_y**2).sum() - 2 * cross)


def peers(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], float]]:
    """Return the functions of other libraries, which start from means and covariances."""
    import torch
    from torchmetrics.image.fid import _compute_fid

    statistics = [v for m in (moments(x), moments(y)) for v in (m.mean, m.covariance)]
    tensors = [torch.from_numpy(v) for v in statistics]
    return {EIGENVALUES: lambda: float(_compute_fid(*tensors)), ROOT: lambda: _by_matrix_root(*statistics)}


def _by_matrix_root(mean_x: np.ndarray, cov_x: np.ndarray, mean_y: np.ndarray, cov_y: np.ndarray) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance
    from scipy.linalg import sqrtm

    try:
        return float(calculate_frechet_distance(mean_x, cov_x, mean_y, cov_y))
    except TypeError:  # it passes an argument that new versions of scipy do not have
        difference = mean_x - mean_y
        return float(
            difference @ difference + np.trace(cov_x) + np.trace(cov_y) - 2 * np.trace(sqrtm(cov_x @ cov_y).real)
        )


def with_errors(rows: list[Row], truth: float) -> list[Row]:
    """Set the note of each row to its relative error."""
    for row in rows:
        row.note = f"relative error {abs(row.value / truth - 1):.0e}"
    return rows


def many_samples(repeats: int) -> list[Table]:
    """Compare with more samples than dimensions, with and without a prepared reference."""
    x, y = features(4096)
    truth, others = exact(x, y), peers(x, y)
    reference, predicted = moments(x), moments(y)
    prepared = gaussian(reference)
    _ = prepared.root
    ours = {OURS: lambda: frechet_distance(reference, predicted)}
    rows = with_errors(compare({**ours, **others}, repeats), truth)
    with_reference = {f"{OURS}, reference prepared": lambda: frechet_distance(prepared, predicted)}
    slowest = rows[-1]
    (row,) = with_errors(compare(with_reference, repeats), truth)
    return [
        Table(title="N = 4096, from means and covariances", rows=rows),
        Table(
            title="N = 4096, every further method on the same reference",
            rows=[row, Row(**{**vars(slowest), "times_slower": slowest.median_s / row.median_s})],
        ),
    ]


def few_samples(repeats: int) -> Table:
    """Compare with fewer samples than dimensions."""
    x, y = features(500)
    alternatives = {f"{OURS}, from features": lambda: frechet_distance(x, y), **peers(x, y)}
    rows = with_errors(compare(alternatives, repeats), exact(x, y))
    return Table(title="N = 500", rows=rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("frechet", __doc__.splitlines()[0], argv)
    report("frechet", [*many_samples(args.repeats), few_samples(args.repeats)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
