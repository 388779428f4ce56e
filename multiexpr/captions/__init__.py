"""Caption the kept clips."""

from functools import partial
from pathlib import Path

from exprbench.core.progress import say
from multiexpr.captions.stage import CaptionStage, create_captioner, open_caption_pool
from multiexpr.execution.executors import ExecutionConfig, check_executor, run_stage, sole_run
from multiexpr.recipe import Recipe, load_recipe, save_recipe
from multiexpr.storage.workspace import Workspace

__all__ = ["caption"]


def caption(
    out: Path | str, *, recipe: Recipe | None = None, limit: int | None = None, execution: ExecutionConfig | None = None
) -> dict[str, int]:
    """Caption kept clips that have no caption yet.

    Args:
        out: folder of the curation, with verdicts.
        recipe: its [caption] section applies, and the recipe becomes the one in use; None uses `out/recipe.toml`.
        limit: number of clips to caption, rounded up to whole shards; None captions all.
        execution: executor; several ranks, or the tasks of a Ray cluster, divide the clips.

    Returns:
        `clips`, the number of clips captioned; `errors`, how many of them failed; `empty`, how many captions of the
        collection's own text are empty.

    Raises:
        UserError: there are no verdicts, or the captioner has no model, URL or server.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    if recipe.caption.backend == "none":
        say("caption: caption.backend is none; all captions of the dataset are empty")
        save_recipe(workspace.recipe, recipe)
        return {"clips": 0, "errors": 0, "empty": 0}
    execution = execution or ExecutionConfig()
    check_executor(execution)
    create_captioner(recipe.caption)  # a missing model or URL raises before anything starts
    stage = CaptionStage(workspace, recipe)
    todo = _limit_shards(stage, limit)
    with sole_run(workspace, execution):
        make_stage = partial(CaptionStage, shards=todo)
        num_done = run_stage(make_stage, workspace, recipe, execution, open_pool=open_caption_pool)
    num_failed = sum(len(stage.tasks(shard)) for shard in todo)
    save_recipe(workspace.recipe, recipe)
    if num_failed:
        say(f"caption: {num_failed} clips failed; the same command tries them again")
    num_empty, num_captioned = stage.count_empty()
    if num_empty:
        say(
            f"caption: {num_empty:,} of {num_captioned:,} captions are empty, because the collection has no text for "
            "them; caption them with a model: --set caption.backend=openai"
        )
    return {"clips": num_done, "errors": num_failed, "empty": num_empty}


def _limit_shards(stage: CaptionStage, limit: int | None) -> list[int]:
    """Return the first shards that together have at least `limit` clips without a caption."""
    chosen, count = [], 0
    for shard in stage.shards():
        if limit is not None and count >= limit:
            break
        if not stage.is_done(shard):
            chosen.append(shard)
            count += len(stage.tasks(shard))
    return chosen
