"""Read and write videos and images, and resample frames in time."""

from exprbench.media.clip import Clip, ClipInfo, open_clip, read_clip
from exprbench.media.errors import MediaError
from exprbench.media.images import read_image, write_image
from exprbench.media.resample import resample
from exprbench.media.sparse import VideoFacts, open_frames, probe
from exprbench.media.suffixes import VIDEO_SUFFIXES
from exprbench.media.video import Piece, VideoSource
from exprbench.media.writer import write_frames, write_video

DECODER = "frames-2"  # part of cache keys; increase it when a change of the code changes decoded frames

__all__ = [
    "DECODER",
    "VIDEO_SUFFIXES",
    "Clip",
    "ClipInfo",
    "MediaError",
    "Piece",
    "VideoFacts",
    "VideoSource",
    "open_clip",
    "open_frames",
    "probe",
    "read_clip",
    "read_image",
    "resample",
    "write_frames",
    "write_image",
    "write_video",
]
