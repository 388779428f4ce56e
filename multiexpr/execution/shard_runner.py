"""Shard runner: finds the shards of a stage that are not done, processes them in a pool, and writes each at once."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from exprbench.core.errors import ItemError
from exprbench.core.files import write_json
from exprbench.core.processes import Pool
from exprbench.core.progress import progress
from multiexpr.storage.workspace import Workspace

Row = dict[str, Any]


class Stage(Protocol):
    """Step of the curation that processes shards. Its output files show which shards are done; there is no other state.

    Attributes:
        name: name in progress lines and of the folder of timings.
        unit: what progress counts.
    """

    name: str
    unit: str

    def shards(self) -> list[int]:
        """Return the numbers of all shards."""

    def size(self, shard: int) -> int:
        """Return the number of items of a shard."""

    def is_done(self, shard: int) -> bool:
        """Return whether the output of a shard is up to date."""

    def tasks(self, shard: int) -> dict[int, Row]:
        """Return requests for workers by position in the shard, for items that need work."""

    def finish(self, shard: int, answers: dict[int, Row]) -> dict[str, int]:
        """Write the output of a shard and return counts that are stored with its timing."""


@dataclass
class _OpenShard:
    """State of a shard with unfinished requests."""

    num_remaining: int
    started: float
    requests: dict[int, Row]
    answers: dict[int, Row] = field(default_factory=dict)


def run_shards(stage: Stage, workspace: Workspace, shards: list[int], pool: Pool) -> int:
    """Process the given shards that are not done, and return the number of items processed.

    Finished shards are kept if the run is interrupted.
    """
    todo = [shard for shard in shards if not stage.is_done(shard)]
    run = _ShardRun(stage, workspace, todo)
    steps = run.steps(pool)
    return sum(progress(steps, total=sum(map(stage.size, todo)), label=stage.name, unit=stage.unit))


class _ShardRun:
    """Run over shards: yields their requests in order and collects answers until a shard is complete."""

    def __init__(self, stage: Stage, workspace: Workspace, shards: list[int]) -> None:
        self.stage = stage
        self.workspace = workspace
        self.shards = shards
        self.open: dict[int, _OpenShard] = {}
        self.num_skipped = 0

    def steps(self, pool: Pool) -> Iterator[int]:
        """Yield one value per item: 1 if it was processed, 0 if it needed no work."""
        for key, answer in pool.map(self._requests()):
            self._add(*key, answer)
            yield 1
            yield from self._skipped()
        yield from self._skipped()

    def _skipped(self) -> Iterator[int]:
        count, self.num_skipped = self.num_skipped, 0
        yield from [0] * count

    def _requests(self) -> Iterator[tuple[tuple[int, int], Row]]:
        for shard in self.shards:
            requests = self.stage.tasks(shard)
            self.num_skipped += self.stage.size(shard) - len(requests)
            self.open[shard] = _OpenShard(len(requests), time.time(), requests)
            yield from (((shard, i), request) for i, request in requests.items())
            if not requests:
                self._finish(shard)

    def _add(self, shard: int, i: int, answer: Row | ItemError) -> None:
        state = self.open[shard]
        if isinstance(answer, ItemError):
            answer = {"needed": state.requests[i].get("needed"), "error": [answer.code, answer.detail]}
        state.answers[i] = answer
        state.num_remaining -= 1
        if not state.num_remaining:
            self._finish(shard)

    def _finish(self, shard: int) -> None:
        state = self.open.pop(shard)
        counts = self.stage.finish(shard, state.answers)
        spent_s: dict[str, float] = {}
        for answer in state.answers.values():
            for name, seconds in answer.get("seconds", {}).items():
                spent_s[name] = spent_s.get(name, 0.0) + seconds
        path = self.workspace.timings(self.stage.name) / f"{shard:05d}.json"
        if state.answers:
            wall_s = time.time() - state.started
            write_json(path, {"started": state.started, "wall_s": wall_s, "spent_s": spent_s, **counts})
