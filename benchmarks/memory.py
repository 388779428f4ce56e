"""Peak memory of scoring a 1080p clip of one minute: above the models, decoders included, and beside loading it.

Also of six seconds, to see that it does not grow with the length.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from benchmarks.clip import METRICS
from benchmarks.common import Row, Table, arguments, peak_mb, report
from benchmarks.usual import decoded
from exprbench.media import write_video

SIZE, FPS, SECONDS, TIMES = (1920, 1080), 25, 6, 10
WARM_SIDE = 128
PLAN: Any = SimpleNamespace(without={}, bench=SimpleNamespace(fps=FPS))  # as much of one as tracks need


def photograph(num_frames: int) -> Iterator[np.ndarray]:
    """scikit-image's astronaut before a wall, panning, as (1080, 1920, 3) frames."""
    from skimage.data import astronaut

    width, height = SIZE
    person = cv2.resize(astronaut(), (height + 64,) * 2, interpolation=cv2.INTER_CUBIC)
    wide = cv2.copyMakeBorder(person, 0, 0, 420, 420, cv2.BORDER_REFLECT)
    for t in range(num_frames):
        x, y = (round(32 + 30 * wave(t / 9)) for wave in (np.sin, np.cos))
        yield np.ascontiguousarray(wide[y : y + height, x : x + width])


def repeated(path: Path, times: int, out: Path) -> Path:
    """The same video several times over, its packets copied."""
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
    """Both videos watched for pixels and faces, after a small one has brought in libraries and models."""
    os.environ["EXPRBENCH_CACHE"] = str(cache)
    _watch((small, small))
    return partial(_watch, videos)


def _watch(videos: tuple[Path, Path]) -> None:
    from exprbench.core.files import sha256_path
    from exprbench.faces.video_tracks import landmarker
    from exprbench.scoring.faces import want_tracks
    from exprbench.scoring.pixels import Pixels
    from exprbench.scoring.single_pass import Video, watch

    landmarker()
    watched = [Video(path=path, sha256=sha256_path(path), fps=FPS) for path in videos]
    for video in watched:
        want_tracks(PLAN, video)
    watch(watched, Pixels().add)


def loading(path: Path) -> Callable[[], object]:
    """All frames of one video in a list."""
    return lambda: list(decoded(path))


def measured(name: str, make: Callable[[], Callable[[], object]], note: str) -> Row:
    """One row."""
    start = time.perf_counter()
    raised = peak_mb(make)
    took_s = time.perf_counter() - start
    return Row(name=name, median_s=took_s, fastest_s=took_s, times_slower=1, peak_mb=raised, note=note)


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report; memory is the same in every round, so there is one."""
    args = arguments("memory", __doc__.splitlines()[0], argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        short, made, small = (folder / f"{name}.mp4" for name in ("short", "made", "small"))
        write_video(short, photograph(SECONDS * FPS), fps=FPS)
        write_video(made, photograph(SECONDS * FPS), fps=FPS, crf=30)
        write_video(small, (cv2.resize(f, (WARM_SIDE,) * 2) for f in photograph(10)), fps=FPS)
        whole = tuple(repeated(p, TIMES, folder / f"long-{p.name}") for p in (short, made))
        one = np.prod(SIZE) * 3 * FPS * SECONDS * TIMES / 1e6
        rows = [
            measured(f"{SECONDS * TIMES} s", partial(scoring, whole, small, folder / "a"), ", ".join(METRICS)),
            measured(f"{SECONDS} s", partial(scoring, (short, made), small, folder / "b"), ", ".join(METRICS)),
            measured(f"loading {SECONDS} s, one side", partial(loading, short), f"{SECONDS * TIMES} s: {one:.0f} MB"),
        ]
    for row in rows:
        row.times_slower = row.median_s / rows[0].median_s
    title = f"Memory above the models, {SIZE[0]}x{SIZE[1]}, two videos side by side; times once, libraries included"
    report("memory", [Table(title=title, rows=rows, reach="60 s under 1000 MB, and as much as 6 s")], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
