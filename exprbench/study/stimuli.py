"""Encode what the raters see: all media alike, without metadata, under names that reveal nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Literal

import numpy as np

from exprbench.media import open_clip, read_image, write_image, write_video

MAX_SOURCE = 720  # pixels of the longer side of a source image
TRAP_S, TRAP_FPS, TRAP_SIZE = 3.0, 25, (640, 360)
HOLD, SHRINK = 8, 16  # of a degraded video: frames for which it stands still, and the factor of its size


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One file of the questionnaire's folder.

    Attributes:
        kind: `source` image, `driver`, `result`, `low` (a driver, badly degraded) or `trap` (a text).
        name: file name in the folder.
        path: input file; unused by a trap.
        text: lines of a trap, separated by newlines.
        fps: frame rate of the benchmark; results keep their own.
        duration_s: seconds after which the video is cut.
    """

    kind: Literal["source", "driver", "result", "low", "trap"]
    name: str
    path: Path = Path()
    text: str = ""
    fps: float = 25.0
    duration_s: float = TRAP_S


def encode(stimulus: Stimulus, root: Path) -> float:
    """Write a stimulus into `root` and return its duration in seconds, 0 for an image.

    Raises:
        ItemError: the input cannot be read.
    """
    path = root / stimulus.name
    if stimulus.kind == "source":
        write_image(path, _limit_size(read_image(stimulus.path)))
        return 0.0
    if stimulus.kind == "trap":
        num_frames = round(TRAP_S * TRAP_FPS)
        return write_video(path, repeat(text_frame(stimulus.text), num_frames), fps=TRAP_FPS) / TRAP_FPS
    fps = _frame_rate(stimulus)
    with open_clip(stimulus.path, fps=fps, max_frames=max(1, round(stimulus.duration_s * fps))) as clip:
        frames = degrade(clip) if stimulus.kind == "low" else clip
        return write_video(path, frames, fps=fps) / fps


def _frame_rate(stimulus: Stimulus) -> float:
    """Return the frame rate of a result, which is part of its quality; the benchmark's for all else."""
    if stimulus.kind != "result" or stimulus.path.is_dir():
        return stimulus.fps
    with open_clip(stimulus.path) as clip:
        fps = clip.info.fps
    return fps if 1 <= fps <= 120 else stimulus.fps


def _limit_size(image: np.ndarray) -> np.ndarray:
    import cv2

    scale = MAX_SOURCE / max(image.shape[:2])
    if scale >= 1:
        return image
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def degrade(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield frames that everyone rates as bad: a sixteenth of the resolution, still for eight frames at a time."""
    import cv2

    held = None
    for i, frame in enumerate(frames):
        if i % HOLD == 0:
            height, width = frame.shape[:2]
            small = cv2.resize(frame, (max(1, width // SHRINK), max(1, height // SHRINK)), interpolation=cv2.INTER_AREA)
            held = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
        yield held


def text_frame(text: str) -> np.ndarray:
    """Return a grey (360, 640, 3) uint8 frame with lines of text."""
    import cv2

    width, height = TRAP_SIZE
    frame = np.full((height, width, 3), 96, np.uint8)
    lines = text.split("\n")
    for i, line in enumerate(lines):
        (size, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 1.1, 2)
        place = (width - size) // 2, height // 2 + round((i - (len(lines) - 1) / 2) * 60)
        cv2.putText(frame, line, place, cv2.FONT_HERSHEY_SIMPLEX, 1.1, (255, 255, 255), 2, cv2.LINE_AA)
    return frame
