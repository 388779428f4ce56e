"""Public functions of curation: `index`, `score`, `select`, and `curate`, which runs all stages in order."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, sha256_json
from exprbench.core.locks import sole_writer
from exprbench.core.progress import say
from exprbench.face_engine import choose_engine
from multiexpr.captions import caption
from multiexpr.captions.stage import CaptionStage
from multiexpr.execution.executors import (
    ExecutionConfig,
    check_executor,
    get_job_id,
    run_stage,
    run_step,
    sole_run,
)
from multiexpr.execution.shard_runner import Stage
from multiexpr.exporting.dataset import export
from multiexpr.exporting.stage import ExportStage
from multiexpr.indexing.listing import ListingSummary, finish_batch, is_listed, list_collection
from multiexpr.indexing.stage import IndexStage
from multiexpr.recipe import Recipe, as_dict, load_recipe, recipe_in_use, save_recipe
from multiexpr.reporting import report
from multiexpr.scorers import aesthetics_method
from multiexpr.scoring.stage import ScoreStage
from multiexpr.selection import verdicts
from multiexpr.selection.thresholds import Proposal, propose
from multiexpr.sources import SourceOptions
from multiexpr.sources.remote import is_url, make_outline
from multiexpr.storage.parquet import list_shards
from multiexpr.storage.workspace import Workspace

STAGES = ("score", "caption", "export")  # that can leave shards undone


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
) -> ListingSummary:
    """List a collection, cut its long videos into shots, and return a summary of the listing.

    Args:
        source: a folder, a video, or the URL of a folder on object storage, such as `s3://bucket/videos`.
        out: folder of the curation, on a local or shared disk; created if it does not exist.
        recipe: its [shots] section sets how long videos are cut, and becomes the one in use; None uses
            `out/recipe.toml`, else the default.
        kind: kind of collection, a key of `multiexpr.sources.READERS`; `auto` detects it.
        options: names of columns and paths that differ from the usual ones of the kind.
        limit: maximum number of videos to add to the index.
        resume: finish the videos of an interrupted call before adding others.
        check_content: skip files whose content equals that of another file.
        execution: executor and workers; one rank of a Slurm job lists the collection for all.

    Raises:
        UserError: there is no collection, `out` belongs to a collection of another kind, or the executor or the decoder
            cannot be used.
    """
    workspace, execution = Workspace(Path(out)), execution or ExecutionConfig()
    check_executor(execution)
    recipe = recipe or _recipe_in_use(workspace)
    listing = {"kind": kind, "options": options, "limit": limit, "resume": resume, "check_content": check_content}
    summary = list_videos(source, workspace, listing, is_shared=execution.executor == "slurm")
    run_stage(index_stage, workspace, recipe, execution)
    save_recipe(workspace.recipe, replace(_recipe_in_use(workspace), shots=recipe.shots))
    return summary


def list_videos(
    source: Path | str, workspace: Workspace, listing: dict[str, Any], *, is_shared: bool = False
) -> ListingSummary:
    """List a collection and return a summary, an empty one if another rank of the same job has listed it.

    Args:
        source: a folder, or a video.
        workspace: folder of the curation.
        listing: options of `list_collection`.
        is_shared: whether one rank lists the collection for all.

    Raises:
        UserError: there is no readable video.
    """
    workspace.root.mkdir(parents=True, exist_ok=True)
    job, summaries = get_job_id(os.environ), [ListingSummary()]

    def list_once() -> None:
        if not is_shared or not is_listed(workspace, job):
            summaries.append(list_collection(_local_source(source, workspace), workspace, job=job, **listing))

    run_step(workspace, "list", "", list_once)
    _report_listing(summaries[-1], workspace)
    if not list_shards(workspace.entries):
        raise UserError(f"there is no readable video in {source}; see {workspace.mismatches} for the files in it")
    return summaries[-1]


def _local_source(source: Path | str, workspace: Workspace) -> Path:
    """Return the folder to list: the collection, or its outline if it is on object storage."""
    if not is_url(source):
        return Path(source)
    if num_archives := make_outline(str(source), workspace.outline):
        say(f"index: {num_archives:,} archives on object storage are left out; unpack them, or copy them to a disk")
    return workspace.outline


def index_stage(workspace: Workspace, recipe: Recipe) -> IndexStage:
    """Return the stage that cuts videos into clips."""
    return IndexStage(workspace, recipe.shots)


def score(
    out: Path | str,
    *,
    recipe: Recipe | None = None,
    score_all: bool = False,
    retry_errors: bool = False,
    execution: ExecutionConfig | None = None,
) -> int:
    """Run the scorers on all clips that are not scored yet, and return the number of clips scored.

    Args:
        out: folder of the curation, with an index.
        recipe: [score] sets what is measured; clips that fail a rule of [keep] are not measured further.
        score_all: run every scorer on every clip.
        retry_errors: score clips with errors again.
        execution: executor, workers and devices.

    Raises:
        UserError: there is no index, or a model file is missing.
    """
    workspace = Workspace(Path(out))
    recipe = resolve_methods(recipe or _recipe_in_use(workspace))
    execution = execution or ExecutionConfig()
    retry_before = _run_start(workspace) if retry_errors else 0.0
    make_stage = partial(ScoreStage, score_all=score_all, retry_before=retry_before)
    make_stage(workspace, recipe).shards()  # a missing index or model file raises before the settings change
    check_executor(execution)
    with sole_run(workspace, execution), recipe_in_use(workspace.recipe, recipe):
        return run_stage(make_stage, workspace, recipe, execution)


def _run_start(workspace: Workspace) -> float:
    """Return the Unix time at which the first process of this run started."""
    job = get_job_id(os.environ)
    if not job:
        return time.time()
    run_step(workspace, "start", job, lambda: None)
    return read_json(workspace.step("start"))["started"]


def resolve_methods(recipe: Recipe) -> Recipe:
    """Return the recipe with `auto` replaced by what is available on this machine: aesthetics method and face engines.

    Raises:
        UserError: a face engine is not installed.
    """
    aesthetics = replace(recipe.score.aesthetics, method=aesthetics_method(recipe))
    motion = replace(recipe.score.motion, engine=choose_engine(recipe.score.motion.engine))
    tracks = replace(recipe.export, engine=choose_engine(recipe.export.engine))
    return replace(recipe, score=replace(recipe.score, aesthetics=aesthetics, motion=motion), export=tracks)


def select(out: Path | str, *, recipe: Recipe | None = None, save: bool = True) -> verdicts.Funnel:
    """Apply a recipe to the stored scores and return the funnel.

    Args:
        out: folder of the curation, with scores.
        recipe: its thresholds apply; None uses `out/recipe.toml`.
        save: write a verdict on every clip, and make the recipe the one in use.

    Raises:
        UserError: there is no index.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or _recipe_in_use(workspace)
    with sole_writer(workspace.root):
        funnel = verdicts.select(workspace, recipe, save=save)
        if save:
            save_recipe(workspace.recipe, recipe)
    return funnel


