"""Profile of scoring one clip on one core: processor time by stage."""

import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.clip import plan, self_cases
from benchmarks.clips import NUM_FRAMES, SIDE, make_bench
from benchmarks.common import Row, Table, arguments, on_one_core, report, tree_cpu_s
from exprbench.faces import landmarker, tracker
from exprbench.faces.video_tracks import landmarker as load_landmarker
from exprbench.metrics import psnr, ssim
from exprbench.scoring import cases
from exprbench.scoring.cases import score_case

WHOLE, OTHER = "one clip", "linking of faces, face metrics, hashes, cache, other"
DECODERS = "two decoder processes"


class Stages:
    """Processor time by stage; the time of a nested stage is not included in the outer one."""

    def __init__(self) -> None:
        self.total_s: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.inner_s = [0.0]

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time recorded under a stage."""

        def call(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            self.inner_s.append(0.0)
            try:
                return function(*args, **options)
            finally:
                duration_s = time.process_time() - start
                self.total_s[name] += duration_s - self.inner_s.pop()
                self.inner_s[-1] += duration_s
                self.calls[name] += 1

        return call


@contextmanager
def instrumented(stages: Stages) -> Iterator[None]:
    """Time the stages within the block."""
    model = load_landmarker()
    functions = [
        (model._landmarker, "detect", "MediaPipe's landmarker, including its conversion to Python objects"),
        (model._detector, "detect", "MediaPipe's detector, once per second"),
        (landmarker, "_face", "conversion of landmarks, blendshapes and pose to arrays"),
        (landmarker, "square", "crops"),
        (tracker, "appearance", "appearance descriptors"),
        (ssim, "ssim", "SSIM"),
        (psnr, "squared_error", "PSNR"),
        (cases, "sha256_path", "hash of the prediction"),
    ]
    with ExitStack() as stack:
        for module, name, stage in functions:
            stack.enter_context(mock.patch.object(module, name, stages.timed(stage, getattr(module, name))))
        yield


def rows(total_s: float, stages: Stages, children_s: float) -> list[Row]:
    """Return a row for the whole, then for each stage in descending order."""
    seconds = {**stages.total_s, DECODERS: children_s}
    seconds[OTHER] = total_s - sum(seconds.values())
    notes = {name: f"{s / total_s:.1%}" for name, s in seconds.items()}
    notes |= {name: f"{notes[name]}, {stages.calls[name]} calls" for name in stages.total_s}
    order = sorted(seconds, key=lambda name: -seconds[name])
    return [_row(WHOLE, total_s, 1, ""), *(_row(n, seconds[n], seconds[n] / total_s, notes[n]) for n in order)]


def _row(name: str, seconds: float, times: float, note: str) -> Row:
    return Row(name=name, median_s=seconds, fastest_s=seconds, times_slower=times, note=note)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark on one clip, after a warm-up on another, and report."""
    args = arguments("hot_path", __doc__, argv)
    on_one_core()
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), 2)
        first, second = self_cases(bench)
        os.environ["EXPRBENCH_CACHE"] = str(Path(folder) / "cache")
        score_case(plan(bench), first)
        stages = Stages()
        with instrumented(stages):
            tree, own = tree_cpu_s(), time.process_time()
            score_case(plan(bench), second)
            total_s, own_s = tree_cpu_s() - tree, time.process_time() - own
    work = f"{NUM_FRAMES} frames of {SIDE} x {SIDE}, both videos, processor time ({bench.source})"
    title = f"{work}; times slower: share of the whole"
    report("hot_path", [Table(title=title, rows=rows(total_s, stages, total_s - own_s))], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
