"""MediaPipe's face networks in MediaPipe and in OpenVINO: differences on the same crops, and time per face.

The crops are those of the tracker. Time is processor time on one core; the alternatives take turns frame by frame.
`differences` are the largest over all frames of a clip: landmarks in pixels, blendshapes, and pose in degrees.
"""

import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Row, Table, arguments, on_one_core, report
from exprbench.faces.landmarker import CROPS, Face
from exprbench.faces.tracker import LOOKAHEAD
from exprbench.faces.video_tracks import landmarker
from exprbench.media import open_clip

FPS = 12.5  # of curation
CLIPS = Path(os.environ.get("EXPRBENCH_CLIPS", "../shared/data"))
MEDIAPIPE, DETECTED = "MediaPipe, every frame in IMAGE mode", "OpenVINO, the same steps (scoring)"
FOLLOWED = f"OpenVINO, followed in batches of {LOOKAHEAD} frames (curation)"
TITLE = "Time per face, processor time on one core"

Times = dict[str, list[float]]


def measure(times: Times, name: str, count: int, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function, store its processor time per face, and return its result."""
    start = time.process_time()
    result = function(*args)
    times[name].append((time.process_time() - start) / count)
    return result


def read_all(faces: Sequence[Face | None]) -> list[Face | None]:
    """Return faces after reading the blendshapes of each, which OpenVINO's faces compute when they are read."""
    for face in faces:
        if face:
            _ = face.blendshapes
    return list(faces)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle between the rotations of two poses in degrees."""
    a, b = (m[:3, :3] / np.cbrt(np.linalg.det(m[:3, :3])) for m in (a, b))
    return float(np.degrees(2 * np.arcsin(min(1.0, np.linalg.norm(a - b) / np.sqrt(8)))))


def differences(face: Face, other: Face) -> tuple[float, float, float, float]:
    """Return the largest and mean distance of landmarks in pixels, of blendshapes, and of poses in degrees."""
    distances = np.linalg.norm((face.points - other.points)[:, :2], axis=1)
    blendshapes = float(np.abs(face.blendshapes - other.blendshapes).max())
    return float(distances.max()), float(distances.mean()), blendshapes, angle_deg(face.pose, other.pose)


def compare_clip(frames: list[np.ndarray], times: Times) -> tuple[list[tuple[float, ...]], int]:
    """Return the differences of all faces that both engines find in a clip, and the number found by only one.

    Each face is followed with the crops that MediaPipe's landmarks give, in both engines.
    """
    mediapipe, openvino = landmarker("mediapipe"), landmarker("openvino")
    boxes = mediapipe.search(frames[0])
    places = [(np.array([b[0] + b[2], b[1] + b[3]]) / 2, max(b[2] - b[0], b[3] - b[1])) for b in boxes]
    found, alone, known = [], 0, [[] for _ in places]
    for frame in frames:
        for i, (centre, side) in enumerate(places):
            args = frame, centre, CROPS[0] * side
            pair = [
                measure(times, MEDIAPIPE, 1, mediapipe.detect, *args),
                measure(times, DETECTED, 1, lambda a: read_all(openvino.detect(*a)), args),
            ]
            alone += abs(len(pair[0]) - len(pair[1]))
            found += [differences(*faces) for faces in zip(*pair, strict=False)]
            if pair[0]:
                nearest = min(pair[0], key=lambda face: float(np.linalg.norm(face.centre - centre)))
                places[i] = nearest.centre, nearest.side
                known[i].append((frame, nearest))
    for pairs in known:
        for start in range(0, len(pairs) - LOOKAHEAD, LOOKAHEAD):
            expected = [(frame, pairs[start][1]) for frame, _ in pairs[start + 1 : start + 1 + LOOKAHEAD]]
            measure(times, FOLLOWED, LOOKAHEAD, lambda e: read_all(openvino.follow(e)), expected)
    return found, alone


def accuracy_rows(clips: list[Path], num_frames: int, times: Times) -> list[str]:
    """Return a Markdown table of the differences per clip."""
    lines = [
        "| clip | faces | found by one only | landmarks, largest | mean | blendshapes | pose |",
        "|---|" + "---|" * 6,
    ]
    for path in clips:
        with open_clip(path, fps=FPS, max_frames=num_frames) as clip:
            found, alone = compare_clip(list(clip), times)
        largest = np.max(found, axis=0) if found else [np.nan] * 4
        mean = np.mean([values[1] for values in found]) if found else np.nan
        lines.append(
            f"| {path.stem} | {len(found)} | {alone} | {largest[0]:.4f} px | {mean:.4f} px |"
            f" {largest[2]:.5f} | {largest[3]:.4f}° |"
        )
    return lines


def time_rows(times: Times) -> list[Row]:
    """Return the rows of the time per face; the first frames of each engine, in which it loads, are left out."""
    taken = {name: values[3:] for name, values in times.items()}
    first = statistics.median(taken[MEDIAPIPE])
    return [
        Row(
            name=name,
            median_s=statistics.median(values),
            fastest_s=min(values),
            times_slower=statistics.median(values) / first,
            note=f"{first / statistics.median(values):.2f} times the faces per second;"
            f" {min(taken[MEDIAPIPE]) / min(values):.2f} by the fastest",
        )
        for name, values in taken.items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("face_engines", __doc__.splitlines()[0], argv)
    on_one_core()
    clips = sorted([*CLIPS.glob("driving/*.mp4"), *CLIPS.glob("multi/*.mp4")] or CLIPS.glob("*.mp4"))
    times: Times = defaultdict(list)
    print("\n".join(accuracy_rows(clips, 4 * args.repeats, times)))
    report("face_engines", [Table(title=TITLE, rows=time_rows(times))], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
