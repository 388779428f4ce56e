"""Decoding of 125 frames of 512 x 512 to RGB on one core: exprbench's decoder process, PyAV, OpenCV, decord.

Only exprbench handles damaged files: they crash decord, and OpenCV stops early without an error.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.clips import NUM_FRAMES, SIDE, make_clips
from benchmarks.common import Table, arguments, compare, on_one_core, report, tree_cpu_s

NUM_SOUGHT = 25


def by_exprbench(path: Path) -> int:
    """Decode in exprbench's decoder process; return the number of frames."""
    from exprbench.media import open_clip

    with open_clip(path) as clip:
        return sum(1 for _ in clip)


def by_av(path: Path) -> int:
    """Decode with PyAV in this process; return the number of frames."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        return sum(len(frame.to_ndarray(format="rgb24")) > 0 for frame in container.decode(stream))


def by_cv2(path: Path) -> int:
    """Decode with OpenCV, one frame after the other, and convert BGR to RGB; return the number of frames."""
    import cv2

    video, count = cv2.VideoCapture(str(path)), 0
    while (result := video.read())[0]:
        cv2.cvtColor(result[1], cv2.COLOR_BGR2RGB)
        count += 1
    return count


def by_cv2_seeking(path: Path) -> int:
    """Seek to every fifth frame with OpenCV, as some scripts do; return the number of frames."""
    import cv2

    video = cv2.VideoCapture(str(path))
    for i in range(NUM_SOUGHT):
        video.set(cv2.CAP_PROP_POS_FRAMES, i * NUM_FRAMES // NUM_SOUGHT)
        cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB)
    return NUM_SOUGHT


def by_decord(path: Path) -> int:
    """Decode with decord on one thread; return the number of frames."""
    import decord

    return sum(len(frame.asnumpy()) > 0 for frame in decord.VideoReader(str(path), num_threads=1))


def alternatives(path: Path) -> dict[str, Callable[[], int]]:
    """Return the alternatives, exprbench first; decord only if it is installed."""
    functions = {
        "exprbench": lambda: by_exprbench(path),
        "PyAV, in process": lambda: by_av(path),
        "OpenCV": lambda: by_cv2(path),
        f"OpenCV, seeking {NUM_SOUGHT} frames": lambda: by_cv2_seeking(path),
    }
    try:
        import decord  # noqa: F401
    except ImportError:
        return functions
    return {**functions, "decord": lambda: by_decord(path)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("decode", __doc__.splitlines()[0], argv)
    on_one_core()
    with tempfile.TemporaryDirectory() as folder:
        (path,), source = make_clips(Path(folder), 1)
        rows = compare(alternatives(path), args.repeats, clock=tree_cpu_s, warm_up=True)
    for row in rows:
        row.note = f"{1e3 * row.median_s / row.value:.2f} ms per frame"
    title = f"Decoding {NUM_FRAMES} frames of {SIDE} x {SIDE} to RGB, one core, processor time ({source})"
    report("decode", [Table(title=title, rows=rows)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
