"""Status of a curation: how many shards of each stage are written, and the time left at the rate so far."""

from dataclasses import dataclass
from pathlib import Path

from multiexpr.recipe import load_recipe
from multiexpr.reporting.numbers import time_spent
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
    """

    stage: str
    num_done: int
    num_shards: int
    num_clips_left: int
    left_s: float | None

    def __str__(self) -> str:
        shards = f"{self.stage:10}{self.num_done:>8,} of {self.num_shards:,} shards"
        if self.num_done == self.num_shards:
            return shards
        left = "not started" if self.left_s is None else f"{self.left_s:,.0f} s left at the rate so far"
        return f"{shards}, {self.num_clips_left:,} clips, {left}"


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
    seconds = {timing.stage: timing.wall_s / timing.num_clips for timing in time_spent(workspace) if timing.num_clips}
    return [_status(stage, sizes, done, seconds.get(stage)) for stage, sizes, done in stages]


def _status(stage: str, sizes: dict[int, int], done: set[int], clip_s: float | None) -> StageStatus:
    num_left = sum(size for shard, size in sizes.items() if shard not in done)
    left_s = None if clip_s is None else num_left * clip_s
    return StageStatus(stage, len(done & set(sizes)), len(sizes), num_left, left_s)
