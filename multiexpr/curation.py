"""The verbs as functions: `curate` is all of them in order."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from exprbench.core.errors import UserError
from exprbench.core.progress import say
from multiexpr.captions import caption
from multiexpr.execution.executors import ExecutionConfig, job_of, run_stage
from multiexpr.exporting.dataset import export
from multiexpr.indexing.listing import Listed, finish_batch, is_listed, list_collection
from multiexpr.indexing.stage import IndexStage
from multiexpr.recipe import Recipe, load_recipe, save_recipe
from multiexpr.reporting import report
from multiexpr.scorers import aesthetics_method
from multiexpr.scoring.stage import ScoreStage
from multiexpr.selection import verdicts
from multiexpr.selection.thresholds import Proposal, propose
from multiexpr.sources import SourceOptions
from multiexpr.storage.parquet import shards_in
from multiexpr.storage.workspace import Workspace


def index(
    source: Path | str,
    out: Path | str,
    *,
    recipe: Recipe | None = None,
    kind: str = "auto",
    options: SourceOptions | None = None,
    limit: int | None = None,
    resume: bool = False,
    check_content: bool = True,
    execution: ExecutionConfig | None = None,
) -> Listed:
    """List a collection, and cut its long videos into shots; what was found.

    Args:
        source: a folder, or a video.
        out: the curation's folder, made where it is not there.
        recipe: its [shots] section tells how long videos are cut.
        kind: of collection: see `multiexpr.sources.READERS`; `auto` looks.
        options: names of columns and paths, where they are not the usual ones.
        limit: take up at most so many of the collection's videos that are not in the index yet.
        resume: finish what an interrupted call took up before taking up more.
        check_content: leave out files that are the same as another one.
        machines: where to work; a rank of several lists the collection only where no other did.

    Raises:
        UserError: there is no collection, or `out` was made from one of another kind.
    """
    workspace, execution = Workspace(Path(out)), execution or ExecutionConfig()
    recipe = recipe or _recipe_in_use(workspace)
    workspace.root.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace.root / "listing.lock"):
        listed, job = Listed(), job_of(os.environ)
        if execution.executor != "slurm" or not is_listed(workspace, job):
            listed = list_collection(
                Path(source), workspace, kind=kind, options=options, limit=limit, resume=resume,
                check_content=check_content, job=job,
            )  # fmt: skip
    _say_listed(listed, workspace)
    if not shards_in(workspace.entries):
        raise UserError(f"{source} holds no video that can be read; {workspace.mismatches} tells what was found")
    run_stage(_index_stage, workspace, recipe, execution)
    return listed


def _index_stage(workspace: Workspace, recipe: Recipe) -> IndexStage:
    return IndexStage(workspace, recipe.shots)


def score(
    out: Path | str,
    *,
    recipe: Recipe | None = None,
    score_all: bool = False,
    retry_errors: bool = False,
    execution: ExecutionConfig | None = None,
) -> int:
    """Measure what is not measured yet; how many clips were worked on.

    Args:
        out: the curation's folder, with an index.
        recipe: its [score] section tells what is measured, its [keep] section which clips are worth the costly scores.
        score_all: measure everything of every clip.
        retry_errors: try again what ended in an error.
        machines: where to work.

    Raises:
        UserError: there is no index, or a model is missing.
    """
    workspace = Workspace(Path(out))
    recipe = with_methods_resolved(recipe or _recipe_in_use(workspace))
    workspace.shards()
    save_recipe(workspace.recipe, recipe)
    make_stage = partial(ScoreStage, score_all=score_all, retry_errors=retry_errors)
    return run_stage(make_stage, workspace, recipe, execution or ExecutionConfig())


def with_methods_resolved(recipe: Recipe) -> Recipe:
    """The recipe with `auto` replaced by what it means on this machine."""
    aesthetics = replace(recipe.score.aesthetics, method=aesthetics_method(recipe))
    return replace(recipe, score=replace(recipe.score, aesthetics=aesthetics))


def select(out: Path | str, *, recipe: Recipe | None = None) -> verdicts.Funnel:
    """Judge every clip by a recipe; the funnel. Nothing is measured.

    Raises:
        UserError: there is no index.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or _recipe_in_use(workspace)
    funnel = verdicts.select(workspace, recipe)
    save_recipe(workspace.recipe, recipe)
    return funnel


def target(out: Path | str, num_clips: int, *, recipe: Recipe | None = None) -> Proposal:
    """Thresholds that keep about `num_clips`, every rule as strict beside the others as the recipe has it."""
    if num_clips < 1:
        raise UserError(f"--target is {num_clips}; expected the number of clips that are to be kept")
    workspace = Workspace(Path(out))
    return propose(workspace, recipe or _recipe_in_use(workspace), num_clips)


def curate(
    source: Path | str,
    out: Path | str,
    *,
    recipe: Recipe | None = None,
    kind: str = "auto",
    options: SourceOptions | None = None,
    limit: int | None = None,
    check_content: bool = True,
    score_all: bool = False,
    retry_errors: bool = False,
    execution: ExecutionConfig | None = None,
) -> verdicts.Funnel | None:
    """From a raw collection to a dataset and a report, resuming where an earlier call was interrupted.

    Arguments are those of `index` and `score`. As one of several ranks: None where others still have shards to do;
    the rank that finds none left does the rest.
    """
    workspace, execution = Workspace(Path(out)), execution or ExecutionConfig()
    recipe = recipe or _recipe_in_use(workspace)
    index(
        source, out, recipe=recipe, kind=kind, options=options, limit=limit, resume=True, check_content=check_content,
        execution=execution,
    )  # fmt: skip
    score(out, recipe=recipe, score_all=score_all, retry_errors=retry_errors, execution=execution)
    if execution.executor == "slurm":
        return _last_rank(workspace, recipe, execution)
    return _finish(workspace, recipe, execution)


def _finish(workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> verdicts.Funnel:
    recipe = with_methods_resolved(recipe)
    funnel = select(workspace.root, recipe=recipe)
    caption(workspace.root, recipe=recipe)
    export(workspace.root, recipe=recipe, execution=execution)
    report(workspace.root, recipe=recipe, execution=execution)
    finish_batch(workspace)
    return funnel


def _last_rank(workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> verdicts.Funnel | None:
    """The rank that finds all shards done does the rest, alone."""
    stage = ScoreStage(workspace, with_methods_resolved(recipe))
    left = sum(not stage.is_done(shard) for shard in stage.shards())
    if left:
        say(f"score: this rank's shards are done; {left} are other ranks' to do, and the last one does the rest")
        return None
    try:
        with FileLock(workspace.root / "finish.lock", timeout=0):
            return _finish(workspace, recipe, replace(execution, executor="local"))
    except Timeout:
        say("score: all shards are done; another rank is writing the dataset")
        return None


def _recipe_in_use(workspace: Workspace) -> Recipe:
    return load_recipe(workspace.recipe if workspace.recipe.exists() else None)


def _say_listed(listed: Listed, workspace: Workspace) -> None:
    parts = [f"{listed.num_entries:,} videos", f"{listed.num_new:,} new"]
    parts += [f"{n:,} {word}" for n, word in ((listed.num_changed, "changed"), (listed.num_gone, "gone")) if n]
    parts += [f"{listed.num_waiting:,} left for later"] if listed.num_waiting else []
    say("index: " + ", ".join(parts))
    if listed.mismatches:
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(listed.mismatches.items()))
        say(f"index: {told}; see {workspace.mismatches}")
