"""HTML page of the report: funnel, scores with thresholds, examples, errors, throughput."""

from pathlib import Path
from typing import Any

from exprbench.core.files import write_text
from exprbench.core.processes import num_cores
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.execution.worker import ClipWorker, clip_pool
from multiexpr.recipe import Recipe, load_recipe, save_recipe
from multiexpr.reporting.markup import Html, code, note, page, section, table, text
from multiexpr.reporting.numbers import (
    Histogram,
    StageTiming,
    examples,
    failures,
    histograms,
    mismatch_counts,
    time_spent,
)
from multiexpr.reporting.pictures import histogram_svg, thumbnail
from multiexpr.selection import verdicts
from multiexpr.selection.explain import explain
from multiexpr.selection.rules import get_rule
from multiexpr.selection.verdicts import active_scorers
from multiexpr.sources.locate import video_source
from multiexpr.storage.workspace import Workspace

MEANINGS = {
    "row_without_file": "table rows whose file does not exist",
    "file_without_row": "files that no table names",
    "duplicate": "files with an equal name or equal content",
    "unreadable": "empty, damaged or unreadable files, archives and table lines",
}

Row = dict[str, Any]


def report(out: Path | str, *, recipe: Recipe | None = None, execution: ExecutionConfig | None = None) -> Path:
    """Write `report.html`, a self-contained page, and return its path.

    Args:
        out: folder of the curation, with an index.
        recipe: its thresholds are drawn; None uses `out/recipe.toml`.
        execution: only the number of workers is used, for the thumbnails.

    Raises:
        UserError: there is no index.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    funnel = verdicts.select(workspace, recipe).as_dict()
    plots, num_drawn = histograms(workspace, recipe)
    chosen = examples(workspace)
    thumbnails = _thumbnails(workspace, recipe, chosen, execution or ExecutionConfig())
    html = page(
        "Curation report",
        _numbers(funnel, workspace.collection()["kind"]),
        _funnel(funnel, active_scorers(workspace, recipe)),
        _plots(plots, num_drawn, funnel["clips"]),
        _examples(workspace, recipe, chosen, thumbnails),
        _errors(funnel, failures(workspace)),
        _mismatches(mismatch_counts(workspace.mismatches)),
        _times(time_spent(workspace)),
    )
    write_text(workspace.report, html)
    save_recipe(workspace.recipe, recipe)
    return workspace.report


def _thumbnails(
    workspace: Workspace, recipe: Recipe, chosen: dict[str, list[Row]], execution: ExecutionConfig
) -> dict[str, str]:
    """Return JPEGs in base64 by clip id, without the clips that cannot be read."""
    clips = {clip["clip_id"]: clip for group in chosen.values() for clip in group}
    requests = ((clip_id, {"task": thumbnail_task, "clip": clip}) for clip_id, clip in clips.items())
    root, num_workers = workspace.collection()["root"], execution.workers or num_cores()
    with clip_pool(root, recipe, num_workers=num_workers) as pool:
        return {clip_id: answer for clip_id, answer in pool.map(requests) if isinstance(answer, str)}


def thumbnail_task(worker: ClipWorker, request: Row) -> str:
    """Return the thumbnail of a request's clip, in a worker."""
    return thumbnail(video_source(request["clip"], worker.root))


def _numbers(funnel: Row, kind: str) -> Html:
    total, errors = funnel["clips"], sum(funnel["errors"].values())
    boxes = [("clips", total), ("kept", funnel["kept"]), ("dropped", funnel["dropped"]), ("errors", errors)]
    boxes += [("not scored yet", funnel["pending"])] if funnel["pending"] else []
    shown = "".join(f"<div><b>{text(count)}</b>{name} {_percent(count, total)}</div>" for name, count in boxes)
    lead = f'<p class="lead">kind of collection: <b>{text(kind)}</b></p>'
    return Html(f'{lead}<div class="numbers">{shown}</div>')


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f} %" if total else ""


def _funnel(funnel: Row, scorers: list[str]) -> Html:
    total = funnel["clips"]
    errors = sum(funnel["errors"].values())
    rows = [_funnel_row("all clips", "", total, total, "in")]
    for step in funnel["steps"]:
        meaning = get_rule(step["reason"], scorers).meaning
        rows.append(_funnel_row(step["reason"], meaning, step["dropped"], total, "out"))
    rows.append(_funnel_row("errors", "clips that could not be read or measured", errors, total, "out"))
    rows.append(_funnel_row("kept", "", funnel["kept"], total, "in"))
    return section("Funnel", table(rows, ["reason", "score", " clips", " share", ""]))


