"""Drawn people as inputs of a small benchmark: no media are needed.

Faces are detected like those of filmed people, so that both sides of an error are measured. Without the model file of
the detector, exact tracks are given; then only pixels can be compared.
"""

from dataclasses import replace

from exprbench import build, weights
from exprbench.core.files import sha256_path
from exprbench.faces import save_tracks
from exprbench.faces.video_tracks import GIVEN_SUFFIX
from exprbench.media import write_image, write_video
from exprbench.toy_benchmark.animation import perform, still
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render

HEIGHT, NUM_FRAMES, CRF = 256, 50, 10
IDA, KOFI, MEI, OMAR, ROSA, AMINA = CAST
PORTRAITS = {"portraits/ida.png": [IDA], "multi_portraits/mei-kofi.png": [MEI, KOFI]}
DRIVERS = {"driving/rosa.mp4": ([ROSA], [1]), "multi_driving/amina-omar.mp4": ([AMINA, OMAR], [4, 5])}


def drawn_benchmark(folder):
    """A benchmark of four cases, self and cross of one and of two people, drawn if it is not there."""
    from exprbench.benchmark import Benchmark

    if (folder / "bench").is_dir():
        return Benchmark.open(folder / "bench")
    inputs = folder / "inputs"
    for name, people in PORTRAITS.items():
        draw(inputs / name, people, [still() for _ in people])
    for name, (people, seeds) in DRIVERS.items():
        draw(inputs / name, people, [perform(seed, NUM_FRAMES) for seed in seeds])
    kinds = {name: inputs / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    return build(**kinds, out=folder / "bench", name="doubles", workers=1)


def draw(path, people, motions):
    path.parent.mkdir(parents=True, exist_ok=True)
    width = HEIGHT if len(people) == 1 else 7 * HEIGHT // 4
    frames, tracks = render(people, motions, (width, HEIGHT))
    if path.suffix == ".png":
        write_image(path, next(frames))
    else:
        write_video(path, frames, crf=CRF)
    if weights.locate("face_landmarker") is None:
        save_tracks(path.with_name(path.stem + GIVEN_SUFFIX), replace(tracks, video_sha256=sha256_path(path)))
