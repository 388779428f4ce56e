"""What no curation of a collection can go below: decoding the planned frames, and the models' own time.

    python -m benchmarks.curation_floor WORKSPACE

Of a workspace that was scored. One process does, clip by clip, exactly what the scores took: it decodes the planned
frames in this very process (no pipe, no probing) and asks the networks. Prints seconds by part; the scorers' own
arithmetic (Laplacians, optical flow, following faces) is told beside them and is not part of the floor.
"""

import json
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.faces.landmarker import Landmarker
from exprbench.media import VideoSource
from exprbench.media.sparse_decoder import Span, pick
from exprbench.media.stream import StreamReader, open_container, video_stream
from multiexpr.models.detector import Models
from multiexpr.recipe import load_recipe
from multiexpr.scorers import make_scorers, motion
from multiexpr.scorers.base import Frames, Scorer
from multiexpr.scoring.stage import largest
from multiexpr.sources.locate import video_of
from multiexpr.storage.parquet import read_rows, shard_path
from multiexpr.storage.score_files import SCORED
from multiexpr.storage.workspace import Workspace

WHOLE = Span(Fraction(0), None)


class Clock:
    """Seconds by part; parts inside of others are taken out of these."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.inner = 0.0

    def time(self, part: str, way: Any, *given: Any) -> Any:
        """Call and add what it took."""
        before, self.inner = self.inner, 0.0
        start = time.perf_counter()
        found = way(*given)
        spent = time.perf_counter() - start
        self.seconds[part] = self.seconds.get(part, 0.0) + spent - self.inner
        self.inner = before + spent
        return found


class TimedModels(Models):
    """Networks on a clock."""

    def __init__(self, recipe: Any, clock: Clock) -> None:
        super().__init__(recipe)
        self.clock = clock

    def people(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        return self.clock.time("models", super().people, frames)


class TimedLandmarker(Landmarker):
    """MediaPipe on a clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(motion.weights.require("face_landmarker"))
        self.clock = clock

    def detect(self, *given: Any, **named: Any) -> Any:
        return self.clock.time("models", lambda: super(TimedLandmarker, self).detect(*given, **named))

    def search(self, *given: Any, **named: Any) -> Any:
        return self.clock.time("models", lambda: super(TimedLandmarker, self).search(*given, **named))


def decoded(path: str, times_s: list[float], size: Frames) -> list[np.ndarray]:
    """The frames nearest to the times, in this process."""
    with open_container(path) as container:
        reader = StreamReader(container, video_stream(container), size.short_side or None, size.long_side or None)
        times = [Fraction(t).limit_denominator(10**6) for t in times_s]
        found = pick(reader, times, WHOLE, Path(path).stat().st_size)
        return [rgb for frame, count in found for rgb in [reader.to_rgb(frame)] * count]


def planned(scorers: list[Scorer], facts: dict[str, Any]) -> tuple[list[float], Frames]:
    """The union of what scorers ask for."""
    plans = [scorer.frames(facts) for scorer in scorers]
    return sorted({t for plan in plans for t in plan.times_s}), largest(plans)


def watch(clock: Clock, video: VideoSource, scorers: list[Scorer], facts: dict[str, Any], num_results: int) -> None:
    """Decode for some scorers, and ask the first `num_results` of them for their columns."""
    times, size = planned(scorers, facts)
    frames = clock.time("decode", decoded, video.path, times, size)
    measurements = [scorer.start(facts) for scorer in scorers]
    for scorer, measurement in zip(scorers, measurements, strict=True):
        wanted = set(scorer.frames(facts).times_s)
        for frame, at in zip(frames, times, strict=False):
            if at in wanted:
                clock.time("arithmetic", measurement.update, frame, at)
    for measurement in measurements[:num_results]:
        clock.time("arithmetic", measurement.compute)


def scored(workspace: Workspace, names: list[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[str]]]:
    """(clip, facts of its container, scorers it met) of every clip that opened."""
    for shard, path in workspace.index_paths():
        rows = {name: read_rows(shard_path(workspace.scores(name), shard)) for name in ("container", *names)}
        for i, clip in enumerate(read_rows(path)):
            if rows["container"][i]["state"] == SCORED:
                yield clip, rows["container"][i], [name for name in names if rows[name][i]["state"] == SCORED]


def main() -> None:
    """Do it all, and tell."""
    workspace = Workspace(Path(sys.argv[1]))
    recipe = load_recipe(workspace.recipe)
    clock = Clock()
    models = TimedModels(recipe, clock)
    clock.time("load", models.people, [np.zeros((64, 64, 3), np.uint8)])
    landmarker = clock.time("load", TimedLandmarker, clock)
    motion.landmarker = lambda: landmarker
    scorers = make_scorers(recipe, models)
    root = Path(workspace.collection()["root"])
    for clip, facts, met in scored(workspace, [scorer.name for scorer in scorers]):
        for costly in (False, True):
            group = [scorer for scorer in scorers if scorer.costly == costly]
            num_met = sum(scorer.name in met for scorer in group)
            if num_met:
                watch(clock, video_of(clip, root), group, facts, num_met)
    print(json.dumps(clock.seconds))


if __name__ == "__main__":
    main()
