"""Copy the sound of a video to another one, in time with its frames."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.media.containers import open_container

AAC_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
AAC_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}  # other numbers of channels are mixed to stereo
MAX_DRIFT_S = Fraction(1, 20)  # between the clock and the samples; more is a gap or an overlap


class AudioCopy:
    """Copies the default audio track of a file into another as AAC; does nothing if there is no audio.

    Time 0 is the first frame of the file's video: earlier sound is dropped, and silence fills the time until later
    sound and gaps in it.
    """

    def __init__(self, path: Path | None) -> None:
        self.file = open_container(str(path)) if path and not Path(path).is_dir() else None
        self.source = self.file.streams.best("audio") if self.file else None

    def begin(self, out: Any) -> None:
        """Add an audio stream to the container `out`."""
        from av.audio.resampler import AudioResampler

        if not self.source:
            return
        self.out = out
        self.rate = self.source.codec_context.sample_rate
        self.num_written = 0
        self.stream = out.add_stream("aac", rate=self.rate if self.rate in AAC_RATES else 48_000)
        layout = AAC_LAYOUTS.get(self.source.codec_context.channels, "stereo")
        self.stream.layout = layout
        self.resampler = AudioResampler(format="fltp", layout=layout)
        self.parts = self._parts(_start_s(self.file))

    def add(self, until_s: float | Fraction) -> None:
        """Copy the sound up to a time."""
        while self.source and self.num_written < until_s * self.rate and (part := next(self.parts, None)):
            part.pts, part.time_base = self.num_written, Fraction(1, self.rate)
            self.num_written += part.samples
            self.out.mux(self.stream.encode(part))

    def finish(self) -> None:
        """Write the end of the sound."""
        if self.source and self.num_written:
            self.out.mux(self.stream.encode())

    def _parts(self, origin_s: Fraction) -> Iterator[Any]:
        """Yield frames of sound and of silence without gaps, from the time `origin_s` on."""
        for frame in self._frames():
            first = 0
            if frame.pts is not None:
                start = round((frame.pts * Fraction(frame.time_base) - origin_s) * self.rate)
                gap = start - self.num_written
                if gap > MAX_DRIFT_S * self.rate or (gap > 0 and not self.num_written):
                    yield from _silence(frame, gap)
                elif gap < -MAX_DRIFT_S * self.rate or (gap < 0 and not self.num_written):
                    first = -gap
            if first < frame.samples:
                yield _cut(frame, first)

    def _frames(self) -> Iterator[Any]:
        """Yield the frames of sound, as planes of floats in the layout of the copy; unreadable packets are skipped."""
        import av

        packets = self.file.demux(self.source)
        while True:
            try:
                for frame in next(packets).decode():
                    pts, time_base = frame.pts, frame.time_base
                    for converted in self.resampler.resample(frame):
                        converted.pts, converted.time_base = pts, time_base
                        yield converted
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError:
                continue

    def __enter__(self) -> "AudioCopy":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()


def _start_s(file: Any) -> Fraction:
    """Return the time of the first frame of a file's video, 0 if it has none or no times."""
    video = file.streams.best("video")
    return Fraction(0) if video is None else (video.start_time or 0) * Fraction(video.time_base)


def _silence(like: Any, num_samples: int) -> Iterator[Any]:
    """Yield silent frames, of at most a second each, in the format of a frame."""
    while num_samples > 0:
        count = min(num_samples, like.sample_rate)
        yield _frame(like, np.zeros((like.layout.nb_channels, count), np.float32))
        num_samples -= count


def _cut(frame: Any, first: int) -> Any:
    """Return a frame without its first samples."""
    return _frame(frame, frame.to_ndarray()[:, first:]) if first else frame


def _frame(like: Any, samples: np.ndarray) -> Any:
    """Return (channels, samples) as a frame in the format of another."""
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=like.layout.name)
    frame.sample_rate = like.sample_rate
    return frame
