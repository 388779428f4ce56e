"""Options of the sampler: the error of skipped steps, and the drift of identity and colour over a long clip's windows.

It needs a trained model, such as that of `fantasyportrait train --recipe tiny`, and draws the portrait and the drivers.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.cli_base import Parser
from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path
from exprbench.faces import FaceTracks, save_tracks
from exprbench.faces.video_tracks import given_path, track_faces, track_image
from exprbench.media import read_image, write_image, write_video
from exprbench.metrics import dlib_identity
from exprbench.metrics.csim import cosine
from exprbench.toy_benchmark.animation import perform, still
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render
from fantasyportrait.colour_matching import to_lab
from fantasyportrait.inputs import Inputs, prepare_inputs
from fantasyportrait.pipeline import Pipeline, load_pipeline
from fantasyportrait.portrait import resize
from fantasyportrait.settings import RuntimeConfig, SamplingConfig

SIDE = 256  # of the drawings, and of the frames in which faces are searched
WINDOW, OVERLAP, STRIDE = 9, 4, 8  # frames
CACHES = ((0.02, 3), (0.06, 3), (0.12, 2), (0.12, 3), (0.24, 5))  # threshold, steps skipped in a row
ANCHORS = ("none", "identity", "colour", "both")


def draw(folder: Path, name: str, motion: Any, *, image: bool = False) -> Path:
    """Write a drawn video, or its first frame, with its exact face tracks, and return the path."""
    frames, tracks = render(CAST[:1], [motion], (SIDE, SIDE))
    path = folder / f"{name}{'.png' if image else '.mp4'}"
    if image:
        write_image(path, next(frames))
    else:
        write_video(path, frames, crf=12)
    save_tracks(given_path(path), replace(tracks, video_sha256=sha256_path(path)))
    return path


def generate(pipeline: Pipeline, inputs: Inputs, config: SamplingConfig) -> np.ndarray:
    """Return the frames (F, H, W, 3) of a video."""
    return np.stack(list(pipeline.sample(inputs, config)))


def measure_cache(pipeline: Pipeline, folder: Path, size: str, steps: int, num_drivers: int) -> list[str]:
    """Return the rows of a table: skipped share and PSNR against every step computed, the mean over drivers."""
    portrait = draw(folder, "portrait", still(), image=True)
    config = SamplingConfig(size=size, steps=steps, frames=WINDOW)
    clips = []
    for seed in range(1, num_drivers + 1):
        driver = draw(folder, f"driver-{seed}", perform(seed, WINDOW))
        inputs = prepare_inputs(portrait, [driver], config)
        clips.append((inputs, generate(pipeline, inputs, replace(config, cache="calibrate" if seed == 1 else "off"))))
    rows = []
    for threshold, max_skip_steps in CACHES:
        cached = replace(config, cache="mag", cache_threshold=threshold, cache_max_skip_steps=max_skip_steps)
        values, shares = [], []
        for inputs, full in clips:
            values.append(psnr(generate(pipeline, inputs, cached), full))
            shares.append(pipeline.skipped_share)
        rows.append(f"| {threshold:g} | {max_skip_steps} | {100 * np.mean(shares):.0f} % | {np.mean(values):.1f} dB |")
    few = [psnr(generate(pipeline, inputs, replace(config, steps=steps // 2)), full) for inputs, full in clips]
    rows.append(f"| {steps // 2} steps, none skipped | | 50 % | {np.mean(few):.1f} dB |")
    return rows


def psnr(frames: np.ndarray, reference: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio over all frames in dB."""
    error = np.square(frames.astype(float) - reference).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def measure_drift(pipeline: Pipeline, folder: Path, size: str, steps: int, num_windows: int, seeds: int) -> list[str]:
    """Return the rows of a table: csim to the portrait and colour distance from the first window, early and late."""
    num_frames = WINDOW + (num_windows - 1) * STRIDE
    portrait = draw(folder, "portrait", still(), image=True)
    results: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {anchor: [] for anchor in ANCHORS}
    for seed in range(1, seeds + 1):
        driver = draw(folder, f"long-{seed}", perform(seed, num_frames))
        for anchor in ANCHORS:
            config = SamplingConfig(
                size=size, steps=steps, window=WINDOW, overlap=OVERLAP, anchor=anchor, seed=seed, frames=num_frames
            )
            inputs = prepare_inputs(portrait, [driver], config)
            frames = generate(pipeline, inputs, config)
            results[anchor].append((identity(frames, portrait, folder), colour_distance(frames)))
    rows = []
    for anchor, found in results.items():
        csim, colour = (np.nanmean(np.stack(values), 0) for values in zip(*found, strict=True))
        rows.append(f"| `{anchor}` | {_ends(csim, '.3f')} | {_ends(colour, '.2f')} | {np.nanmax(colour):.2f} |")
    return rows


