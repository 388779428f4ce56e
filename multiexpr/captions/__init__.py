"""Captions, for kept clips only."""

from pathlib import Path

from exprbench.core.progress import say
from multiexpr.captions.stage import CaptionPool, CaptionStage, captioner
from multiexpr.execution.executors import ExecutionConfig, shards_of_rank
from multiexpr.execution.shard_runner import run_shards
from multiexpr.recipe import Recipe, load_recipe, save_recipe
from multiexpr.storage.workspace import Workspace

__all__ = ["caption"]


def caption(
    out: Path | str, *, recipe: Recipe | None = None, limit: int | None = None, execution: ExecutionConfig | None = None
) -> dict[str, int]:
    """Caption kept clips; how many were captioned now, and how many of these failed.

    Args:
        out: the curation's folder, with verdicts.
        recipe: its [caption] section tells how, and is the one in use from here on; the one in use where none is given.
        limit: about so many clips: whole shards of them.
        machines: `slurm` takes this rank's shards; where the model runs is for the recipe to say.

    Raises:
        UserError: there are no verdicts, or the captioner lacks something.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    if recipe.caption.backend == "none":
        return {"clips": 0, "errors": 0}
    writer = captioner(recipe.caption)
    stage = CaptionStage(workspace, recipe)
    save_recipe(workspace.recipe, recipe)
    todo = _first(stage, shards_of_rank(stage.shards(), execution or ExecutionConfig()), limit)
    pool = CaptionPool(Path(workspace.collection()["root"]), recipe.caption, writer)
    num_done = run_shards(stage, workspace, todo, pool)
    num_failed = sum(len(stage.tasks(shard)) for shard in todo)
    if num_failed:
        say(f"caption: {num_failed} clips got none; the same command asks for them again")
    return {"clips": num_done, "errors": num_failed}


def _first(stage: CaptionStage, shards: list[int], limit: int | None) -> list[int]:
    """Shards with as many clips without a caption as the limit allows, one shard at least."""
    chosen, count = [], 0
    for shard in shards:
        if limit is not None and count >= limit:
            break
        if not stage.is_done(shard):
            chosen.append(shard)
            count += len(stage.tasks(shard))
    return chosen
