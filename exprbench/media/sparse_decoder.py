"""Sparse decoding: the frames nearest to given times, and of the others only those that these depend on.

The packets of a span are read before any is decoded, so that the times of all its frames are known. Then the decoder
is fed from the key frame before a wanted frame up to that frame: where key frames are few this is one run through the
span, where they are many it jumps. Frames that no other depends on are left out when they are not wanted. What is too
large to be held packed is read in windows around the times or, where these lie close, in sequence.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

from exprbench.media.errors import MediaError
from exprbench.media.stream import MAX_GAP_S, StreamReader

F = TypeVar("F")

KEEP_BYTES = 1 << 27  # of packets held at a time
WINDOW_S = 2  # before and after a time, where a span is too large to be held
LEAVE_OUT = ("h264", "hevc")  # codecs whose decoders can leave out single frames and give the others bit for bit
CLOCKLESS = ("avi",)  # containers that store no times of presentation: only decoding tells the order of frames
HEADER_ONLY_S = 600  # a longer video is described by its header alone
FIRST = 64  # packets within which a first frame is complete


@dataclass(frozen=True)
class Span:
    """Part of a video, in seconds from its first frame; the end is None where it is the video's own."""

    start_s: Fraction
    end_s: Fraction | None

    @property
    def whole(self) -> bool:
        """Is it all of the video?"""
        return not self.start_s and self.end_s is None


def pick(reader: StreamReader, times_s: list[Fraction], span: Span, num_bytes: int) -> Iterator[tuple[Any, int]]:
    """Yield (frame, how many of the times it is the nearest to), in order.

    Args:
        reading: a video just opened.
        times_s: seconds from the start of the span, ascending. Of two frames equally near, the earlier is taken.
        span: frames outside of it are not taken.
        num_bytes: size of the video.
    """
    times = [span.start_s + t for t in times_s]
    for window, wanted in _windows(reader, times, span, num_bytes):
        packets = None if reader.container.format.name in CLOCKLESS else _packets(reader, window)
        if packets is None:
            _rewind(reader, Fraction(0))
            yield from nearest(_in_sequence(reader, window), wanted)
        else:
            yield from _from_packets(reader, packets, window, wanted)


def nearest(timed: Iterable[tuple[F, Fraction]], times: Iterable[Fraction]) -> Iterator[tuple[F, int]]:
    """Yield each of the timed items that is nearest to one of the times, and to how many; both come in order."""
    left = deque(times)
    previous: tuple[F, Fraction] | None = None
    for item, at in timed:
        if previous is not None:
            count = 0
            while left and left[0] - previous[1] <= at - left[0]:
                left.popleft()
                count += 1
            if count:
                yield previous[0], count
            if not left:
                return
        previous = item, at
    if previous is not None and left:
        yield previous[0], len(left)


def packets_of(reader: StreamReader, span: Span) -> list[Any]:
    """The packets that make up a span, in the order of decoding, to be copied as they are.

    Empty where its first frame is no key frame, where its packets lean on others, or where their times cannot be told.
    """
    packets = None if reader.container.format.name in CLOCKLESS else _packets(reader, span)
    shown = _shown(reader, packets, span) if packets else []
    if not shown or not packets[shown[0][0]].is_keyframe or any(packet.dts is None for packet in packets):
        return []
    first, frames = shown[0][0], {i for i, _ in shown}
    inside = [i in frames for i in range(first, len(packets))]
    last = max(frames) + 1
    return packets[first:last] if all(inside[: last - first]) else []


def _windows(
    reader: StreamReader, times: list[Fraction], span: Span, num_bytes: int
) -> list[tuple[Span, list[Fraction]]]:
    """The parts of a span that are read one after the other, with the times in each."""
    if _fits(reader, span, num_bytes):
        return [(span, times)]
    windows: list[tuple[Span, list[Fraction]]] = []
    for t in times:
        if windows and t - WINDOW_S <= windows[-1][0].end_s:
            window, wanted = windows.pop()
            windows.append((Span(window.start_s, _ends(t, span)), [*wanted, t]))
        else:
            windows.append((Span(max(span.start_s, t - WINDOW_S), _ends(t, span)), [t]))
    return windows


def _fits(reader: StreamReader, span: Span, num_bytes: int) -> bool:
    """Can the packets of a span be held? Yes where the header tells no duration to judge by."""
    claimed_s = Fraction(reader.claimed_s)
    end_s = claimed_s if span.end_s is None else span.end_s
    return not claimed_s or (end_s - span.start_s) * num_bytes <= KEEP_BYTES * claimed_s


def _ends(t: Fraction, span: Span) -> Fraction:
    return t + WINDOW_S if span.end_s is None else min(t + WINDOW_S, span.end_s)


def _rewind(reader: StreamReader, to_s: Fraction) -> None:
    """Go to the key frame before a time."""
    import av

    stream = reader.stream
    try:
        origin = stream.start_time or 0
        reader.container.seek(origin + int(to_s / stream.time_base), stream=stream, backward=True)
    except av.error.FFmpegError as error:
        raise MediaError("decode_errors", f"the file cannot be read from {float(to_s):.2f} s on") from error


