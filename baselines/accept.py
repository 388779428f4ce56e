"""Decide whether a method's output is usable; its exit status is not trusted."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.placement import panel_of
from baselines.spec import OutputSpec
from exprbench.core.errors import ItemError
from exprbench.faces.video_tracks import landmarker
from exprbench.media import open_clip

MIN_STD = 4.0  # of all pixels of a frame; below it, the frame is black or of one colour
MIN_CHANGE = 0.05  # mean absolute difference from the first frame, of 64 x 64 pixels
NUM_CHECKED = 5  # frames in which a face is looked for, evenly spread
MIN_FACE_RATE = 0.6


@dataclass(frozen=True, kw_only=True)
class AcceptedOutput:
    """An accepted output: its number of frames, size and frame rate according to its header."""

    num_frames: int
    width: int
    height: int
    fps: float


def find_output(patterns: list[Path], exclude: tuple[str, ...]) -> Path:
    """Return the one file that the glob patterns match.

    Raises:
        ItemError: `no_output` or `ambiguous_output`.
    """
    found = sorted({path for pattern in patterns for path in _glob(pattern) if path.is_file()})
    found = [path for path in found if not any(path.match(name) for name in exclude)]
    if not found:
        raise ItemError("no_output", f"no file matches {' or '.join(pattern.name for pattern in patterns)}")
    if len(found) > 1:
        raise ItemError("ambiguous_output", f"{len(found)} files match: {', '.join(path.name for path in found)}")
    return found[0]


def _glob(pattern: Path) -> list[Path]:
    """Return the files that match an absolute pattern."""
    return list(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))


def check_output(path: Path, output: OutputSpec, num_expected: int, *, needs_face: bool) -> AcceptedOutput:
    """Check that an output decodes, has the expected length, changes, is not of one colour, and shows a face.

    Raises:
        ItemError: a media error, `wrong_length`, `blank_output`, `frozen_output` or `no_face_in_output`.
    """
    checked = {round(i * (num_expected - 1) / (NUM_CHECKED - 1)) for i in range(NUM_CHECKED)}
    num_frames, blank, change, faces, first = 0, 0, 0.0, 0, None
    with open_clip(path) as clip:
        for frame in clip:
            picture = panel_of(frame, output)
            small = _thumbnail(picture)
            first = small if first is None else first
            change = max(change, float(np.abs(small - first).mean()))
            blank += float(small.std()) < MIN_STD
            if needs_face and num_frames in checked:
                faces += bool(landmarker().search(np.ascontiguousarray(picture)))
            num_frames += 1
    _check_length(num_frames, num_expected, output.longer)
    if blank:
        raise ItemError("blank_output", f"{blank} of {num_frames} frames are black or of one colour")
    if num_frames > 1 and change < MIN_CHANGE:
        raise ItemError("frozen_output", "all its frames are equal")
    if needs_face and faces < MIN_FACE_RATE * len(checked):
        raise ItemError("no_face_in_output", f"a face is found in {faces} of {len(checked)} frames")
    return AcceptedOutput(num_frames=num_frames, width=clip.info.width, height=clip.info.height, fps=clip.info.fps)


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)


def _check_length(num_frames: int, expected: int, may_be_longer: bool) -> None:
    if num_frames < expected or (num_frames > expected and not may_be_longer):
        raise ItemError("wrong_length", f"it has {num_frames} frames; expected {expected}")
