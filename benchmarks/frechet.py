"""The Frechet distance of FID (2048 dimensions): ours, pytorch-fid's matrix root, torchmetrics' eigenvalues.

Means and covariances are computed beforehand where all ways start from them; with fewer samples than dimensions ours
starts from the features, and the others are still given their covariances for nothing.
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
    """Two sets of normal features whose covariances differ, float32."""
    rng = np.random.default_rng(0)
    mix = np.eye(DIMS) + 0.3 * rng.normal(size=(DIMS, DIMS)) / np.sqrt(DIMS)
    x, y = rng.normal(size=(2, num_samples, DIMS))
    return x.astype(np.float32), (y @ mix + 0.05).astype(np.float32)


def exact(x: np.ndarray, y: np.ndarray) -> float:
    """The distance by another road: triangular factors of the samples, and singular values of their product."""
    parts = []
    for samples in (x.astype(np.float64), y.astype(np.float64)):
        mean = samples.mean(0)
        parts.append((mean, np.linalg.qr((samples - mean) / np.sqrt(len(samples) - 1), mode="r")))
    (mean_x, root_x), (mean_y, root_y) = parts
    cross = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    return float(((mean_x - mean_y) ** 2).sum() + (root_x**2).sum() + (root_y**2).sum() - 2 * cross)


def peers(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], float]]:
    """The other ways, from means and covariances."""
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
    except TypeError:  # scipy took away the argument it calls with: its formula, on what is left
        apart = mean_x - mean_y
        return float(apart @ apart + np.trace(cov_x) + np.trace(cov_y) - 2 * np.trace(sqrtm(cov_x @ cov_y).real))


def with_errors(rows: list[Row], truth: float) -> list[Row]:
    """The relative error of every way, as its note."""
    for row in rows:
        row.note = f"relative error {abs(row.value / truth - 1):.0e}"
    return rows


def many_samples(repeats: int) -> list[Table]:
    """More samples than dimensions, with and without a prepared reference."""
    x, y = features(4096)
    truth, theirs = exact(x, y), peers(x, y)
    reference, predicted = moments(x), moments(y)
    prepared = gaussian(reference)
    _ = prepared.root
    ours = {OURS: lambda: frechet_distance(reference, predicted)}
    rows = with_errors(compare({**ours, **theirs}, repeats), truth)
    again = {f"{OURS}, reference prepared": lambda: frechet_distance(prepared, predicted)}
    slowest = rows[-1]
    (row,) = with_errors(compare(again, repeats), truth)
    return [
        Table(title="N = 4096, from means and covariances", rows=rows, reach="10x the matrix root, 2x the eigenvalues"),
        Table(
            title="The same, every further method",
            rows=[row, Row(**{**vars(slowest), "times_slower": slowest.median_s / row.median_s})],
            reach="12x the matrix root",
        ),
    ]


def few_samples(repeats: int) -> Table:
    """Fewer samples than dimensions."""
    x, y = features(500)
    ways = {f"{OURS}, from features": lambda: frechet_distance(x, y), **peers(x, y)}
    rows = with_errors(compare(ways, repeats), exact(x, y))
    return Table(title="N = 500", rows=rows, reach="200x the matrix root")


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report."""
    args = arguments("frechet", __doc__.splitlines()[0], argv)
    report("frechet", [*many_samples(args.repeats), few_samples(args.repeats)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