def _packets(reader: StreamReader, span: Span) -> list[Any] | None:
    """The packets of a span in the order of decoding, from a key frame on; None where that cannot be told."""
    if span.start_s:
        _rewind(reader, span.start_s)
    packets: list[Any] = []
    size = 0
    for packet in reader.packets():
        if packet.pts is None:
            return None
        if span.end_s is not None and packet.dts is not None and _time(reader, packet.dts) > span.end_s:
            break
        packets.append(packet)
        size += packet.size
        if size > 2 * KEEP_BYTES:
            return None
    first = next((i for i, packet in enumerate(packets) if packet.is_keyframe), None)
    if first is None or (span.start_s and _time(reader, packets[first].pts) > span.start_s):
        return None
    return packets[first:]


def _time(reader: StreamReader, pts: int) -> Fraction:
    """Seconds from the first frame."""
    return (pts - (reader.stream.start_time or 0)) * Fraction(reader.stream.time_base)


def _shown(reader: StreamReader, packets: list[Any], span: Span) -> list[tuple[int, Fraction]]:
    """(position in `packets`, time) of the frames of a span, in the order in which they are shown."""
    timed = sorted((packet.pts, i) for i, packet in enumerate(packets) if not packet.is_discard)
    if not timed:
        return []
    if any((b[0] - a[0]) * reader.stream.time_base > MAX_GAP_S for a, b in pairwise(timed)):
        raise MediaError("decode_errors", f"the clock jumps by more than {MAX_GAP_S} s")
    if span.whole:
        last = packets[timed[-1][1]]
        reader.end_s = (last.pts + last.duration - timed[0][0]) * Fraction(reader.stream.time_base)
        reader.knows_end = True
    first = _time(reader, timed[0][0]) if not span.start_s else Fraction(0)
    half = reader.frame_s / 2  # a frame that starts a rounding before the span is of the span
    shown = [(i, _time(reader, pts) - first) for pts, i in timed]
    return [(i, t) for i, t in shown if t > span.start_s - half and (span.end_s is None or t < span.end_s - half)]


def _from_packets(
    reader: StreamReader, packets: list[Any], span: Span, times: list[Fraction]
) -> Iterator[tuple[Any, int]]:
    wanted = list(nearest(_shown(reader, packets, span), times))
    counts = {packets[i].pts: count for i, count in wanted}
    for first, last, group in _runs(packets, [i for i, _ in wanted]):
        frames = ((frame, Fraction(frame.pts)) for frame in _decoded(reader, packets[first : last + 1], counts))
        left = deque(group)
        for frame, met in nearest(frames, [Fraction(pts) for pts in group]):
            yield frame, sum(counts[left.popleft()] for _ in range(met))


def _runs(packets: list[Any], wanted: list[int]) -> Iterator[tuple[int, int, list[int]]]:
    """(first packet, last packet, times of the wanted frames) of each run of the decoder."""
    run: tuple[int, int, list[int]] | None = None
    for i in wanted:
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
    """The nearest packet before the i-th from which on the frame it completes can be decoded."""
    return next((k for k in range(i, 0, -1) if packets[k].is_keyframe and packets[k].pts <= packets[i].pts), 0)


def _decoded(reader: StreamReader, packets: list[Any], wanted: dict[int, int]) -> Iterator[Any]:
    context = reader.stream.codec_context
    if context.is_open:
        context.flush_buffers()
    for packet in packets:
        if context.name in LEAVE_OUT:
            context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        yield from reader.decode(packet)
    yield from reader.decode(None)


def _in_sequence(reader: StreamReader, span: Span) -> Iterator[tuple[Any, Fraction]]:
    """The frames of a span with their times, every frame before them decoded too."""
    half = reader.frame_s / 2
    for frame, start_s, _ in reader.timed():
        if span.end_s is not None and start_s >= span.end_s - half:
            return
        if start_s > span.start_s - half:
            yield frame, start_s


def describe(reader: StreamReader, span: Span, num_bytes: int) -> dict[str, Any]:
    """What `VideoFacts` holds: from the packets and one decoded frame, or from the header where it is long."""
    held = _fits(reader, span, num_bytes) and (span.end_s is not None or reader.claimed_s <= HEADER_ONLY_S)
    packets = _packets(reader, span) if held else None
    if not packets:
        _rewind(reader, span.start_s)
    frames = _decoded(reader, packets[:FIRST], {}) if packets else reader.frames()
    frame = next(iter(frames), None)
    if frame is None:
        raise MediaError("decode_errors", "not one frame could be decoded")
    stream = reader.stream
    height, width = reader.to_rgb(frame).shape[:2]
    return {
        "width": width,
        "height": height,
        "container": reader.container.format.name,
        "codec": stream.codec_context.name,
        "pixel_format": frame.format.name,
        "rotation_deg": frame.rotation,
        "square_pixels": Fraction(stream.sample_aspect_ratio or 1) == 1,
        "has_audio": bool(reader.container.streams.audio),
        **(_counted(reader, packets, span) if packets else _claimed(reader, span)),
    }


def _counted(reader: StreamReader, packets: list[Any], span: Span) -> dict[str, Any]:
    shown = _shown(reader, packets, span)
    if not shown:
        raise MediaError("too_short", "no frame lies in the span")
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
