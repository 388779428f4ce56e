"""Lower bound of the time of scoring: decoding of the requested frames, and the networks.

    python -m benchmarks.curation_floor WORKSPACE

For a workspace that is scored, one process repeats what each score needed: it decodes the requested frames in the same
process, without a pipe or probing, and runs the networks, those of faces in the engine of the workspace. It prints the
seconds of each part; `arithmetic` (Laplacians, optical flow, face tracking) is not part of the lower bound.
"""

import json
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.faces.face_networks import BLENDSHAPE_POINTS, DETECTOR_SIDE, LANDMARK_SIDE
from exprbench.faces.landmarker import Landmarker
from exprbench.faces.region_landmarker import RegionLandmarker
from exprbench.faces.tracker import LOOKAHEAD
from exprbench.media import VideoSource
from exprbench.media.containers import open_container, video_stream
from exprbench.media.sparse_decoder import Span, pick
from exprbench.media.stream import StreamReader
from multiexpr.models.detector import Models
from multiexpr.recipe import load_recipe
from multiexpr.scorers import make_scorers
from multiexpr.scorers.base import Scorer, decoded_short_side, largest_size
from multiexpr.scoring.stage import passes
from multiexpr.sources.locate import video_source
from multiexpr.storage.parquet import read_rows, shard_path
from multiexpr.storage.score_files import SCORED
from multiexpr.storage.workspace import Workspace

WHOLE = Span(Fraction(0), None)


class PartTimer:
    """Timer of named parts; the time of a nested part is not counted in the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.nested_s = 0.0

    def time(self, part: str, function: Any, *args: Any) -> Any:
        """Call a function, add its time to a part, and return its result."""
        outer_s, self.nested_s = self.nested_s, 0.0
        start = time.perf_counter()
        result = function(*args)
        elapsed_s = time.perf_counter() - start
        self.seconds[part] = self.seconds.get(part, 0.0) + elapsed_s - self.nested_s
        self.nested_s = outer_s + elapsed_s
        return result


class TimedModels(Models):
    """Networks whose time is measured."""

    def __init__(self, recipe: Any, timer: PartTimer) -> None:
        super().__init__(recipe)
        self.timer = timer

    def people(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        return self.timer.time("models", super().people, frames)

    def landmarker(self, engine: str) -> Any:
        return TimedLandmarker(super().landmarker(engine), self.timer)


class TimedLandmarker:
    """Landmarker of any engine whose time is measured."""

    def __init__(self, landmarker: Landmarker, timer: PartTimer) -> None:
        self.follows_regions = landmarker.follows_regions
        for name in ("detect", "search", "follow", "read_blendshapes"):
            setattr(self, name, partial(timer.time, "models", getattr(landmarker, name)))


def warm_up(landmarker: Landmarker) -> None:
    """Run the networks on all sizes of batches, which OpenVINO compiles when they are first used."""
    if isinstance(landmarker, RegionLandmarker):
        for count in range(1, LOOKAHEAD + 1):
            landmarker.networks.landmarks(np.zeros((count, LANDMARK_SIDE, LANDMARK_SIDE, 3), np.uint8))
        landmarker.networks.detect(np.zeros((1, DETECTOR_SIDE, DETECTOR_SIDE, 3), np.uint8))
        landmarker.networks.blendshapes(np.zeros((1, len(BLENDSHAPE_POINTS), 2)))


def decode(path: str, times_s: list[float], short_side: int) -> list[np.ndarray]:
    """Return the frames nearest to the times, decoded in this process at a size."""
    with open_container(path) as container:
        reader = StreamReader(container, video_stream(container), short_side)
        times = [Fraction(t).limit_denominator(10**6) for t in times_s]
        frames = pick(reader, times, WHOLE, Path(path).stat().st_size)
        return [rgb for frame, count in frames for rgb in [reader.to_rgb(frame)] * count]


def merge_requests(scorers: list[Scorer], facts: dict[str, Any]) -> tuple[list[float], int]:
    """Return the union of the times that scorers request, and the short side at which the clip is decoded for them."""
    requests = [scorer.frames(facts) for scorer in scorers]
    times = sorted({t for request in requests for t in request.times_s})
    return times, decoded_short_side(facts, largest_size(requests))


def run_scorers(
    timer: PartTimer, video: VideoSource, scorers: list[Scorer], facts: dict[str, Any], num_results: int
) -> None:
    """Decode for scorers, and compute the columns of the first `num_results` of them."""
    times, short_side = merge_requests(scorers, facts)
    frames = timer.time("decode", decode, video.path, times, short_side)
    measurements = [scorer.start(facts) for scorer in scorers]
    for scorer, measurement in zip(scorers, measurements, strict=True):
        requested_s = set(scorer.frames(facts).times_s)
        for frame, time_s in zip(frames, times, strict=False):
            if time_s in requested_s:
                timer.time("arithmetic", measurement.update, frame, time_s)
    for measurement in measurements[:num_results]:
        timer.time("arithmetic", measurement.compute)


def scored_clips(workspace: Workspace, names: list[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[str]]]:
    """Yield (clip, columns of its container, names of the scorers that ran) of every readable clip."""
    for shard, path in workspace.index_paths():
        rows = {name: read_rows(shard_path(workspace.scores(name), shard)) for name in ("container", *names)}
        for i, clip in enumerate(read_rows(path)):
            if rows["container"][i]["state"] == SCORED:
                yield clip, rows["container"][i], [name for name in names if rows[name][i]["state"] == SCORED]


def main() -> None:
    """Repeat the scoring of a workspace and print the seconds of each part as JSON."""
    workspace = Workspace(Path(sys.argv[1]))
    recipe = load_recipe(workspace.recipe)
    timer = PartTimer()
    models = TimedModels(recipe, timer)
    timer.time("load", models.people, [np.zeros((64, 64, 3), np.uint8)])
    timer.time("load", warm_up, Models(recipe).landmarker(recipe.score.motion.engine))
    scorers = make_scorers(recipe, models)
    root = Path(workspace.collection()["root"])
    for clip, facts, names in scored_clips(workspace, [scorer.name for scorer in scorers]):
        for group in passes(scorers):
            num_results = sum(scorer.name in names for scorer in group)
            if num_results:
                run_scorers(timer, video_source(clip, root), group, facts, num_results)
    print(json.dumps(timer.seconds))


if __name__ == "__main__":
    main()
