"""Status of a curation: shards that are done and in work, clips that failed, and the time left at the rate so far."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from multiexpr.execution.claims import Claims
from multiexpr.recipe import load_recipe
from multiexpr.reporting.numbers import StageTiming, time_spent
from multiexpr.selection.verdicts import active_scorers, kept_by_shard
from multiexpr.storage.parquet import list_shards, num_rows, shard_path
from multiexpr.storage.workspace import Workspace


@dataclass(frozen=True)
class StageStatus:
    """Status of a stage.

    Attributes:
        stage: name of the stage.
        num_done: number of shards that are written, whatever settings they were made with.
        num_shards: number of shards of the stage.
        num_clips_left: number of clips in the other shards.
        left_s: seconds that these take at the rate so far; None if the stage has not run yet.
        running: number of shards in work, by the process that works on them.
        num_failed: number of clips that failed when their shard was last processed.
    """

    stage: str
    num_done: int
    num_shards: int
    num_clips_left: int
    left_s: float | None
    running: dict[str, int] = field(default_factory=dict)
    num_failed: int = 0

    def __str__(self) -> str:
        parts = [f"{self.stage:10}{self.num_done:>8,} of {self.num_shards:,} shards"]
        if self.running:
            parts.append(f"running: {sum(self.running.values()):,}")
        if self.num_failed:
            parts.append(f"clips failed: {self.num_failed:,}")
        if self.num_done < self.num_shards:
            parts.append(f"{self.num_clips_left:,} clips left")
            parts.append("not started" if self.left_s is None else f"{format_duration(self.left_s)} at the rate so far")
        return ", ".join(parts)


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit of which there are at least two, such as `15 min`."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def status(out: Path | str) -> list[StageStatus]:
    """Return the status of the stages that have shards, in order.

    Raises:
        UserError: no collection was listed.
    """
    workspace = Workspace(Path(out))
    recipe = load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    entries = {shard: num_rows(shard_path(workspace.entries, shard)) for shard in workspace.shards()}
    indexed = {shard: num_rows(shard_path(workspace.index, shard)) for shard in list_shards(workspace.index)}
    scored = [set(list_shards(workspace.scores(name))) for name in active_scorers(workspace, recipe)]
    stages = [("index", entries, set(indexed)), ("score", {**entries, **indexed}, set.intersection(*scored))]
    if workspace.verdicts.exists():
        kept = {shard: len(clips) for shard, clips in kept_by_shard(workspace).items()}
        stages += [
            ("caption", kept, set(list_shards(workspace.captions))),
            ("export", kept, set(list_shards(workspace.exported))),
        ]
    timings = {timing.stage: timing for timing in time_spent(workspace)}
    return [_status(workspace, stage, sizes, done, timings.get(stage)) for stage, sizes, done in stages]


def _status(
    workspace: Workspace, stage: str, sizes: dict[int, int], done: set[int], timing: StageTiming | None
) -> StageStatus:
    num_left = sum(size for shard, size in sizes.items() if shard not in done)
    has_rate = timing is not None and timing.num_clips > 0
    return StageStatus(
        stage=stage,
        num_done=len(done & set(sizes)),
        num_shards=len(sizes),
        num_clips_left=num_left,
        left_s=num_left * timing.wall_s / timing.num_clips if has_rate else None,
        running=dict(Counter(Claims(workspace.claims(stage)).holders().values())),
        num_failed=timing.num_failed if timing else 0,
    )
