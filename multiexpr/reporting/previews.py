"""Pictures of example clips: moments with boxes around people, in a grid, and a small video that plays."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.files import sha256_json
from exprbench.media import VideoSource, open_frames, probe, write_video
from multiexpr.scorers.base import evenly_spaced
from multiexpr.selection.explain import Explanation

GRID_HEIGHT, JPEG_QUALITY = 190, 75
LAYOUTS = ((0.8, 1, 4), (1.25, 1, 3), (2.5, 2, 2), (np.inf, 3, 1))  # largest aspect ratio of a clip, rows, columns
COUNTS, DOES_NOT_COUNT, DETECTED = (47, 125, 107), (201, 137, 75), (150, 160, 170)  # RGB, the colours of page.css
PREVIEW = {"short_side": 240, "max_s": 8.0, "fps": 12.5, "crf": 30}

Row = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """Box around a person at one moment of a clip.

    Attributes:
        box: left, top, right and bottom in [0, 1] of the frame.
        label: number of the person in the scores; empty for a detected person whose face is not measured.
        colour: RGB.
    """

    box: tuple[float, float, float, float]
    label: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Moment:
    """Moment of a clip, in seconds, with the people at that time."""

    time_s: float
    marks: tuple[Mark, ...] = ()


def moments(explanation: Explanation) -> list[Moment]:
    """Return the moments of a clip at which people were measured: their faces, or else the people themselves.

    The list is empty if neither was measured.
    """
    faces, people = (explanation.scores.get(name, {}) for name in ("motion", "people"))
    if faces.get("face_moment_s"):
        return _face_moments(faces, {person.number for person in explanation.people if person.failed is None})
    length_s = explanation.scores.get("container", {}).get("length_s")
    if length_s and people.get("people_counts"):
        return _people_moments(people, length_s)
    return []


def _face_moments(faces: Row, counting: set[int]) -> list[Moment]:
    times = faces["face_moment_s"]
    boxes = np.array(faces["face_moment_box"], np.float64).reshape(-1, len(times), 4)
    return [
        Moment(time_s, tuple(_face_mark(person, box, person in counting) for person, box in enumerate(boxes[:, i], 1)
                             if not np.isnan(box).any()))
        for i, time_s in enumerate(times)
    ]  # fmt: skip


def _face_mark(number: int, box: np.ndarray, counts: bool) -> Mark:
    return Mark(tuple(box.tolist()), str(number), COUNTS if counts else DOES_NOT_COUNT)


def _people_moments(people: Row, length_s: float) -> list[Moment]:
    boxes = np.array(people["people_box"], np.float64).reshape(-1, 4).tolist()
    frames = people["people_frame"]
    return [
        Moment(time_s, tuple(Mark(tuple(box), "", DETECTED) for box, f in zip(boxes, frames, strict=True) if f == i))
        for i, time_s in enumerate(evenly_spaced(length_s, len(people["people_counts"])))
    ]


def moments_grid(video: VideoSource, known: Sequence[Moment] = ()) -> str:
    """Return three or four separate moments of a clip in a grid, with the boxes of people, as a JPEG in base64.

    Args:
        video: the clip.
        known: moments with boxes; those closest to the middles of equal parts of the clip are shown. Frames without
            boxes if there are none.

    Raises:
        MediaError: the clip cannot be read.
    """
    import cv2

    facts = probe(video)
    rows, columns = next((r, c) for aspect, r, c in LAYOUTS if facts.width <= aspect * facts.height)
    shown = [_closest(known, time_s) for time_s in evenly_spaced(facts.duration_s, rows * columns)]
    height = GRID_HEIGHT // rows
    with open_frames(video, [moment.time_s for moment in shown], short_side=height) as frames:
        pictures = [_draw(_resize(frame, height), moment.marks) for frame, moment in zip(frames, shown, strict=True)]
    grid = np.vstack([np.hstack(pictures[i : i + columns]) for i in range(0, len(pictures), columns)])
    _, data = cv2.imencode(".jpg", grid[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return base64.b64encode(data.tobytes()).decode()


def _closest(known: Sequence[Moment], time_s: float) -> Moment:
    return min(known, key=lambda moment: abs(moment.time_s - time_s), default=Moment(time_s))


def _resize(frame: np.ndarray, height: int) -> np.ndarray:
    import cv2

    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _draw(picture: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    import cv2

    height, width = picture.shape[:2]
    for mark in marks:
        left, top, right, bottom = np.round(np.multiply(mark.box, (width, height, width, height))).astype(int).tolist()
        cv2.rectangle(picture, (left, top), (right, bottom), mark.colour, 2)
        if mark.label:
            top = max(top, 15)
            cv2.rectangle(picture, (left - 1, top - 15), (left + 4 + 9 * len(mark.label), top), mark.colour, -1)
            cv2.putText(
                *(picture, mark.label, (left + 2, top - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1),
                cv2.LINE_AA,
            )
    return picture


def preview_name(clip: Mapping[str, Any]) -> str:
    """Return the file name of a clip's preview, which changes with the clip's file and the encoding."""
    return f"{sha256_json([clip['clip_id'], clip['stamp'], PREVIEW])[:20]}.mp4"


def write_preview(video: VideoSource, path: Path) -> None:
    """Write the beginning of a clip as a small H.264 video without sound; a file that exists is kept.

    Raises:
        MediaError: the clip cannot be read.
    """
    if path.exists():
        return
    duration_s = min(probe(video).duration_s, PREVIEW["max_s"])
    times = [k / PREVIEW["fps"] for k in range(max(1, round(duration_s * PREVIEW["fps"])))]
    with open_frames(video, times, short_side=PREVIEW["short_side"]) as frames:
        write_video(path, frames, fps=PREVIEW["fps"], crf=PREVIEW["crf"], preset="veryfast")
