"""Open containers of videos: only formats of a single file, and no images."""

from typing import Any

from exprbench.media.errors import MediaError
from exprbench.media.images import MAX_PIXELS, image_format
from exprbench.media.video import Piece, open_bytes

# Demuxers that read a single file; playlists, which name other files, are excluded.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,apng,ivf,nut,mxf,"
    "h264,hevc,av1,obu,m4v,yuv4mpegpipe,dv,rm,swf,wtv"
)
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
STILL_CONTAINERS = ("HEIC", "AVIF")  # images in the container of MP4, of which FFmpeg would read a tile as a video


def open_container(path: str, pieces: list[list[Any]] | None = None, unpacked_bytes: int = 0) -> Any:
    """Open a container in a file, or in pieces of other files (see `VideoSource`)."""
    import av

    if image_format(path) in STILL_CONTAINERS:
        _refuse_image(path)
    try:
        source = open_bytes([Piece(*p) for p in pieces], unpacked_bytes) if pieces else f"file:{path}"
        return av.open(source, "r", options=OPTIONS)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        _refuse_image(path)
        raise MediaError("open_failed", getattr(error, "strerror", None) or str(error)) from error


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
