"""Shards through workers: what is missing is found, done, and written shard by shard."""

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
    """A kind of work done shard by shard. Whether a shard is done is read from what it wrote, never from a log."""

    name: str
    unit: str

    def shards(self) -> list[int]:
        """All shards there are."""

    def size(self, shard: int) -> int:
        """How many clips a shard holds."""

    def is_done(self, shard: int) -> bool:
        """Is what it wrote up to date?"""

    def tasks(self, shard: int) -> dict[int, Row]:
        """Requests for workers by number of the clip, of those that still need work."""

    def finish(self, shard: int, answers: dict[int, Row]) -> dict[str, int]:
        """Write the shard, whole; counts to be noted with its timing."""


@dataclass
class _Open:
    """A shard some of whose clips are still being worked on."""

    left: int
    started: float
    requests: dict[int, Row]
    answers: dict[int, Row] = field(default_factory=dict)


def run_shards(stage: Stage, workspace: Workspace, shards: list[int], pool: Pool) -> int:
    """Do what these shards lack; how many clips were worked on. Stopped at any point, whole shards stay done."""
    todo = [shard for shard in shards if not stage.is_done(shard)]
    run = _Run(stage, workspace, todo)
    steps = run.steps(pool)
    return sum(progress(steps, total=sum(map(stage.size, todo)), label=stage.name, unit=stage.unit))


class _Run:
    """Requests drawn from shards one after the other, and answers gathered until a shard is whole."""

    def __init__(self, stage: Stage, workspace: Workspace, shards: list[int]) -> None:
        self.stage = stage
        self.workspace = workspace
        self.shards = shards
        self.open: dict[int, _Open] = {}
        self.skipped = 0

    def steps(self, pool: Pool) -> Iterator[int]:
        """One step a clip: 1 where it was worked on, 0 where there was nothing to do."""
        for key, answer in pool.map(self._requests()):
            self._add(*key, answer)
            yield 1
            yield from self._nothing_to_do()
        yield from self._nothing_to_do()

    def _nothing_to_do(self) -> Iterator[int]:
        count, self.skipped = self.skipped, 0
        yield from [0] * count

    def _requests(self) -> Iterator[tuple[tuple[int, int], Row]]:
        for shard in self.shards:
            requests = self.stage.tasks(shard)
            self.skipped += self.stage.size(shard) - len(requests)
            self.open[shard] = _Open(len(requests), time.time(), requests)
            yield from (((shard, i), request) for i, request in requests.items())
            if not requests:
                self._finish(shard)

    def _add(self, shard: int, i: int, answer: Row | ItemError) -> None:
        one = self.open[shard]
        if isinstance(answer, ItemError):
            answer = {"needed": one.requests[i].get("needed"), "error": [answer.code, answer.detail]}
        one.answers[i] = answer
        one.left -= 1
        if not one.left:
            self._finish(shard)

    def _finish(self, shard: int) -> None:
        one = self.open.pop(shard)
        counts = self.stage.finish(shard, one.answers)
        spent: dict[str, float] = {}
        for answer in one.answers.values():
            for name, seconds in answer.get("seconds", {}).items():
                spent[name] = spent.get(name, 0.0) + seconds
        path = self.workspace.timings(self.stage.name) / f"{shard:05d}.json"
        if one.answers:
            write_json(path, {"started": one.started, "wall_s": time.time() - one.started, "spent_s": spent, **counts})
