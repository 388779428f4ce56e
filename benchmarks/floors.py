"""How near are noise floors to what a perfect prediction scores, and are two perfect predictions called tied?

Faces: the truth is a drawn person's motion, and each reading of it has independent errors; videos differ in how large
these are. Sets: features of videos, and two encodings of each that differ by independent errors. The draws depend only
on `--seed`.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from exprbench.core.cli_base import Parser
from exprbench.core.files import write_json
from exprbench.faces import FaceTrack
from exprbench.faces.jitter import average
from exprbench.faces.tracks import FaceTracks
from exprbench.metrics.face_errors import face_errors
from exprbench.metrics.face_pair import FacePair, mean_seen
from exprbench.metrics.frechet import frechet_distance
from exprbench.metrics.intervals import mean_interval
from exprbench.toy_benchmark.animation import perform
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render

COLUMNS = ("lmd", "mae", "aed", "apd", "aed_rel", "apd_rel", "follow_expression", "follow_pose")
LOOKS = (1, 4)
NUM_FRAMES, SIZE = 25, (256, 256)
LANDMARKS, BLENDSHAPES, HEAD_RAD = 0.0006, 0.02, 0.008  # standard deviations of a reading
SPREAD = 0.4  # of the logarithm of a video's errors
DIMENSIONS, PER_VIDEO, ENCODING = 16, 40, 0.05

Generator = np.random.Generator
Ratios = dict[str, dict[str, float]]


@cache
def truth(i: int) -> FaceTracks:
    """Return the exact tracks of a drawn person."""
    return render([CAST[i % len(CAST)]], [perform(i, NUM_FRAMES)], SIZE)[1]


def reading(rng: Generator, tracks: FaceTracks, scale: float, looks: int) -> FaceTrack:
    """Return a reading of a track with independent errors, averaged over several looks."""
    return average([replace(tracks, tracks=(_read(rng, tracks.tracks[0], scale),)) for _ in range(looks)]).tracks[0]


def _read(rng: Generator, track: FaceTrack, scale: float) -> FaceTrack:
    pose = track.pose.astype(np.float64)
    turns = Rotation.from_rotvec(rng.normal(0, scale * HEAD_RAD, (len(pose), 3))).as_matrix()
    pose[:, :3, :3] = turns @ pose[:, :3, :3]
    return replace(
        track,
        landmarks=track.landmarks + rng.normal(0, scale * LANDMARKS, track.landmarks.shape).astype(np.float32),
        blendshapes=track.blendshapes + rng.normal(0, scale * BLENDSHAPES, track.blendshapes.shape).astype(np.float32),
        pose=pose.astype(np.float32),
    )


def face_values(rng: Generator, num_videos: int, looks: int) -> np.ndarray:
    """Return values (3, videos, columns): of a second reading, and of two perfect predictions."""
    values = []
    for i in range(num_videos):
        scale = float(rng.lognormal(0, SPREAD))
        first, *others = (reading(rng, truth(i), scale, looks) for _ in range(4))
        values.append([_errors(first, other) for other in others])
    return np.swapaxes(values, 0, 1)


def _errors(reference: FaceTrack, predicted: FaceTrack) -> list[float]:
    pair = FacePair(reference=reference, predicted=predicted, reference_size=SIZE, predicted_size=SIZE)
    errors = face_errors(pair, COLUMNS)
    return [mean_seen(errors[name]) for name in COLUMNS]


def simulate_faces(num_sets: int, num_videos: int, looks: int, seed: int) -> Ratios:
    """Return column -> quantiles of value / floor, and the share of pairs of perfect methods that are tied."""
    rng = np.random.default_rng(seed)
    sets = np.array([face_values(rng, num_videos, looks) for _ in range(num_sets)])
    floors, first, second = (sets[:, i] for i in range(3))
    result = {}
    for c, name in enumerate(COLUMNS):
        ratio = first[:, :, c].mean(1) / floors[:, :, c].mean(1)
        pairs = zip(first[:, :, c], second[:, :, c], floors[:, :, c], strict=True)
        tied = np.mean([_is_tied(*of_set, lower_is_better=not name.startswith("follow")) for of_set in pairs])
        result[name] = {**_summary(ratio), "tied": float(tied)}
    return result


def _is_tied(a: np.ndarray, b: np.ndarray, floor: np.ndarray, *, lower_is_better: bool) -> bool:
    low, high = mean_interval(a - b)
    return bool(low <= 0 <= high or (lower_is_better and abs(a.mean() - b.mean()) < floor.mean()))


def simulate_sets(num_sets: int, num_videos: int, seed: int) -> Ratios:
    """Return quantiles of a perfect prediction's value over the floor of re-encoding and over that of halves."""
    rng = np.random.default_rng(seed)
    ratios = np.array([_set_ratios(rng, num_videos) for _ in range(num_sets)])
    return {name: _summary(ratios[:, i]) for i, name in enumerate(("re-encoding", "half-split"))}


def _set_ratios(rng: Generator, num_videos: int) -> tuple[float, float]:
    shape = (num_videos, PER_VIDEO, DIMENSIONS)
    videos = rng.normal(0, 1, (num_videos, 1, DIMENSIONS)) + 0.3 * rng.normal(0, 1, shape)
    encoded, predicted = (videos + rng.normal(0, ENCODING, shape) for _ in range(2))
    flat = [side.reshape(-1, DIMENSIONS) for side in (videos, encoded, predicted)]
    value, floor = frechet_distance(flat[0], flat[2]), frechet_distance(flat[0], flat[1])
    halves = frechet_distance(*(videos[i::2].reshape(-1, DIMENSIONS) for i in (0, 1)))
    return value / floor, value / halves


def _summary(ratio: np.ndarray) -> dict[str, float]:
    return {name: float(np.quantile(ratio, q)) for name, q in (("5 %", 0.05), ("median", 0.5), ("95 %", 0.95))}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulation and print its tables."""
    parser = Parser(
        prog="python -m benchmarks.floors",
        description=__doc__.splitlines()[0],
        examples="  python -m benchmarks.floors\n  python -m benchmarks.floors --sets 20 --videos 5",
    )
    parser.add_argument("--sets", type=int, default=50, metavar="N", help="simulated benchmarks (default: 50)")
    parser.add_argument("--videos", type=int, default=10, metavar="N", help="videos of each (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write the results to")
    args = parser.parse_args(argv)
    result = {f"faces, {n} looks": simulate_faces(args.sets, args.videos, n, args.seed) for n in LOOKS}
    result["sets"] = simulate_sets(args.sets, args.videos, args.seed)
    for title, rows in result.items():
        head = list(next(iter(rows.values())))
        print(f"\n| {title}: value / floor | {' | '.join(head)} |\n|---|" + "---:|" * len(head))
        for name, cells in rows.items():
            print(f"| `{name}` | " + " | ".join(f"{cells[key]:.3g}" for key in head) + " |")
    if args.json:
        write_json(args.json, {"sets": args.sets, "videos": args.videos, "seed": args.seed, "ratios": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
