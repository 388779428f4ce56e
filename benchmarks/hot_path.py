"""Where the processor time of scoring one clip goes, stage by stage, on one core."""

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
from exprbench.scoring import case, pixels
from exprbench.scoring.cases import score_case

WHOLE, REST = "one clip", "linking faces, metrics of faces, hashes, cache, the rest"
DECODERS = "two decoders and their pipes, as far as they are processes of their own"


class Stages:
    """Processor time by stage; of stages within stages, the time of the inner one is not the outer one's."""

    def __init__(self) -> None:
        self.taken_s: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.inner_s = [0.0]

    def of(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time noted."""

        def timed(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            self.inner_s.append(0.0)
            try:
                return function(*args, **options)
            finally:
                took = time.process_time() - start
                self.taken_s[name] += took - self.inner_s.pop()
                self.inner_s[-1] += took
                self.calls[name] += 1

        return timed


@contextmanager
def noted(stages: Stages) -> Iterator[None]:
    """The stages of the hot path, wrapped."""
    model = load_landmarker()
    places = [
        (model._landmarker, "detect", "MediaPipe's landmarker, its Python conversion included"),
        (model._detector, "detect", "MediaPipe's detector, in the search every second"),
        (landmarker, "_face", "landmarks, blendshapes and pose into arrays"),
        (landmarker, "square", "crops"),
        (tracker, "appearance", "colours of heads"),
        (pixels, "ssim", "SSIM"),
        (pixels, "squared_error", "PSNR"),
        (case, "sha256_path", "hash of the prediction"),
    ]
    with ExitStack() as stack:
        for where, name, stage in places:
            stack.enter_context(mock.patch.object(where, name, stages.of(stage, getattr(where, name))))
        yield


def rows(total_s: float, stages: Stages, children_s: float) -> list[Row]:
    """The whole, then the stages, the largest first."""
    told = {**stages.taken_s, DECODERS: children_s}
    told[REST] = total_s - sum(told.values())
    order = sorted(told, key=lambda name: -told[name])
    notes = {name: f"{told[name] / total_s:.1%}, {stages.calls[name]} calls" for name in stages.taken_s}
    made = [
        _row(name, told[name], told[name] / total_s, notes.get(name, f"{told[name] / total_s:.1%}")) for name in order
    ]
    return [_row(WHOLE, total_s, 1, ""), *made]


def _row(name: str, seconds: float, times: float, note: str) -> Row:
    return Row(name=name, median_s=seconds, fastest_s=seconds, times_slower=times, note=note)


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report; one clip, after one that is not counted."""
    args = arguments("hot_path", __doc__, argv)
    on_one_core()
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), 2)
        first, second = self_cases(bench)
        os.environ["EXPRBENCH_CACHE"] = str(Path(folder) / "cache")
        score_case(plan(bench), first)
        stages = Stages()
        with noted(stages):
            tree, own = tree_cpu_s(), time.process_time()
            score_case(plan(bench), second)
            total_s, own_s = tree_cpu_s() - tree, time.process_time() - own
    title = f"{NUM_FRAMES} frames of {SIDE} x {SIDE}, both sides, processor time ({bench.source}); slower: of the whole"
    report("hot_path", [Table(title=title, rows=rows(total_s, stages, total_s - own_s))], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
