"""Open containers of videos: only formats of a single file, and no images; in software, or on a GPU with NVDEC."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from exprbench.core.errors import UserError
from exprbench.media.errors import MediaError
from exprbench.media.images import MAX_PIXELS, image_format
from exprbench.media.video import Piece, open_bytes

# Demuxers that read a single file; playlists, which name other files, are excluded.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,apng,ivf,nut,mxf,"
    "h264,hevc,av1,obu,m4v,yuv4mpegpipe,dv,rm,swf,wtv"
)
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
DECODERS = ("software", "nvdec")
VARIABLE = "EXPRBENCH_DECODER"  # one of the decoders, for this process and those that it starts
EXACT = ("h264", "hevc", "vp9")  # codecs with NVDEC whose standards define every bit of the frames
STILL_CONTAINERS = ("HEIC", "AVIF")  # images in the container of MP4, of which FFmpeg would read a tile as a video


@contextmanager
def using_decoder(name: str) -> Iterator[None]:
    """Decode with `software` or `nvdec` within the block, in this process and in those that it starts.

    Raises:
        UserError: see `check_decoder`.
    """
    check_decoder(name)
    before = os.environ.get(VARIABLE, "software")
    os.environ[VARIABLE] = name
    try:
        yield
    finally:
        os.environ[VARIABLE] = before


def check_decoder(name: str) -> None:
    """Check that a decoder can be used on this machine.

    Raises:
        UserError: it is `nvdec`, and there is no GPU that can decode.
    """
    if name == "nvdec" and _nvdec() is None:
        raise UserError("--decoder is nvdec, but FFmpeg finds no NVIDIA GPU with its driver; use --decoder software")


@lru_cache(maxsize=1)
def _nvdec() -> Any:
    """Return PyAV's settings for NVDEC, and a device that keeps the GPU's context alive; None if there is no GPU."""
    import av
    from av.codec import hwaccel

    settings = hwaccel.HWAccel("cuda", options={"primary_ctx": "1"})  # one context for all files of this process
    try:
        return settings, settings.create(av.Codec("h264"))
    except (av.error.FFmpegError, NotImplementedError):
        return None


def open_container(path: str, pieces: list[list[Any]] | None = None, unpacked_bytes: int = 0) -> Any:
    """Open a container in a file, or in pieces of other files (see `VideoSource`)."""
    import av

    if image_format(path) in STILL_CONTAINERS:
        _refuse_image(path)

    def source() -> Any:
        return open_bytes([Piece(*p) for p in pieces], unpacked_bytes) if pieces else f"file:{path}"

    try:
        container = av.open(source(), "r", options=OPTIONS)
        names = [stream.codec_context.name for stream in container.streams.video if stream.codec_context]
        if os.environ.get(VARIABLE) == "nvdec" and set(names) & set(EXACT) and (gpu := _nvdec()):
            return _on_gpu(container, source, gpu[0])
    except (av.error.FFmpegError, OSError, ValueError) as error:
        _refuse_image(path)
        raise MediaError("open_failed", getattr(error, "strerror", None) or str(error)) from error
    return container


def _on_gpu(container: Any, source: Callable[[], Any], hwaccel: Any) -> Any:
    """Return a container opened again for decoding on a GPU, or the same one if the GPU has no room for it.

    FFmpeg itself decodes in software what the GPU cannot, such as H.264 with 4:2:2 chroma.
    """
    import av

    try:
        opened = av.open(source(), "r", options=OPTIONS, hwaccel=hwaccel)
    except av.error.FFmpegError:
        return container
    container.close()
    return opened


def _refuse_image(path: str) -> None:
    """Raise if a file is an image."""
    if kind := image_format(path):
        raise MediaError("open_failed", f"it is an image ({kind}); a driver or a prediction is a video")


def video_stream(container: Any) -> Any:
    """Return the video stream of a container, with single-threaded decoding."""
    import av

    cover_art = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if s.codec_context and not s.disposition & cover_art]
    if not streams:
        raise MediaError("no_video_stream")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if not 0 < stream.width * stream.height <= MAX_PIXELS:
        size = f"frames of {stream.width}x{stream.height} pixels"
        raise MediaError("open_failed", f"its header claims {size}; is its start missing?")
    stream.thread_type, stream.codec_context.thread_count = "NONE", 1  # other cores decode other files
    return stream
