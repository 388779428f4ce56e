"""Peak memory of scoring a 1080p clip of one minute, without models and with decoders, compared with loading it.

Also of a clip of six seconds, to show how memory depends on the length.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clip import METRICS
from benchmarks.common import Row, Table, arguments, peak_mb, report
from benchmarks.usual import decoded
from exprbench.media import write_video

SIZE, FPS, SECONDS, TIMES = (1920, 1080), 25, 6, 10
WARM_SIDE = 128


def photograph(num_frames: int) -> Iterator[np.ndarray]:
    """Yield (1080, 1920, 3) frames of a camera pan over scikit-image's astronaut."""
    from skimage.data import astronaut

    width, height = SIZE
    person = cv2.resize(astronaut(), (height + 64,) * 2, interpolation=cv2.INTER_CUBIC)
    wide = cv2.copyMakeBorder(person, 0, 0, 420, 420, cv2.BORDER_REFLECT)
    for t in range(num_frames):
        x, y = (round(32 + 30 * wave(t / 9)) for wave in (np.sin, np.cos))
        yield np.ascontiguousarray(wide[y : y + height, x : x + width])


def repeated(path: Path, times: int, out: Path) -> Path:
    """Write a video repeated several times, by copying its packets, and return the path."""
    import av

    with av.open(str(out), "w") as target:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(path)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        target.mux(packet)
                shift += video.duration
    return out


def scoring(videos: tuple[Path, Path], small: Path, cache: Path) -> Callable[[], None]:
    """Score a small pair of videos, which loads libraries and models, and return the scoring of the large pair."""
    os.environ["EXPRBENCH_CACHE"] = str(cache)
    _score((small, small))
    return partial(_score, videos)


def _score(videos: tuple[Path, Path]) -> None:
    """Compute pixel measures and face tracks of a reference and a prediction in a single pass."""
    from exprbench.core.files import sha256_path
    from exprbench.metrics import METRICS
    from exprbench.scoring.computations import pixel_computation, tracks_computation
    from exprbench.scoring.single_pass import VideoInput, single_pass

    reference, prediction = (VideoInput(path=path, sha256=sha256_path(path), fps=FPS) for path in videos)
    pixels = pixel_computation("pixels", reference, prediction, [METRICS["psnr"], METRICS["ssim"]])
    tracks = [tracks_computation("reference", reference), tracks_computation("prediction", prediction)]
    single_pass([pixels, *tracks])


def loading(path: Path) -> Callable[[], object]:
    """Return a function that loads all frames of a video into a list."""
    return lambda: list(decoded(path))


def measured(name: str, prepare: Callable[[], Callable[[], object]], note: str) -> Row:
    """Return the row of one measurement."""
    start = time.perf_counter()
    increase_mb = peak_mb(prepare)
    duration_s = time.perf_counter() - start
    return Row(name=name, median_s=duration_s, fastest_s=duration_s, times_slower=1, peak_mb=increase_mb, note=note)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark once, because memory does not vary between rounds, and report."""
    args = arguments("memory", __doc__.splitlines()[0], argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        short, predicted, small = (folder / f"{name}.mp4" for name in ("short", "predicted", "small"))
        write_video(short, photograph(SECONDS * FPS), fps=FPS)
        write_video(predicted, photograph(SECONDS * FPS), fps=FPS, crf=30)
        write_video(small, (cv2.resize(f, (WARM_SIDE,) * 2) for f in photograph(10)), fps=FPS)
        long = tuple(repeated(p, TIMES, folder / f"long-{p.name}") for p in (short, predicted))
        frames_mb = np.prod(SIZE) * 3 * FPS * SECONDS * TIMES / 1e6
        rows = [
            measured(f"{SECONDS * TIMES} s", partial(scoring, long, small, folder / "a"), ", ".join(METRICS)),
            measured(f"{SECONDS} s", partial(scoring, (short, predicted), small, folder / "b"), ", ".join(METRICS)),
            measured(
                f"loading {SECONDS} s, one video", partial(loading, short), f"{SECONDS * TIMES} s: {frames_mb:.0f} MB"
            ),
        ]
    for row in rows:
        row.times_slower = row.median_s / rows[0].median_s
    title = f"Memory without the models, {SIZE[0]}x{SIZE[1]}, two videos at once; one run, time includes libraries"
    report("memory", [Table(title=title, rows=rows)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
