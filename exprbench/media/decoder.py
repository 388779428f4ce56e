"""The decoder process: `python -m exprbench.media.decoder`.

It reads one JSON request per line from standard input and responds on standard output with messages (see `MESSAGE`):
`info`, then `frame`s, then `done`, or an `error` at any point. A separate process isolates the caller from files that
crash or hang a decoder; it ends with its parent. The pipe is the only buffer, so memory does not grow with the length
of the video.
"""

import gc
import json
import os
import struct
import sys
from fractions import Fraction
from typing import Any

from exprbench.core.child_process import end_with_parent
from exprbench.media.containers import open_container, video_stream
from exprbench.media.errors import MediaError
from exprbench.media.resample import resample
from exprbench.media.sparse_decoder import Span, describe, pick
from exprbench.media.stream import StreamReader

MESSAGE = struct.Struct("<cIQ")  # kind, times the frame is shown, bytes that follow
INFO, FRAME, DONE, ERROR = b"i", b"f", b"d", b"e"
MAX_DENOMINATOR = 10**6  # of times in seconds: requests are rounded to a microsecond


def main() -> None:
    """Serve requests until standard input closes."""
    end_with_parent()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # output of libraries must not mix with the messages
    import av

    av.logging.set_level(None)
    gc.freeze()  # what is imported is not searched again
    for line in sys.stdin.buffer:
        _Response(out).handle(json.loads(line))
        gc.collect()  # frames with side data are in reference cycles


class _Response:
    """Response to one request."""

    def __init__(self, out: Any) -> None:
        self.out = out

    def handle(self, request: dict[str, Any]) -> None:
        try:
            task = {"decode": self.decode, "pick": self.pick, "probe": self.probe}[request.pop("task")]
            self.send(DONE, _to_bytes(task(**request)))
        except MediaError as error:
            self.send(ERROR, _to_bytes([error.code, error.detail]))
        except BrokenPipeError:
            raise SystemExit from None
        except MemoryError:
            self.send(ERROR, _to_bytes(["decode_errors", "its frames need more memory than there is"]))
        except Exception as error:
            self.send(ERROR, _to_bytes(["open_failed", f"{type(error).__name__}: {error}"]))

    def send(self, kind: bytes, body: Any, count: int = 0) -> None:
        remaining = memoryview(body).cast("B")
        self.out.write(MESSAGE.pack(kind, count, len(remaining)))
        while remaining:
            remaining = remaining[self.out.write(remaining) :]

    def decode(self, path: str, fps: str | None, max_frames: int | None) -> dict[str, Any]:
        """Send up to `max_frames` frames at `fps` (None sends every frame); return the number of decoded frames."""
        with open_container(path) as container:
            reader = StreamReader(container, video_stream(container))
            timed = reader.timed()
            resampled = ((f, 1) for f, _, _ in timed) if fps is None else resample(timed, Fraction(fps))
            sent = 0
            for frame, repeats in resampled:
                count = repeats if max_frames is None else min(repeats, max_frames - sent)
                if count:
                    rgb = reader.to_rgb(frame)
                    if not sent:
                        self.send(INFO, _to_bytes(reader.describe(rgb.shape)))
                    self.send(FRAME, rgb, count)
                sent += count
                if sent == max_frames:
                    break
            reader.raise_on_damage(whole=max_frames is None or sent < max_frames)
            return {"num_decoded": reader.num_good + reader.num_damaged}

    def pick(self, video: dict[str, Any], times_s: list[float], sides: list[int | None]) -> dict[str, Any]:
        """Send the frames nearest to the times, scaled to at least the given short and long side."""
        span, num_bytes, location = _parse_video(video)
        with open_container(**location) as container:
            reader = StreamReader(container, video_stream(container), *sides)
            times = [Fraction(t).limit_denominator(MAX_DENOMINATOR) for t in times_s]
            sent = 0
            for frame, count in pick(reader, times, span, num_bytes):
                rgb = reader.to_rgb(frame)
                if not sent:
                    self.send(INFO, _to_bytes(reader.describe(rgb.shape)))
                self.send(FRAME, rgb, count)
                sent += count
            reader.raise_on_damage(whole=reader.knows_end)
            if not sent:
                raise MediaError("too_short", "the span contains no frame")
            return {"num_decoded": reader.num_good + reader.num_damaged}

    def probe(self, video: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of `VideoFacts`, from the container and one decoded frame."""
        span, num_bytes, location = _parse_video(video)
        with open_container(**location) as container:
            reader = StreamReader(container, video_stream(container))
            facts = describe(reader, span, num_bytes)
            reader.raise_on_damage(whole=reader.knows_end)
            return facts


def _parse_video(video: dict[str, Any]) -> tuple[Span, int, dict[str, Any]]:
    """Return span, size and location of a video in a request."""
    start_s = Fraction(video.pop("start_s")).limit_denominator(MAX_DENOMINATOR)
    duration_s = video.pop("duration_s")
    end_s = None if duration_s is None else start_s + Fraction(duration_s).limit_denominator(MAX_DENOMINATOR)
    return Span(start_s, end_s), video.pop("num_bytes"), video


def _to_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


if __name__ == "__main__":
    main()
