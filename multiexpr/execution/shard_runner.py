"""Shard runner: claims the shards of a stage that are not done, processes them in a pool, and writes each at once."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

from exprbench.core.errors import ItemError
from exprbench.core.files import write_json
from exprbench.core.processes import Pool
from exprbench.core.progress import progress, say
from multiexpr.execution.claims import Claims
from multiexpr.storage.workspace import Workspace

FIRST_POLL_S, LAST_POLL_S = 0.2, 15.0  # between checks of shards that other processes work on; each is 1.5 times longer
PATIENCE = 3.0  # a shard is slow if it takes this many times as long as the slowest one of this process
MIN_PATIENCE_S = 120.0

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
    """Process the given shards that are not done, and return the number of items processed by this process.

    Other processes may run the same stage at the same time, on this machine or another: each shard is processed by the
    one that claims it. The function returns when all shards are done, or were tried by this process. Shards of
    processes that end before that, or are slow, are processed too. Finished shards are kept if the run is interrupted.
    """
    todo = [shard for shard in shards if not stage.is_done(shard)]
    with Claims(workspace.claims(stage.name)) as claims:
        run = _ShardRun(stage, workspace, todo, claims)
        steps = run.steps(pool)
        return sum(progress(steps, total=sum(map(stage.size, todo)), label=stage.name, unit=stage.unit))


class _ShardRun:
    """Run over shards: claims them, yields their requests in order and collects answers until a shard is complete."""

    def __init__(self, stage: Stage, workspace: Workspace, shards: list[int], claims: Claims) -> None:
        self.stage = stage
        self.workspace = workspace
        self.todo = shards
        self.claims = claims
        self.open: dict[int, _OpenShard] = {}
        self.num_skipped = 0
        self.patience_s: float | None = None

    def steps(self, pool: Pool) -> Iterator[int]:
        """Yield one value per item: 1 if it was processed here, 0 if it needed no work or was processed elsewhere."""
        poll_s = FIRST_POLL_S
        while True:
            requests = self._requests()
            if (first := next(requests, None)) is not None:
                for key, answer in pool.map(chain([first], requests)):
                    self._add(*key, answer)
                    yield 1
                    yield from self._skipped()
            yield from self._skipped()
            if not self.todo:
                return
            if poll_s == FIRST_POLL_S:
                holders = ", ".join(sorted(set(self.claims.holders().values()))) or "other processes"
                say(f"{self.stage.name}: waiting for shards of {holders}: {len(self.todo)}")
            time.sleep(poll_s)
            poll_s = min(1.5 * poll_s, LAST_POLL_S)

    def _skipped(self) -> Iterator[int]:
        count, self.num_skipped = self.num_skipped, 0
        yield from [0] * count

    def _requests(self) -> Iterator[tuple[tuple[int, int], Row]]:
        """Yield the requests of all shards that this process can claim, and leave the others in `todo`."""
        shards, self.todo = self.todo, []
        for shard in shards:
            if not self.claims.take(_name(shard), patience_s=self.patience_s):
                self.todo.append(shard)
            elif self.stage.is_done(shard):  # by another process, after this one started
                self.num_skipped += self.stage.size(shard)
                self.claims.release(_name(shard))
            else:
                yield from self._start(shard)

    def _start(self, shard: int) -> Iterator[tuple[tuple[int, int], Row]]:
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
        path = self.workspace.timings(self.stage.name) / f"{_name(shard)}.json"
        wall_s = time.time() - state.started
        self.patience_s = max(self.patience_s or MIN_PATIENCE_S, PATIENCE * wall_s)
        if state.answers:
            write_json(path, {"started": state.started, "wall_s": wall_s, "spent_s": spent_s, **counts})
        self.claims.release(_name(shard))


def _name(shard: int) -> str:
    return f"{shard:05d}"
