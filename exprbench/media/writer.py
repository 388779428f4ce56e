"""Writing videos and frame folders."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from exprbench.files import atomic_path
from exprbench.media.images import write_image

CRF = 17  # x264's scale; visually lossless


def write_video(path: Path, frames: Iterable[np.ndarray], *, fps: float | Fraction = 25, crf: int = CRF) -> int:
    """Write (H, W, 3) uint8 RGB frames as H.264, yuv420p, constant frame rate; return how many.

    The file appears whole or not at all. One thread and no timestamps: the same frames give the same bytes.
    A last odd row or column is dropped (yuv420p has none).
    """
    import av

    path = Path(path)
    count = 0
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as out,
    ):
        stream = None
        for frame in frames:
            if stream is None:
                stream = _stream(out, frame.shape, fps, crf)
            picture = av.VideoFrame.from_ndarray(_even(frame), format="rgb24")
            picture.pts = count
            out.mux(stream.encode(picture))
            count += 1
        if stream is None:
            raise ValueError(f"no frames to write to {path}")
        out.mux(stream.encode())
    return count


def _stream(out: object, shape: tuple[int, ...], fps: float | Fraction, crf: int) -> object:
    stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000))
    stream.width, stream.height = shape[1] // 2 * 2, shape[0] // 2 * 2
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    stream.options = {"crf": str(crf), "preset": "medium"}
    return stream


def _even(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    return np.ascontiguousarray(frame[:height, :width])


def write_frames(folder: Path, frames: Iterable[np.ndarray]) -> int:
    """Write frames without loss as `00000.png, 00001.png ...`; return how many."""
    count = 0
    for count, frame in enumerate(frames, 1):
        write_image(folder / f"{count - 1:05d}.png", frame)
    return count