def propose_thresholds(out: Path | str, num_clips: int, *, recipe: Recipe | None = None) -> Proposal:
    """Return thresholds that keep about `num_clips`, with the relative strictness of the recipe's rules.

    Raises:
        UserError: `num_clips` is below 1, or there is no index.
    """
    if num_clips < 1:
        raise UserError(f"--target is {num_clips}; expected the number of clips to keep, 1 or more")
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
    to: str | None = None,
    execution: ExecutionConfig | None = None,
) -> verdicts.Funnel | None:
    """Build a dataset and a report from a collection, resume after an interruption, and return the funnel.

    The arguments are those of `index`, `score` and `export`. Ranks of a Slurm job divide the work of every stage; the
    funnel is returned in the one that selected, and None in the others.
    """
    workspace, execution = Workspace(Path(out)), execution or ExecutionConfig()
    recipe = recipe or _recipe_in_use(workspace)
    with sole_run(workspace, execution):
        index(
            source, out, recipe=recipe, kind=kind, options=options, limit=limit, resume=True,
            check_content=check_content, execution=execution,
        )  # fmt: skip
        score(out, recipe=recipe, score_all=score_all, retry_errors=retry_errors, execution=execution)
        return _finish(workspace, resolve_methods(recipe), execution, to)


def _finish(workspace: Workspace, recipe: Recipe, execution: ExecutionConfig, to: str | None) -> verdicts.Funnel | None:
    """Run the stages after scoring; return the funnel in the process that computed it."""
    run, funnels = _run_id(workspace, recipe), []
    run_step(workspace, "select", run, lambda: funnels.append(select(workspace.root, recipe=recipe)))
    caption(workspace.root, recipe=recipe, execution=execution)
    export(workspace.root, recipe=recipe, to=to, execution=execution)
    run_step(workspace, "report", run, lambda: report(workspace.root, recipe=recipe, execution=execution))
    finish_batch(workspace)
    return funnels[-1] if funnels else None


def _run_id(workspace: Workspace, recipe: Recipe) -> str:
    """Return a text that is the same for all ranks of a job that found the same scores; empty without a job."""
    job = get_job_id(os.environ)
    return sha256_json([job, as_dict(recipe), _count_undone(ScoreStage(workspace, recipe))]) if job else ""


def _count_undone(stage: Stage) -> int:
    return sum(not stage.is_done(shard) for shard in stage.shards())


def unfinished(out: Path | str, *, stages: Sequence[str] = STAGES) -> list[str]:
    """Return a line per stage that left shards undone, for example because workers were killed.

    Raises:
        UserError: there is no index.
    """
    workspace = Workspace(Path(out))
    recipe = _recipe_in_use(workspace)
    makers = {"score": ScoreStage, "caption": CaptionStage, "export": ExportStage}
    if not workspace.verdicts.exists():
        stages = [name for name in stages if name == "score"]
    if recipe.caption.backend == "none":
        stages = [name for name in stages if name != "caption"]
    lines = []
    for stage in (makers[name](workspace, recipe) for name in stages):
        if num_undone := _count_undone(stage):
            lines.append(f"{stage.name}: {num_undone:,} shards are not complete; the same command processes the rest")
    return lines


def _recipe_in_use(workspace: Workspace) -> Recipe:
    return load_recipe(workspace.recipe if workspace.recipe.exists() else None)


def _report_listing(summary: ListingSummary, workspace: Workspace) -> None:
    parts = [f"{summary.num_entries:,} videos", f"{summary.num_new:,} new"]
    parts += [f"{n:,} {word}" for n, word in ((summary.num_changed, "changed"), (summary.num_missing, "missing")) if n]
    parts += [f"{summary.num_waiting:,} not listed yet (--limit)"] if summary.num_waiting else []
    say("index: " + ", ".join(parts))
    if summary.mismatches:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.mismatches.items()))
        say(f"index: {counts}; see {workspace.mismatches}")
