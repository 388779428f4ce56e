"""Sparse decoding: decode the frames nearest to given times, and only the frames they depend on.

The packets of a span are read before decoding, so that the times of all its frames are known. The decoder then gets the
packets from the key frame before each requested frame up to that frame: with few key frames this is one run through the
span, with many key frames it skips parts. Frames that are neither requested nor referenced are not decoded. Spans whose
packets do not fit into memory are read in windows around the times.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

from exprbench.media.errors import MediaError
from exprbench.media.picture import is_shown_as_decoded
from exprbench.media.stream import MAX_GAP_S, WITHOUT_TIMES, StreamReader

F = TypeVar("F")

KEEP_BYTES = 1 << 27  # of packets in memory at a time
WINDOW_S = 2  # before and after a time, for spans that do not fit into memory
SKIPPABLE = ("h264", "hevc")  # codecs whose decoders can skip frames without changing the others
HEADER_ONLY_S = 600  # longer videos are described by their header
RAW = WITHOUT_TIMES[1:]  # streams without a container, which can only be read from their start
FIRST_PACKETS = 64  # number of packets that contain a complete first frame


@dataclass(frozen=True)
class Span:
    """Part of a video, in seconds from its first frame; the end is None for the end of the video."""

    start_s: Fraction
    end_s: Fraction | None

    @property
    def whole(self) -> bool:
        """Return whether the span is the whole video."""
        return not self.start_s and self.end_s is None


def pick(reader: StreamReader, times_s: list[Fraction], span: Span, num_bytes: int) -> Iterator[tuple[Any, int]]:
    """Yield (frame, number of times it is the nearest to), in order.

    Args:
        reader: reader of a video that was just opened.
        times_s: seconds from the start of the span, ascending; the earlier of two equally near frames is used.
        span: frames outside of it are not used.
        num_bytes: size of the video.
    """
    times = [span.start_s + t for t in times_s]
    for window, window_times in _windows(reader, times, span, num_bytes):
        packets = _packets(reader, window)
        if packets is None or not reader.has_times(packets):
            _rewind(reader, Fraction(0))
            yield from nearest(_in_sequence(reader, window), window_times)
        else:
            yield from _from_packets(reader, packets, window, window_times)


def nearest(timed: Iterable[tuple[F, Fraction]], times: Iterable[Fraction]) -> Iterator[tuple[F, int]]:
    """Yield each of the timed items that is nearest to one of the times, and the number of these; both are in order."""
    remaining = deque(times)
    previous: tuple[F, Fraction] | None = None
    for item, time in timed:
        if previous is not None:
            count = 0
            while remaining and remaining[0] - previous[1] <= time - remaining[0]:
                remaining.popleft()
                count += 1
            if count:
                yield previous[0], count
            if not remaining:
                return
        previous = item, time
    if previous is not None and remaining:
        yield previous[0], len(remaining)


def packets_of(reader: StreamReader, span: Span) -> list[Any]:
    """Return the packets of a span, in decoding order, that can be copied without re-encoding.

    The list is empty if the first frame is not a key frame, if packets depend on others outside of the span, or if
    their times are unknown.
    """
    packets = _packets(reader, span)
    shown = _shown(reader, packets, span) if packets and reader.has_times(packets) else []
    if not shown or not packets[shown[0][0]].is_keyframe or any(packet.dts is None for packet in packets):
        return []
    first, frames = shown[0][0], {i for i, _ in shown}
    inside = [i in frames for i in range(first, len(packets))]
    last = max(frames) + 1
    return packets[first:last] if all(inside[: last - first]) else []


def _windows(
    reader: StreamReader, times: list[Fraction], span: Span, num_bytes: int
) -> list[tuple[Span, list[Fraction]]]:
    """Return the parts of a span that are read one after the other, with the times in each."""
    if _fits(reader, span, num_bytes):
        return [(span, times)]
    windows: list[tuple[Span, list[Fraction]]] = []
    for t in times:
        if windows and t - WINDOW_S <= windows[-1][0].end_s:
            window, window_times = windows.pop()
            windows.append((Span(window.start_s, _window_end(t, span)), [*window_times, t]))
        else:
            windows.append((Span(max(span.start_s, t - WINDOW_S), _window_end(t, span)), [t]))
    return windows


def _fits(reader: StreamReader, span: Span, num_bytes: int) -> bool:
    """Return whether the packets of a span fit into memory; true if the header has no duration."""
    claimed_s = Fraction(reader.claimed_s)
    end_s = claimed_s if span.end_s is None else span.end_s
    return not claimed_s or (end_s - span.start_s) * num_bytes <= KEEP_BYTES * claimed_s


def _window_end(t: Fraction, span: Span) -> Fraction:
    return t + WINDOW_S if span.end_s is None else min(t + WINDOW_S, span.end_s)


def _rewind(reader: StreamReader, to_s: Fraction) -> None:
    """Seek to the key frame before a time."""
    import av

    stream = reader.stream
    try:
        if to_s or reader.container.format.name not in RAW:
            origin = stream.start_time or 0
            reader.container.seek(origin + int(to_s / stream.time_base), stream=stream, backward=True)
        else:
            reader.container.seek(0, backward=True, unsupported_byte_offset=True)
    except av.error.FFmpegError as error:
        raise MediaError("decode_errors", f"the file cannot be read from {float(to_s):.2f} s on") from error


def _packets(reader: StreamReader, span: Span) -> list[Any] | None:
    """Return the packets of a span in decoding order, starting with a key frame; None if that is not possible."""
    if span.start_s:
        _rewind(reader, Fraction(0) if reader.container.format.name in RAW else span.start_s)
    packets: list[Any] = []
    size = 0
    for packet in reader.packets():
        if span.end_s is not None and packet.dts is not None and _time(reader, packet.dts) > span.end_s:
            break
        packets.append(packet)
        size += packet.size
        if size > 2 * KEEP_BYTES:
            return None
    first = next((i for i, packet in enumerate(packets) if packet.is_keyframe), None)
    if first is None or (span.start_s and _time(reader, packets[first].pts or 0) > span.start_s):
        return None
    if not span.start_s and packets[first].pts is not None:
        reader.missing_s = reader.skipped_s(packets, packets[first].pts)
    return packets[first:]


def _time(reader: StreamReader, pts: int) -> Fraction:
    """Return a presentation time in seconds from the first frame."""
    return (pts - (reader.stream.start_time or 0)) * Fraction(reader.stream.time_base)


def _shown(reader: StreamReader, packets: list[Any], span: Span) -> list[tuple[int, Fraction]]:
    """Return (index into `packets`, time) of the frames of a span, in presentation order."""
    ticks = _ticks(reader, packets)
    timed = sorted((ticks[i], i) for i, packet in enumerate(packets) if not packet.is_discard)
    if not timed:
        return []
    if any((b[0] - a[0]) * reader.stream.time_base > MAX_GAP_S for a, b in pairwise(timed)):
        raise MediaError("decode_errors", f"the clock jumps by more than {MAX_GAP_S} s")
    if span.whole:
        last, i = timed[-1]
        reader.end_s = (last + packets[i].duration - timed[0][0]) * Fraction(reader.stream.time_base)
        reader.knows_end = True
    first = _time(reader, timed[0][0]) if not span.start_s else Fraction(0)
    half = reader.frame_s / 2  # a frame that starts before the span by a rounding error is part of it
    shown = [(i, _time(reader, pts) - first) for pts, i in timed]
    return [(i, t) for i, t in shown if t > span.start_s - half and (span.end_s is None or t < span.end_s - half)]


def _ticks(reader: StreamReader, packets: list[Any]) -> list[int]:
    """Return the times of packets: for presentation, else for decoding, else at the rate in the header."""
    if reader.has_times(packets):
        return [packet.pts for packet in packets]
    if all(packet.dts is not None for packet in packets):
        return [packet.dts for packet in packets]
    return [round(i * reader.frame_s / Fraction(reader.stream.time_base)) for i in range(len(packets))]


def _from_packets(
    reader: StreamReader, packets: list[Any], span: Span, times: list[Fraction]
) -> Iterator[tuple[Any, int]]:
    requested = list(nearest(_shown(reader, packets, span), times))
    counts = {packets[i].pts: count for i, count in requested}
    for first, last, group in _runs(packets, [i for i, _ in requested]):
        frames = ((frame, Fraction(frame.pts)) for frame in _decoded(reader, packets[first : last + 1], counts))
        remaining = deque(group)
        for frame, count in nearest(frames, [Fraction(pts) for pts in group]):
            yield frame, sum(counts[remaining.popleft()] for _ in range(count))


def _runs(packets: list[Any], requested: list[int]) -> Iterator[tuple[int, int, list[int]]]:
    """Yield (first packet, last packet, times of the requested frames) of each run of the decoder."""
    run: tuple[int, int, list[int]] | None = None
    for i in requested:
        key = _key_before(packets, i)
        if run and key <= run[1]:
            run = run[0], max(run[1], i), [*run[2], packets[i].pts]
            continue
        if run:
            yield run
        run = key, i, [packets[i].pts]
    if run:
        yield run


def _key_before(packets: list[Any], i: int) -> int:
    """Return the index of the last key frame packet from which the frame of the i-th packet can be decoded."""
    return next((k for k in range(i, 0, -1) if packets[k].is_keyframe and packets[k].pts <= packets[i].pts), 0)


def _decoded(reader: StreamReader, packets: list[Any], requested: dict[int, int]) -> Iterator[Any]:
    context = reader.stream.codec_context
    if context.is_open:
        context.flush_buffers()
    for packet in packets:
        if context.name in SKIPPABLE:
            context.skip_frame = "DEFAULT" if packet.pts in requested else "NONREF"
        yield from reader.decode(packet)
    yield from reader.decode(None)


def _in_sequence(reader: StreamReader, span: Span) -> Iterator[tuple[Any, Fraction]]:
    """Yield the frames of a span with their times, decoding the whole video up to its end."""
    half = reader.frame_s / 2
    for frame, start_s, _ in reader.timed():
        if span.end_s is not None and start_s >= span.end_s - half:
            return
        if start_s > span.start_s - half:
            yield frame, start_s


def describe(reader: StreamReader, span: Span, num_bytes: int) -> dict[str, Any]:
    """Return the fields of `VideoFacts`: from the packets and one decoded frame, or from the header of a long video."""
    read_packets = _fits(reader, span, num_bytes) and (span.end_s is not None or reader.claimed_s <= HEADER_ONLY_S)
    packets = _packets(reader, span) if read_packets else None
    if not packets:
        _rewind(reader, span.start_s)
    frames = _decoded(reader, packets[:FIRST_PACKETS], {}) if packets else reader.frames()
    frame = next(iter(frames), None)
    if frame is None:
        raise MediaError("decode_errors", "not one frame could be decoded")
    stream = reader.stream
    width, height = reader.shown_size(frame)
    return {
        "width": width,
        "height": height,
        "container": reader.container.format.name,
        "codec": stream.codec_context.name,
        "pixel_format": reader.as_in_software(frame).format.name,
        "rotation_deg": frame.rotation,
        "shown_as_decoded": is_shown_as_decoded(frame),
        "square_pixels": Fraction(stream.sample_aspect_ratio or 1) == 1,
        "has_audio": bool(reader.container.streams.audio),
        **(_counted(reader, packets, span) if packets else _claimed(reader, span)),
    }


def _counted(reader: StreamReader, packets: list[Any], span: Span) -> dict[str, Any]:
    shown = _shown(reader, packets, span)
    if not shown:
        raise MediaError("too_short", "the span contains no frame")
    gaps = [b[1] - a[1] for a, b in pairwise(shown)]
    frame_s = sum(gaps, Fraction(0)) / len(gaps) if gaps else reader.frame_s
    return {
        "num_frames": len(shown),
        "num_keyframes": sum(packets[i].is_keyframe for i, _ in shown),
        "fps": float(1 / frame_s) if frame_s else 0.0,
        "duration_s": float(shown[-1][1] - shown[0][1] + frame_s),
        "constant_rate": all(abs(gap - frame_s) <= Fraction(1, 500) for gap in gaps),
    }


def _claimed(reader: StreamReader, span: Span) -> dict[str, Any]:
    end_s = Fraction(reader.claimed_s) if span.end_s is None else span.end_s
    fps = 1 / reader.frame_s
    return {
        "num_frames": round((end_s - span.start_s) * fps),
        "num_keyframes": 0,
        "fps": float(fps),
        "duration_s": float(end_s - span.start_s),
        "constant_rate": True,
    }
