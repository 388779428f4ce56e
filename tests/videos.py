"""Videos made for tests: a picture of a moving bar whose frame number can be read back."""

import struct
from fractions import Fraction

import av
import numpy as np

WIDTH, HEIGHT, BITS = 160, 96, 10


def numbered(i, width=WIDTH, height=HEIGHT):
    """A frame that carries the number i as ten black or white blocks."""
    frame = np.full((height, width, 3), (40, 80, 120), np.uint8)
    for bit in range(BITS):
        left = 8 + bit * 14
        frame[16:48, left : left + 12] = 255 if i >> bit & 1 else 0
    return frame


def noise(num_frames):
    """Frames that do not compress, so that a file is large and damage to a packet shows."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (96, 160, 3), np.uint8) for _ in range(num_frames)]


def number_of(frame):
    """The number a decoded frame carries."""
    return sum(1 << bit for bit in range(BITS) if frame[32, 14 + bit * 14].mean() > 127)


def write(
    path,
    frames,
    *,
    times_s=None,
    fps=25,
    codec="libx264",
    pix_fmt="yuv420p",
    format=None,
    rotation=0,
    aspect=None,
    options=None,
):
    """Write frames at the given times (seconds), or at a constant rate; `options` are the encoder's."""
    base = Fraction(1, 1000 if codec == "mpeg4" else 90_000)  # MPEG-4 has 16 bits for it
    times_s = times_s if times_s is not None else [Fraction(i) / Fraction(fps) for i in range(len(frames))]
    with av.open(str(path), "w", format=format) as out:
        stream = out.add_stream(codec, rate=Fraction(fps), options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for frame, time_s in zip(frames, times_s, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = round(Fraction(time_s) / base), base
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def numbers(frames):
    return [number_of(frame) for frame in frames]


def packets(path):
    """The bytes of every packet of a video, in the order of decoding."""
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(video=0) if packet.size]


def cut_by_edit_list(path, num_frames, fps=25):
    """Let an MP4 begin `num_frames` later by its edit list, as editors do: the frames before are kept but not shown."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12  # one entry: duration in milliseconds, first time in 1 / 90000 s
    duration, first = struct.unpack_from(">ii", data, at)
    struct.pack_into(">ii", data, at, duration - num_frames * 1000 // fps, first + num_frames * 90_000 // fps)
    path.write_bytes(data)
    return path
