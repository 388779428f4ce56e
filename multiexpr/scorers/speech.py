"""Speech: which person speaks, by the correlation of mouth opening and loudness over time.

The mouth of a person who speaks opens in loud moments and closes in silent ones. The loudness is the logarithm of the
energy of the sound, because speech spans 40 dB.
"""

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import numpy as np

from exprbench.faces.landmark_groups import OUTER_EYE_CORNERS
from exprbench.media import VideoSource
from exprbench.media.containers import open_container

INNER_LIPS = (13, 14)  # upper and lower, in the middle
MAX_LAG = 2  # frames by which the sound may be early or late
QUIET = 1e-4  # amplitude of silence, -80 dB
RATE = 16_000  # of the sound, in Hz
MAX_DRIFT_S = 0.05  # between the clock and the samples; more is a gap or an overlap
MIN_FRAMES = 12  # a second


def loudness(video: VideoSource, fps: float, num_frames: int) -> np.ndarray | None:
    """Return the logarithm of the amplitude of the sound in each frame of a clip, (T,); None if there is no sound.

    Time 0 is the first frame of the file's video. Sound that cannot be decoded counts as silence.
    """
    pieces = [list(astuple(piece)) for piece in video.pieces]
    size, start = round(RATE / fps), round(video.start_s * RATE)
    sound = np.zeros(size * num_frames, np.float32)
    with open_container(video.path, pieces or None, video.unpacked_bytes) as file:
        if not file.streams.audio:
            return None
        for first, samples in _samples(file):
            place = first - start
            if place >= len(sound):
                break
            part = samples[max(0, -place) : len(sound) - place]
            sound[max(0, place) : max(0, place) + len(part)] = part
    return np.log(np.sqrt((sound.reshape(num_frames, size) ** 2).mean(1)) + QUIET)


def _samples(file: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of the first sample, samples in [-1, 1]) of a file's sound, as one channel at `RATE`."""
    import av

    stream, video = file.streams.best("audio"), file.streams.best("video")
    origin_s = float((video.start_time or 0) * video.time_base) if video else 0.0
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
    packets = file.demux(stream)
    position = 0
    while True:
        try:
            for frame in next(packets).decode():
                time_s = None if frame.pts is None else float(frame.pts * frame.time_base) - origin_s
                if time_s is not None and abs(time_s * RATE - position) > MAX_DRIFT_S * RATE:
                    position = round(time_s * RATE)
                for part in resampler.resample(frame):
                    samples = part.to_ndarray()[0]
                    yield position, samples
                    position += len(samples)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.FFmpegError:
            continue


def mouth_opening(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the distance of the inner lips relative to that of the outer eye corners, (T,).

    Args:
        landmarks: (T, 478, 3) in [0, 1] of the frame.
        size: (width, height) of the frame in pixels.
    """
    points = landmarks[..., :2] * np.array(size, np.float64)
    lips, eyes = (points[:, first] - points[:, second] for first, second in (INNER_LIPS, OUTER_EYE_CORNERS))
    return np.linalg.norm(lips, axis=1) / np.maximum(np.linalg.norm(eyes, axis=1), 1e-9)


def speaking(opening: np.ndarray, loud: np.ndarray, seen: np.ndarray) -> float:
    """Return the correlation in [-1, 1] of a mouth's opening with loudness, at the best lag of up to two frames.

    Args:
        opening: (S,) mouth opening in the S frames with the face.
        loud: (T,) loudness.
        seen: (T,) bool, the frames with the face.
    """
    frames = np.flatnonzero(seen)
    values = [_correlation(opening, loud, frames + lag) for lag in range(-MAX_LAG, MAX_LAG + 1)]
    return max(values)


def _correlation(opening: np.ndarray, loud: np.ndarray, frames: np.ndarray) -> float:
    inside = (frames >= 0) & (frames < len(loud))
    a, b = opening[inside], loud[frames[inside]]
    if len(a) < MIN_FRAMES or a.std() < 1e-6 or b.std() < 1e-3:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
