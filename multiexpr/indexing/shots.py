"""Cut long videos into shots with PySceneDetect."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from exprbench.media import MediaError, VideoSource, open_frames, probe
from multiexpr.recipe import Shots

VERSION = "shots-1"  # increase it if a change here moves cuts
LONG_SIDE = 256

Span = tuple[float, float | None]  # start and duration in seconds; a duration of None is the whole video


def shots_fingerprint(shots: Shots) -> dict[str, Any]:
    """Return everything that spans depend on."""
    return {"version": VERSION, **asdict(shots)}


def find_spans(video: VideoSource, shots: Shots) -> list[Span]:
    """Return the spans of a video that become clips: the whole video if it is short or unreadable, else its shots.

    Shots longer than `max_shot_s` are divided into equal parts; shots shorter than `min_shot_s` are skipped.
    """
    whole: list[Span] = [(0.0, None)]
    try:
        facts = probe(video)
        if shots.cut == "never" or (shots.cut == "auto" and facts.duration_s <= shots.longer_than_s):
            return whole
        cuts = list(_detect_cuts(video, facts.duration_s, shots))
    except MediaError:
        return whole  # scoring raises the same error and records it
    trimmed = _trim_shots(cuts, facts.duration_s, shots)
    spans = [part for start, end in trimmed for part in _divide_shot(start, end, shots)]
    return spans or whole


def _detect_cuts(video: VideoSource, duration_s: float, shots: Shots) -> Iterator[float]:
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(adaptive_threshold=shots.ratio, min_content_val=shots.min_change, min_scene_len=1)
    times = [k / shots.fps for k in range(max(1, int(duration_s * shots.fps)))]
    with open_frames(video, times, long_side=LONG_SIDE) as frames:
        for number, frame in enumerate(frames):
            timecode = FrameTimecode(number, fps=shots.fps)
            cuts = detector.process_frame(timecode, np.ascontiguousarray(frame[..., ::-1]))
            yield from (cut.frame_num / shots.fps for cut in cuts)


def _trim_shots(cuts: list[float], duration_s: float, shots: Shots) -> Iterator[tuple[float, float]]:
    """Yield (start, end) of shots without the margins around cuts, where frames of both shots may be blended."""
    ends = [0.0, *cuts, duration_s]
    for i, (start, end) in enumerate(pairwise(ends)):
        first, last = start + shots.margin_s * (i > 0), end - shots.margin_s * (i < len(cuts))
        if last - first >= shots.min_shot_s:
            yield first, last


def _divide_shot(start: float, end: float, shots: Shots) -> list[Span]:
    count = max(1, int(np.ceil((end - start) / shots.max_shot_s - 1e-9)))
    length = (end - start) / count
    return [(round(start + i * length, 3), round(length, 3)) for i in range(count)]
