"""Tile the videos of a case into one H.264 video, so that a browser shows them in step, exact to the frame."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.cache import read_entry, write_entry
from exprbench.core.files import write_bytes
from exprbench.core.schema import decode
from exprbench.media import DECODER, Clip, MediaError, write_video
from exprbench.scoring.single_pass import VideoInput

VERSION = "tiles-1"  # increase it when a change of the code changes the tiled video
KEYFRAME_EVERY = 12  # frames: a browser decodes at most this many to show any frame
PRESET = "veryfast"
MAX_SIDE = 4096  # pixels of the tiled video; many decoders of browsers accept no more
GREY = 40


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Place of a video in the tiled one, in pixels.

    Attributes:
        num_frames: number of frames that the video has; its tile is grey after them.
        error: why the video could not be decoded to its end.
    """

    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    num_frames: int = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class TiledSettings:
    """Settings of a tiled video: frame rate, number of frames, longer side of a tile in pixels, quality of x264."""

    fps: float
    num_frames: int
    side: int
    crf: int


def write_tiled(path: Path, videos: Sequence[VideoInput], settings: TiledSettings) -> list[Tile]:
    """Write the tiled video, from the cache if it was encoded before, and return the tile of each video."""
    key = {
        "version": VERSION,
        "decoder": DECODER,
        "videos": [[video.sha256, video.rate, video.max_frames] for video in videos],
        "settings": asdict(settings),
        "encoder": [PRESET, KEYFRAME_EVERY],
    }
    entry = read_entry("tiles", key)
    if entry is None:
        tiles = encode_tiled(path, videos, settings)
        for video in videos:
            video.check_unchanged()
        entry = json.dumps([asdict(tile) for tile in tiles]).encode() + b"\n" + path.read_bytes()
        write_entry("tiles", key, entry)
        return tiles
    head, _, content = entry.partition(b"\n")
    write_bytes(path, content)
    return [decode(Tile, tile, "cache") for tile in json.loads(head)]


def encode_tiled(path: Path, videos: Sequence[VideoInput], settings: TiledSettings) -> list[Tile]:
    """Write the tiled video and return the tile of each video; see `write_tiled`."""
    with ExitStack() as opened:
        streams = [_Stream(opened, video) for video in videos]
        tiles, size = lay_out([stream.size for stream in streams], settings.side)
        frames = islice(_tiled(streams, tiles, size), settings.num_frames)
        options: dict[str, Any] = {"crf": settings.crf, "preset": PRESET, "keyframe_every": KEYFRAME_EVERY}
        write_video(path, frames, fps=settings.fps, **options)
    counts = [{"num_frames": stream.num_frames, "error": stream.error} for stream in streams]
    return [Tile(**{**asdict(tile), **count}) for tile, count in zip(tiles, counts, strict=True)]


class _Stream:
    """Frames of one video up to its end, or to what cannot be decoded."""

    def __init__(self, opened: ExitStack, video: VideoInput) -> None:
        self.num_frames, self.error, self.size = 0, "", (2, 2)
        self.frames: Iterator[np.ndarray] = iter(())
        try:
            clip = opened.enter_context(video.open())
            self.size, self.frames = (clip.info.width, clip.info.height), self._read(video, clip)
        except MediaError as error:
            self.error = str(error)

    def _read(self, video: VideoInput, clip: Clip) -> Iterator[np.ndarray]:
        try:
            for frame in video.frames(clip):
                self.num_frames += 1
                yield frame
        except MediaError as error:
            self.error = str(error)


def lay_out(sizes: Sequence[tuple[int, int]], max_side: int) -> tuple[list[Tile], tuple[int, int]]:
    """Return the tiles of videos of given (width, height), in about as many rows as columns, and the whole size.

    Each video is scaled down to a longer side of at most `max_side`, and further if decoders would refuse the whole.
    All lengths are even.
    """
    columns = math.ceil(math.sqrt(len(sizes)))
    rows = math.ceil(len(sizes) / columns)
    side = min(max_side, MAX_SIDE // max(columns, rows))
    fitted = [_fit(size, side) for size in sizes]
    width, height = (max(size[i] for size in fitted) for i in (0, 1))
    places = [(i % columns * width, i // columns * height) for i in range(len(sizes))]
    tiles = [Tile(x=x, y=y, width=w, height=h) for (x, y), (w, h) in zip(places, fitted, strict=True)]
    return tiles, (columns * width, rows * height)


def _fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    width, height = (max(2, round(length * scale / 2) * 2) for length in size)
    return width, height


def _tiled(streams: Iterable[_Stream], tiles: Sequence[Tile], size: tuple[int, int]) -> Iterator[np.ndarray]:
    while True:
        canvas = np.full((size[1], size[0], 3), GREY, np.uint8)
        for stream, tile in zip(streams, tiles, strict=True):
            frame = next(stream.frames, None)
            if frame is not None:
                canvas[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = shrink(frame, tile)
        yield canvas


def shrink(frame: np.ndarray, tile: Tile) -> np.ndarray:
    """Return a frame at the size of its tile."""
    import cv2

    size = tile.width, tile.height
    return frame if frame.shape[1::-1] == size else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
