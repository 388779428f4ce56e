"""Clips for benchmarks: filmed faces from a folder of videos, or a panning photograph if there is no such folder.

The folder is `$EXPRBENCH_CLIPS`, or `../shared/data/driving` next to the checkout.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path

import cv2
import numpy as np

from exprbench.building import build
from exprbench.media import MediaError, open_clip, write_image, write_video

SIDE, NUM_FRAMES, FPS = 512, 125, 25
SHIFT_PX, CRF = 2, 28  # a prediction: the frames two pixels to the side, strongly compressed
NEIGHBOUR = Path(__file__).resolve().parents[2] / "shared" / "data" / "driving"
NO_FACE = "noface"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A benchmark of self reenactment, and one folder of predictions per method."""

    root: Path
    methods: list[Path]
    source: str


def make_clips(folder: Path, count: int, side: int = SIDE, num_frames: int = NUM_FRAMES) -> tuple[list[Path], str]:
    """Write `count` different clips into a folder; return their paths and a description of their content."""
    films, paths = _films(), []
    for i in range(count):
        frames = _film(films[i % len(films)], side, num_frames) if films else _photograph(side, num_frames)
        shift = 8 * (i // max(1, len(films)))  # makes repeated films different
        paths.append(folder / f"clip{i}.mp4")
        write_video(paths[-1], (np.roll(frame, -shift, axis=0) for frame in frames), fps=FPS)
    return paths, f"{min(count, len(films))} filmed faces" if films else "a panning photograph"


def make_bench(folder: Path, count: int, num_methods: int = 1) -> Bench:
    """Build a benchmark of `count` clips under a folder, and methods with small errors in every frame."""
    paths, source = make_clips(folder / "driving", count)
    with open_clip(paths[0]) as clip:
        write_image(folder / "portraits" / "person.png", next(iter(clip)))
    bench = build(portraits=folder / "portraits", driving=folder / "driving", out=folder / "bench", workers=1)
    methods = [folder / f"method{m}" for m in range(num_methods)]
    for m, predictions in enumerate(methods):
        for case in bench.select(track="self"):
            with open_clip(bench.path(case.drivers[0])) as clip:
                frames = (np.roll(frame, SHIFT_PX, axis=1) for frame in clip)
                write_video(predictions / f"{case.case_id}.mp4", frames, fps=FPS, crf=CRF + m)
    return Bench(root=bench.root, methods=methods, source=source)


def _films() -> list[Path]:
    folder = Path(os.environ.get("EXPRBENCH_CLIPS") or NEIGHBOUR)
    return [path for path in sorted(folder.glob("*.mp4")) if NO_FACE not in path.name]


def _film(path: Path, side: int, num_frames: int) -> Iterator[np.ndarray]:
    """Yield the central square of every frame, forwards and backwards, until there are `num_frames`."""
    try:
        with open_clip(path, fps=FPS, max_frames=num_frames) as clip:
            frames = [_central_square(frame, side) for frame in clip]
    except MediaError as error:
        raise SystemExit(f"{path} cannot be read: {error}") from error
    return islice(cycle(chain(frames, frames[-2:0:-1])), num_frames)


def _central_square(frame: np.ndarray, side: int) -> np.ndarray:
    height, width = frame.shape[:2]
    short = min(height, width)
    x, y = (width - short) // 2, (height - short) // 4  # heads are in the upper part
    return cv2.resize(frame[y : y + short, x : x + short], (side, side), interpolation=cv2.INTER_AREA)


def _photograph(side: int, num_frames: int) -> Iterator[np.ndarray]:
    """Yield crops of scikit-image's astronaut that move back and forth."""
    from skimage.data import astronaut

    wide = cv2.resize(astronaut(), (side + 64,) * 2, interpolation=cv2.INTER_CUBIC)
    for t in range(num_frames):
        x, y = (round(32 + 30 * wave(t / 9)) for wave in (np.sin, np.cos))
        yield np.ascontiguousarray(wide[y : y + side, x : x + side])
