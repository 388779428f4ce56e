"""The pair of `baselines test`: a drawn portrait and a drawn driver, or your own, as a benchmark of two cases."""

import shutil
from dataclasses import replace
from pathlib import Path

from exprbench import weights
from exprbench.benchmark import Benchmark
from exprbench.building import build
from exprbench.core.files import sha256_path
from exprbench.faces import FaceTracks, save_tracks
from exprbench.faces.video_tracks import GIVEN_SUFFIX
from exprbench.media import write_image, write_video
from exprbench.toy_benchmark.animation import perform
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import portrait, render

SIZE = (512, 512)
NUM_FRAMES = 50
CRF = 12
NAME = "pair"


def pair_benchmark(folder: Path, own: tuple[Path, Path] | None = None) -> Benchmark:
    """Return the benchmark of the pair in a folder, made if it is not there.

    Args:
        own: portrait and driver to use instead of the drawn ones.
    """
    bench = folder / "bench"
    if bench.is_dir():
        return Benchmark.open(bench)
    inputs = {kind: folder / "inputs" / kind for kind in ("portraits", "driving")}
    for path in inputs.values():
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    if own:
        for path, source in zip(inputs.values(), own, strict=True):
            shutil.copy(source, path)
    else:
        _draw(**inputs)
    return build(**inputs, out=bench, name=NAME, workers=0)


def _draw(portraits: Path, driving: Path) -> None:
    image, tracks = portrait(CAST[3], SIZE)
    write_image(portraits / "omar.png", image)
    _give(portraits / "omar.png", tracks)
    frames, tracks = render([CAST[4]], [perform(1, NUM_FRAMES)], SIZE)
    write_video(driving / "rosa.mp4", frames, crf=CRF)
    _give(driving / "rosa.mp4", tracks)


def _give(path: Path, tracks: FaceTracks) -> None:
    """Save the exact tracks if there is no model to detect them, as in the method's videos; then LMD has no value."""
    if weights.locate("face_landmarker"):
        return
    save_tracks(path.with_name(path.stem + GIVEN_SUFFIX), replace(tracks, video_sha256=sha256_path(path)))
