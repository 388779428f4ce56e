"""MediaPipe's face networks in several engines: differences from the first one on the same crops, and time per face.

    python -m benchmarks.face_engines --engines mediapipe,openvino,torch

The crops are those of the tracker. Time is processor time on one core; the alternatives take turns frame by frame. If
PyTorch finds a GPU, the engine `torch` runs on it, and time is wall-clock time. `differences` are the largest over all
frames of a clip: landmarks in pixels, blendshapes, and pose in degrees.
"""

import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Row, Table, arguments, on_one_core, report
from exprbench.faces.landmarker import CROPS, Face, Landmarker
from exprbench.faces.tracker import LOOKAHEAD
from exprbench.faces.video_tracks import landmarker
from exprbench.media import open_clip
from multiexpr.execution.gpu_server import list_gpus

FPS = 12.5  # of curation
CLIPS = Path(os.environ.get("EXPRBENCH_CLIPS", "../shared/data"))
BATCHES = (LOOKAHEAD, 64)  # faces that are followed together: in a worker, and in a GPU server with many workers
TITLE = "Time per face"

Times = dict[str, list[float]]


class Clock:
    """Times per face by alternative, on one core or, with a GPU, in wall-clock time."""

    def __init__(self, engines: Sequence[str]) -> None:
        self.now = time.perf_counter if "torch" in engines and list_gpus() else time.process_time
        self.times: Times = defaultdict(list)

    def measure(self, name: str, count: int, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function, store its time per face, and return its result."""
        start = self.now()
        result = function(*args)
        self.times[name].append((self.now() - start) / count)
        return result


def read_all(engine: Landmarker, faces: Sequence[Face | None]) -> list[Face]:
    """Return the faces that were found, after computing their blendshapes."""
    found = [face for face in faces if face]
    engine.read_blendshapes(found)
    return found


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle between the rotations of two poses in degrees."""
    a, b = (m[:3, :3] / np.cbrt(np.linalg.det(m[:3, :3])) for m in (a, b))
    return float(np.degrees(2 * np.arcsin(min(1.0, np.linalg.norm(a - b) / np.sqrt(8)))))


def differences(face: Face, other: Face) -> tuple[float, float, float, float]:
    """Return the largest and mean distance of landmarks in pixels, of blendshapes, and of poses in degrees."""
    distances = np.linalg.norm((face.points - other.points)[:, :2], axis=1)
    blendshapes = float(np.abs(face.blendshapes - other.blendshapes).max())
    return float(distances.max()), float(distances.mean()), blendshapes, angle_deg(face.pose, other.pose)


def compare_clip(frames: list[np.ndarray], engines: Sequence[str], clock: Clock) -> dict[str, list[tuple[float, ...]]]:
    """Return the differences from the first engine of all faces in a clip; NaN where only one of two finds a face.

    Each face is followed with the crops that the landmarks of the first engine give, in all engines.
    """
    first, *others = engines
    boxes = landmarker(first).search(frames[0])
    places = [(np.array([b[0] + b[2], b[1] + b[3]]) / 2, max(b[2] - b[0], b[3] - b[1])) for b in boxes]
    found, known = {name: [] for name in others}, [[] for _ in places]
    for frame in frames:
        for i, (centre, side) in enumerate(places):
            faces = {name: detect(name, clock, frame, centre, CROPS[0] * side) for name in engines}
            for name in others:
                pairs = zip_longest(faces[first], faces[name])
                found[name] += [differences(*pair) if all(pair) else (np.nan,) * 4 for pair in pairs]
            if faces[first]:
                nearest = min(faces[first], key=lambda face: float(np.linalg.norm(face.centre - centre)))
                places[i] = nearest.centre, nearest.side
                known[i].append((frame, nearest))
    for name in engines:
        for pairs in known if landmarker(name).follows_regions else ():
            time_following(name, clock, pairs)
    return found


def detect(name: str, clock: Clock, frame: np.ndarray, centre: np.ndarray, side: float) -> list[Face]:
    """Return the faces in a square, as in scoring, and measure the time."""
    engine = landmarker(name)
    label = f"{name}, every frame by itself (scoring)"
    return clock.measure(label, 1, lambda: read_all(engine, engine.detect(frame, centre, side)))


def time_following(name: str, clock: Clock, pairs: list[tuple[np.ndarray, Face]]) -> None:
    """Measure the time of following a face, as in curation, in batches of several sizes."""
    engine = landmarker(name)
    for size in BATCHES if name == "torch" else BATCHES[:1]:
        for start in range(0, len(pairs) - size, size):
            expected = [(frame, pairs[start][1]) for frame, _ in pairs[start + 1 : start + 1 + size]]
            label = f"{name}, followed in batches of {size} frames (curation)"
            clock.measure(label, size, lambda e=expected: read_all(engine, engine.follow(e)))


def accuracy_rows(clips: list[Path], num_frames: int, engines: Sequence[str], clock: Clock) -> list[str]:
    """Return a Markdown table of the differences per clip and engine."""
    lines = [
        "| clip | engine | faces | found by one only | landmarks, largest | mean | blendshapes | pose |",
        "|---|" + "---|" * 7,
    ]
    for path in clips:
        with open_clip(path, fps=FPS, max_frames=num_frames) as clip:
            by_engine = compare_clip(list(clip), engines, clock)
        for name, found in by_engine.items():
            both = np.array([values for values in found if not np.isnan(values[0])]).reshape(-1, 4)
            largest = both.max(0) if len(both) else [np.nan] * 4
            mean = both[:, 1].mean() if len(both) else np.nan
            lines.append(
                f"| {path.stem} | {name} | {len(both)} | {len(found) - len(both)} | {largest[0]:.4f} px |"
                f" {mean:.4f} px | {largest[2]:.5f} | {largest[3]:.4f}° |"
            )
    return lines


def time_rows(times: Times) -> list[Row]:
    """Return the rows of the time per face; the first frames of each engine, in which it loads, are left out."""
    taken = {name: values[3:] or values for name, values in times.items()}
    first = next(iter(taken.values()))
    return [
        Row(
            name=name,
            median_s=statistics.median(values),
            fastest_s=min(values),
            times_slower=statistics.median(values) / statistics.median(first),
            note=f"{statistics.median(first) / statistics.median(values):.2f} times the faces per second;"
            f" {min(first) / min(values):.2f} by the fastest",
        )
        for name, values in taken.items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and report."""
    args = arguments("face_engines", __doc__.splitlines()[0], argv, engines="mediapipe,openvino")
    engines = args.engines.split(",")
    clock = Clock(engines)
    on_one_core()
    clips = sorted([*CLIPS.glob("driving/*.mp4"), *CLIPS.glob("multi/*.mp4")] or CLIPS.glob("*.mp4"))
    print("\n".join(accuracy_rows(clips, 4 * args.repeats, engines, clock)))
    where = "processor time on one core" if clock.now is time.process_time else "wall-clock time, torch on the GPU"
    report("face_engines", [Table(title=f"{TITLE}, {where}", rows=time_rows(clock.times))], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