def _ends(values: np.ndarray, form: str) -> str:
    """Format the means of the first and the last quarter."""
    quarter = len(values) // 4
    return f"{np.nanmean(values[:quarter]):{form}} | {np.nanmean(values[-quarter:]):{form}}"


def colour_distance(frames: np.ndarray) -> np.ndarray:
    """Return the distance of each window's mean colour from that of the first in CIELAB, (number of windows,)."""
    means = np.stack([to_lab(frame).mean((0, 1)) for frame in frames])
    windows = [means[start : start + WINDOW].mean(0) for start in range(0, len(frames) - WINDOW + 1, STRIDE)]
    return np.linalg.norm(np.stack(windows) - windows[0], axis=1)


def identity(frames: np.ndarray, portrait: Path, folder: Path) -> np.ndarray:
    """Return csim of each window to the portrait, (number of windows,); NaN where no face is found."""
    large = [resize(frame, (SIDE, SIDE)) for frame in frames]
    write_video(folder / "made.mp4", large, crf=12)
    values = np.full(len(frames), np.nan)
    read = dlib_identity.load("cpu")
    source = read([dlib_identity.crop(read_image(portrait), _points(track_image(portrait), 0, 0))])["dlib_identity"]
    tracks = track_faces(folder / "made.mp4", fps=25)
    seen = np.flatnonzero(tracks.tracks[0].seen) if tracks.tracks else []
    if len(seen):
        crops = [dlib_identity.crop(large[t], _points(tracks, 0, t)) for t in seen]
        values[seen] = cosine(read(crops)["dlib_identity"], source)
    num_windows = (len(frames) - WINDOW) // STRIDE + 1
    return np.array([np.nanmean(values[i * STRIDE : i * STRIDE + WINDOW]) for i in range(num_windows)])


def _points(tracks: FaceTracks, person: int, t: int) -> np.ndarray:
    return tracks.tracks[person].landmarks[t, :, :2] * tracks.size


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables and return the exit status."""
    parser = Parser(
        prog="python -m benchmarks.sampler",
        description=__doc__.splitlines()[0],
        examples="  fantasyportrait train --recipe tiny --out runs/tiny\n"
        "  python -m benchmarks.sampler --model runs/tiny/model",
    )
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    parser.add_argument("--size", default="64x64", help="WIDTHxHEIGHT of the videos (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=30, help="number of denoising steps (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=20, help="number of windows of a long clip (default: 20)")
    parser.add_argument("--seeds", type=int, default=3, help="number of drivers (default: %(default)s)")
    parser.add_argument("--only", choices=("cache", "drift"), help="table to print (default: both)")
    args = parser.parse_args(argv)
    if not args.model.is_dir():
        raise UserError(f"there is no model folder {args.model}")
    pipeline = load_pipeline(args.model, RuntimeConfig())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.only != "drift":
            print("| threshold | in a row | skipped | PSNR |\n|---|---|---|---|")
            print("\n".join(measure_cache(pipeline, folder, args.size, args.steps, args.seeds)), flush=True)
        if args.only != "cache":
            print("\n| anchor | csim, first | last | colour, first | last | largest |\n|---|---|---|---|---|---|")
            rows = measure_drift(pipeline, folder, args.size, args.steps, args.windows, args.seeds)
            print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
