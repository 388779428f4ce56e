"""How often do 95 % intervals of a mean over videos contain the mean?

Sets of values are drawn from known distributions, and the share of sets whose interval contains the true mean is
counted, for the intervals of this project and of common methods. The draws depend only on `--seed`.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from exprbench.core.cli_base import Parser
from exprbench.core.files import write_json
from exprbench.metrics.intervals import mean_interval

NUM_VIDEOS = (5, 10, 20, 100)
SIGMA = 0.5
NUM_RESAMPLES = 2000

Interval = Callable[[np.ndarray], tuple[float | None, float | None]]
Generator = np.random.Generator


def _lognormal(rng: Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.lognormal(0, SIGMA, shape)


def _paired_normal(rng: Generator, shape: tuple[int, int]) -> np.ndarray:
    difficulty = rng.normal(10, 3, shape)
    return (difficulty + rng.normal(0.3, 1, shape)) - (difficulty + rng.normal(0, 1, shape))


def _paired_lognormal(rng: Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw differences of two methods, lognormal as above; half of the logarithm's variance is the video's."""
    part = SIGMA / 2**0.5
    return rng.lognormal(0, part, shape) * (rng.lognormal(0, part, shape) - rng.lognormal(0, part, shape))


# name -> draw sets of values, and their true mean; "paired" are differences of two methods on the same videos
DISTRIBUTIONS = {
    "normal": (lambda rng, shape: rng.normal(5, 1, shape), 5.0),
    "lognormal": (_lognormal, float(np.exp(SIGMA**2 / 2))),
    "paired normal": (_paired_normal, 0.3),
    "paired lognormal": (_paired_lognormal, 0.0),
}


def coverage(interval: Interval, distribution: str, num_videos: int, *, num_sets: int, seed: int) -> float:
    """Return the share of sets of values whose interval contains the true mean."""
    draw, mean = DISTRIBUTIONS[distribution]
    sets = draw(np.random.default_rng(seed), (num_sets, num_videos))
    bounds = np.array([interval(values) for values in sets], float)
    return float(np.mean((bounds[:, 0] <= mean) & (mean <= bounds[:, 1])))


def student(values: np.ndarray) -> tuple[float, float]:
    """Return Student's interval."""
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, 0.975)) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - half, values.mean() + half


def percentile(values: np.ndarray) -> tuple[float, float]:
    """Return the percentile bootstrap interval."""
    drawn = np.random.default_rng(0).integers(0, len(values), (NUM_RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return low, high


def bca(values: np.ndarray) -> tuple[float, float]:
    """Return scipy's bias-corrected and accelerated bootstrap interval."""
    from scipy.stats import bootstrap

    options = {"method": "BCa", "n_resamples": NUM_RESAMPLES, "rng": np.random.default_rng(0)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of sets of equal draws
        return tuple(bootstrap((values,), np.mean, **options).confidence_interval)


METHODS: dict[str, tuple[Interval, float]] = {  # interval, and the share of `--sets` that it is measured on
    "exprbench": (mean_interval, 1.0),
    "Student t": (student, 1.0),
    "percentile bootstrap": (percentile, 0.1),
    "BCa bootstrap (scipy)": (bca, 0.02),
}


def measure(num_sets: int, seed: int, methods: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return distribution -> method -> number of videos -> coverage."""
    return {
        name: {
            method: {
                str(num): coverage(
                    METHODS[method][0], name, num, num_sets=max(1, int(num_sets * METHODS[method][1])), seed=seed
                )
                for num in NUM_VIDEOS
            }
            for method in methods
        }
        for name in DISTRIBUTIONS
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulation and print a table for every distribution."""
    parser = Parser(
        prog="python -m benchmarks.intervals",
        description=__doc__.splitlines()[0],
        examples="  python -m benchmarks.intervals\n  python -m benchmarks.intervals --sets 5000 --only exprbench",
    )
    parser.add_argument("--sets", type=int, default=50_000, metavar="N", help="sets of values (default: 50000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument("--only", choices=list(METHODS), help="method to measure (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write the coverages to")
    args = parser.parse_args(argv)
    result = measure(args.sets, args.seed, [args.only] if args.only else list(METHODS))
    for name, methods in result.items():
        print(f"\n| {name}, videos | " + " | ".join(map(str, NUM_VIDEOS)) + " |\n|---|" + "---:|" * len(NUM_VIDEOS))
        for method, values in methods.items():
            print(f"| {method} | " + " | ".join(f"{value:.1%}" for value in values.values()) + " |")
    if args.json:
        write_json(args.json, {"sets": args.sets, "seed": args.seed, "coverage": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