def _funnel_row(name: str, meaning: str, count: int, total: int, kind: str) -> list[object]:
    width = 100 * count / total if total else 0
    bar = Html(f'<div class="bar"><span class="{kind}" style="width:{width:.2f}%"></span></div>' if count else "")
    soft = Html(f'<span class="note">{text(meaning)}</span>')
    return [name, soft, count, " " + _percent(count, total), bar]


def _plots(plots: list[Histogram], num_drawn: int, num_clips: int) -> Html:
    sampled = f" The histograms show {num_drawn:,} evenly chosen clips." if num_drawn < num_clips else ""
    description = note(
        "Histogram of each rule's score over the clips that have it. The dashed line is the threshold. The outer bins "
        "include values beyond the axis." + sampled
    )
    histograms_html = Html(f'<div class="plots">{"".join(map(_plot, plots))}</div>')
    return section("Scores and thresholds", description, histograms_html)


def _plot(histogram: Histogram) -> Html:
    rule = histogram.rule
    sign = "at least" if rule.at_least else "at most"
    limit = "off" if histogram.limit == rule.off_at else f"{sign} {histogram.limit:g}"
    share = _percent(histogram.num_failing, histogram.num_clips)
    summary = f"{rule.meaning}: {limit}. {histogram.num_clips:,} clips, {histogram.num_failing:,} fail ({share})"
    return Html(f"<div><h3>{text(rule.name)}</h3>{note(summary)}{histogram_svg(histogram)}</div>")


def _examples(workspace: Workspace, recipe: Recipe, chosen: dict[str, list[Row]], thumbnails: dict[str, str]) -> Html:
    parts = []
    for name, clips in chosen.items():
        figures = "".join(_figure(workspace, recipe, clip, thumbnails.get(clip["clip_id"])) for clip in clips)
        parts.append(Html(f'<h3>{text(name)}</h3><div class="clips">{figures}</div>'))
    description = note("Frames of example clips. ", code("multiexpr why DIR ID"), " prints all scores of a clip.")
    return section("Examples", description, *parts)


def _figure(workspace: Workspace, recipe: Recipe, clip: Row, image_base64: str | None) -> Html:
    summary = explain(workspace, recipe, clip["shard"], clip).summary
    image = '<div class="none">no picture</div>'
    if image_base64:
        image = f'<img src="data:image/jpeg;base64,{image_base64}" alt="" loading="lazy">'
    name = "/".join(filter(None, (clip["path"], clip["member"])))
    caption = f"{code(clip['clip_id'][:10])} {text(name)}<br>{text(summary)}"
    return Html(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")


def _errors(funnel: Row, failed: list[Row]) -> Html:
    if not funnel["errors"]:
        return section("Errors", note("None."))
    rows = [[code(row["clip_id"][:10]), row["path"], row["error"], row["detail"]] for row in failed]
    description = note("Clips with errors have no verdict. ", code("--retry-errors"), " scores them again.")
    return section("Errors", description, table(funnel["errors"].items(), ["code", " clips"]), table(rows))


def _mismatches(counts: dict[str, int]) -> Html:
    if not counts:
        return section("Collection", note("Tables and files match."))
    rows = [[kind, MEANINGS.get(kind, ""), count] for kind, count in sorted(counts.items())]
    return section("Mismatches", table(rows), note("The full list is in ", code("mismatches.parquet"), "."))


def _times(timings: list[StageTiming]) -> Html:
    head = ["stage", " clips", " seconds", " clips per second", "time of workers, ms per clip"]
    return section("Throughput", table(map(_time_row, timings), head))


def _time_row(timing: StageTiming) -> list[object]:
    rate = f" {timing.num_clips / timing.wall_s:.2f}" if timing.wall_s else " "
    per_clip = [
        f"{name} {1000 * seconds / max(timing.num_clips, 1):.0f}"
        for name, seconds in sorted(timing.by_scorer_s.items())
    ]
    return [timing.stage, timing.num_clips, f" {timing.wall_s:,.1f}", rate, ", ".join(per_clip)]
