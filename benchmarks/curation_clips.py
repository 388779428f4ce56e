"""Collection for `benchmarks.curation`: clips of 5 s at 720 lines, most of which the default recipe drops.

They are made from a folder of videos that is not part of this project: `driving/` (one person each),
`multi/two_person.mp4`, `raw/` (distant walkers, a tree, an animated film).
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from exprbench.media import open_clip

FPS, SECONDS, HEIGHT = 25, 4.92, 720  # the mean length of OpenHumanVid's clips is 4.9 s
SHARES = {"one": 0.55, "far": 0.12, "empty": 0.12, "dark": 0.05, "blurred": 0.05, "cut": 0.03, "two": 0.08}
WITHOUT_PEOPLE = ("raw/tree.avi", "raw/Megamind.avi")

Frames = list[np.ndarray]
Change = Callable[[Frames, Frames], Frames]


def _unchanged(frames: Frames, other: Frames) -> Frames:
    return frames


def _dark(frames: Frames, other: Frames) -> Frames:
    return [frame // 6 for frame in frames]


def _blurred(frames: Frames, other: Frames) -> Frames:
    return [cv2.GaussianBlur(frame, (0, 0), 16) for frame in frames]


def _cut(frames: Frames, other: Frames) -> Frames:
    size = frames[0].shape[1::-1]
    half = len(frames) // 2
    return [*frames[:half], *(cv2.resize(frame, size) for frame in other[:half])]


CHANGES: dict[str, Change] = {"dark": _dark, "blurred": _blurred, "cut": _cut}


def make_collection(folder: Path, media: Path, num_clips: int) -> None:
    """Write about `num_clips` clips, `KIND_000.mp4`, from different parts of the videos."""
    for kind, share in SHARES.items():
        count = round(share * num_clips)
        for number, frames in enumerate(islice(_clips(kind, media), count)):
            _encode(folder / f"{kind}_{number:03d}.mp4", frames)


def _clips(kind: str, media: Path) -> Iterator[Frames]:
    """Yield clips of a kind without end, each with another start in its video."""
    singles = sorted(path for path in (media / "driving").glob("*.mp4") if "noface" not in path.name)
    videos = {"one": singles, "far": [media / "raw/vtest.avi"], "empty": [media / name for name in WITHOUT_PEOPLE]}
    paths = videos.get(kind, [media / "multi/two_person.mp4"])
    change = CHANGES.get(kind, _unchanged)
    other = _part(singles[0], 0)
    number = 0
    while True:
        yield change(_part(paths[number % len(paths)], 7 * (number // len(paths))), other)
        number += 1


def _part(path: Path, start: int) -> Frames:
    """Return the frames of a clip from frame `start` on; short videos continue backwards, without a jump."""
    count = round(SECONDS * FPS)
    with open_clip(path, fps=FPS, max_frames=start + count) as clip:
        frames = [_resize(frame) for frame in clip]
    loop = [*frames, *frames[-2:0:-1]]
    return [loop[(start + i) % len(loop)] for i in range(count)]


def _resize(frame: np.ndarray) -> np.ndarray:
    width = round(frame.shape[1] * HEIGHT / frame.shape[0] / 2) * 2
    return cv2.resize(frame, (width, HEIGHT))


def _encode(path: Path, frames: Frames) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "20"})
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = frames[0].shape[:2]
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        out.mux(stream.encode())
