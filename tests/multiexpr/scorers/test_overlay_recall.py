"""Watermarks and insets drawn on the test videos: how many are found, and what is found on the videos themselves."""

import cv2
import numpy as np
import pytest

from exprbench.media import open_frames
from multiexpr.recipe import KeepOverlays
from multiexpr.scorers.base import evenly_spaced
from multiexpr.scorers.overlays import largest_inset, watermark_share

LIMITS = KeepOverlays()
INSETS = ((3, "bottom left", 0.3, 0), (5, "top right", 0.25, 0), (2, "bottom right", 0.35, 0), (4, "top left", 0.3, 2))


@pytest.fixture(scope="module")
def videos(shared):
    """Ten RGB frames of each video, with a short side of 360 pixels."""
    paths = [*sorted(shared("driving/d0.mp4").parent.glob("*.mp4")), shared("multi/two_person.mp4")]
    return [_frames(path) for path in paths]


def _frames(path):
    with open_frames(path, evenly_spaced(3.0, 10)) as frames:
        sides = [(frame, 360 / min(frame.shape[:2])) for frame in frames]
    return [cv2.resize(frame, None, fx=k, fy=k, interpolation=cv2.INTER_AREA) for frame, k in sides]


def _grays(frames):
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]).astype(np.float32)


def _marked(frame):
    mark, k = frame.copy(), frame.shape[1] / 640
    for share in (0.3, 0.6, 0.9):
        place = int(0.12 * frame.shape[1]), int(share * frame.shape[0])
        cv2.putText(mark, "STOCKVIDEO", place, 0, 2.2 * k, (255, 255, 255), int(8 * k), cv2.LINE_AA)
    return cv2.addWeighted(mark, 0.35, frame, 0.65, 0)


def _with_inset(frame, other, place, size, border):
    frame, (height, width) = frame.copy(), frame.shape[:2]
    inner_height = int(size * height)
    inner_width = min(int(inner_height * other.shape[1] / other.shape[0]), int(0.45 * width))
    top = int(0.05 * height) if "top" in place else height - int(0.05 * height) - inner_height
    left = int(0.04 * width) if "left" in place else width - int(0.04 * width) - inner_width
    bottom, right = top + inner_height, left + inner_width
    frame[top:bottom, left:right] = cv2.resize(other, (inner_width, inner_height), interpolation=cv2.INTER_AREA)
    if border:
        cv2.rectangle(frame, (left, top), (right, bottom), (255, 255, 255), border)
    return frame


@pytest.mark.slow
@pytest.mark.shared
def test_watermarks_are_found_unless_the_scene_rests(videos):
    clean = [watermark_share(_grays(frames)) > LIMITS.max_watermark for frames in videos]
    marked = [watermark_share(_grays(map(_marked, frames))) > LIMITS.max_watermark for frames in videos]
    print(f"watermark: {sum(clean)} of {len(clean)} clean, {sum(marked)} of {len(marked)} marked")
    assert sum(clean) == 0
    assert np.mean(marked) >= 0.65


@pytest.mark.slow
@pytest.mark.shared
def test_insets_are_found_with_and_without_a_border(videos):
    clean = [largest_inset(_grays(frames)) > LIMITS.max_inset for frames in videos]
    found = []
    for step, place, size, border in INSETS:
        for i, frames in enumerate(videos):
            pairs = zip(frames, videos[(i + step) % len(videos)], strict=True)
            pictures = [_with_inset(frame, other, place, size, border) for frame, other in pairs]
            found.append(largest_inset(_grays(pictures)) > LIMITS.max_inset)
    print(f"inset: {sum(clean)} of {len(clean)} clean, {sum(found)} of {len(found)} with an inset")
    assert sum(clean) == 0
    assert np.mean(found) >= 0.75
