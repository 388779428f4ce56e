"""Write videos and frame folders."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from exprbench.core.files import atomic_path
from exprbench.media.audio import AudioCopy
from exprbench.media.images import write_image

CRF = 17  # of x264; visually lossless
# Otherwise rounding in x264's rate control depends on memory alignment: equal frames gave up to 25 files in 25 runs.
EXACT = "cpu-independent=1"
# The matrix and range of the conversion from RGB. They are written into the file, because readers of untagged files
# guess them, some by the size of the frame; a wrong guess costs 10 dB.
BT709 = {"dst_colorspace": "ITU709", "dst_color_range": "MPEG"}
BT709_TAG, LIMITED_RANGE_TAG = 1, 1  # of H.273 and FFmpeg


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: float | Fraction = 25,
    crf: int = CRF,
    preset: str = "medium",
    keyframe_every: int | None = None,
    metadata: Mapping[str, str] | None = None,
    audio: Path | None = None,
) -> int:
    """Write (H, W, 3) uint8 RGB frames as H.264 (yuv420p, BT.709, constant frame rate) and return their number.

    The file is written atomically. With one thread, exact arithmetic and no timestamps, equal frames give equal bytes.
    A last odd row or column is cropped, because yuv420p needs even sizes.

    Args:
        path: the MP4 file.
        frames: frames of one size, at least one.
        fps: frames per second.
        crf: quality of x264; lower is better.
        preset: speed of x264.
        keyframe_every: number of frames from one keyframe to the next, small for quick seeks; x264's choice by default.
        metadata: metadata of the container (`title`, `comment` and the other keys of MP4).
        audio: file with the sound: that of its default track, with the same offset to the first frame as in the file,
            up to the duration of the frames. A file without audio, or a folder, adds none.
    """
    import av
    from av.video.reformatter import VideoReformatter

    path = Path(path)
    count, converter = 0, VideoReformatter()
    options = {"crf": str(crf), "preset": preset} | ({"g": str(keyframe_every)} if keyframe_every else {})
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as out,
        AudioCopy(audio) as audio_copy,
    ):
        out.metadata.update(metadata or {})
        stream = None
        for frame in frames:
            if stream is None:
                stream = _stream(out, frame.shape, fps, options)
                audio_copy.begin(out)
            picture = av.VideoFrame.from_ndarray(_even(frame), format="rgb24")
            picture = converter.reformat(picture, format="yuv420p", **BT709)
            picture.pts = count
            out.mux(stream.encode(picture))
            count += 1
            audio_copy.add(count / fps)
        if stream is None:
            raise ValueError(f"no frames to write to {path}")
        out.mux(stream.encode())
        audio_copy.finish()
    return count


def _stream(out: object, shape: tuple[int, ...], fps: float | Fraction, options: Mapping[str, str]) -> object:
    stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000))
    stream.width, stream.height = shape[1] // 2 * 2, shape[0] // 2 * 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = BT709_TAG
    context.color_range = LIMITED_RANGE_TAG
    context.thread_count = 1
    stream.options = {**options, "x264-params": EXACT}
    return stream


def _even(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    return np.ascontiguousarray(frame[:height, :width])


def write_frames(folder: Path, frames: Iterable[np.ndarray]) -> int:
    """Write frames as `00000.png, 00001.png ...` and return their number."""
    count = 0
    for count, frame in enumerate(frames, 1):
        write_image(folder / f"{count - 1:05d}.png", frame)
    return count
