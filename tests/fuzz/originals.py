"""Whole files to be damaged: made ones of every common container, and the first second of filmed ones at hand."""

from pathlib import Path

import av

from exprbench.media import read_clip, write_image
from tests.conftest import SHARED
from tests.videos import numbered, write

NUM_FRAMES = 30
MADE = {
    "h264.mp4": {"codec": "libx264"},
    "h264.mkv": {"codec": "libx264"},
    "h264.ts": {"codec": "libx264"},
    "hevc.mp4": {"codec": "libx265"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "vp9.webm": {"codec": "libvpx-vp9"},
}
FILMED = ("driving/d20.mp4", "driving/trump.mp4", "multi/two_person.mp4", "raw/tree.avi", "raw/vtest.avi")
FILMED_S = 1.0


def originals(folder):
    """Name -> bytes."""
    paths = [_made(folder / name, **options) for name, options in MADE.items()]
    paths += [_cut(SHARED / "data" / name, folder) for name in FILMED if (SHARED / "data" / name).exists()]
    write_image(folder / "still.png", numbered(7))
    return {path.name: path.read_bytes() for path in (*paths, folder / "still.png")}


def _made(path, codec):
    write(path, [numbered(i) for i in range(NUM_FRAMES)], codec=codec)
    assert len(read_clip(path)[0]) == NUM_FRAMES
    return path


def _cut(path: Path, folder: Path) -> Path:
    """The packets of a file's first second, as they are."""
    out = folder / f"filmed-{path.name}"
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        video = source.streams.video[0]
        stream = target.add_stream_from_template(video)
        for packet in source.demux(video):
            if packet.dts is None or packet.dts * packet.time_base > FILMED_S:
                break
            packet.stream = stream
            target.mux(packet)
    return out
