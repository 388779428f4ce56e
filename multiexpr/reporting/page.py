"""The page: funnel, scores beside thresholds, examples, errors, throughput."""

from pathlib import Path
from typing import Any

from exprbench.core.files import write_text
from exprbench.core.processes import num_cores
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.execution.worker import ClipWorker, clip_pool
from multiexpr.recipe import Recipe, load_recipe, save_recipe
from multiexpr.reporting.markup import Html, code, note, page, section, table, text
from multiexpr.reporting.numbers import Histogram, Spent, examples, failures, histograms, mismatch_counts, time_spent
from multiexpr.reporting.pictures import draw, thumbnail
from multiexpr.selection import verdicts
from multiexpr.selection.explain import explain
from multiexpr.selection.rules import rule_named
from multiexpr.selection.verdicts import scorers_used
from multiexpr.sources.locate import video_of
from multiexpr.storage.workspace import Workspace

MEANINGS = {
    "row_without_file": "rows of a table whose file is not there",
    "file_without_row": "files no table names",
    "duplicate": "the same file or the same content twice",
    "unreadable": "empty, damaged or locked files, archives and lines",
}

Row = dict[str, Any]


def report(out: Path | str, *, recipe: Recipe | None = None, execution: ExecutionConfig | None = None) -> Path:
    """Write `report.html`, one file with all it shows; its path.

    Args:
        out: the curation's folder, with an index.
        recipe: whose thresholds are drawn; the one in use where none is given.
        machines: how many workers make the thumbnails.

    Raises:
        UserError: there is no index.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    funnel = verdicts.select(workspace, recipe).as_dict()
    save_recipe(workspace.recipe, recipe)
    plots, num_drawn = histograms(workspace, recipe)
    chosen = examples(workspace)
    pictures = _pictures(workspace, recipe, chosen, execution or ExecutionConfig())
    whole = page(
        "Curation report",
        _numbers(funnel, workspace.collection()["kind"]),
        _funnel(funnel, scorers_used(workspace, recipe)),
        _plots(plots, num_drawn, funnel["clips"]),
        _examples(workspace, recipe, chosen, pictures),
        _errors(funnel, failures(workspace)),
        _mismatches(mismatch_counts(workspace.mismatches)),
        _times(time_spent(workspace)),
    )
    write_text(workspace.report, whole)
    return workspace.report


def _pictures(
    workspace: Workspace, recipe: Recipe, chosen: dict[str, list[Row]], execution: ExecutionConfig
) -> dict[str, str]:
    """JPEGs in base64 by clip id; of clips that cannot be read any more, none."""
    clips = {clip["clip_id"]: clip for group in chosen.values() for clip in group}
    requests = ((clip_id, {"task": thumbnail_task, "clip": clip}) for clip_id, clip in clips.items())
    root, num_workers = workspace.collection()["root"], execution.workers or num_cores()
    with clip_pool(root, recipe, num_workers=num_workers) as pool:
        return {clip_id: answer for clip_id, answer in pool.map(requests) if isinstance(answer, str)}


def thumbnail_task(worker: ClipWorker, request: Row) -> str:
    """Draw a clip's thumbnail in a worker."""
    return thumbnail(video_of(request["clip"], worker.root))


def _numbers(funnel: Row, kind: str) -> Html:
    total, errors = funnel["clips"], sum(funnel["errors"].values())
    boxes = [("clips", total), ("kept", funnel["kept"]), ("dropped", funnel["dropped"]), ("errors", errors)]
    boxes += [("not scored yet", funnel["pending"])] if funnel["pending"] else []
    shown = "".join(f"<div><b>{text(count)}</b>{name} {_percent(count, total)}</div>" for name, count in boxes)
    lead = f'<p class="lead">of a collection of kind <b>{text(kind)}</b></p>'
    return Html(f'{lead}<div class="numbers">{shown}</div>')


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f} %" if total else ""


def _funnel(funnel: Row, scorers: list[str]) -> Html:
    total = funnel["clips"]
    errors = sum(funnel["errors"].values())
    rows = [_funnel_row("all clips", "", total, total, "in")]
    for step in funnel["steps"]:
        meaning = rule_named(step["reason"], scorers).meaning
        rows.append(_funnel_row(step["reason"], meaning, step["dropped"], total, "out"))
    rows.append(_funnel_row("errors", "counted apart: an error is no verdict", errors, total, "out"))
    rows.append(_funnel_row("kept", "", funnel["kept"], total, "in"))
    return section("Funnel", table(rows, ["dropped for", "by", " clips", " share", ""]))


def _funnel_row(name: str, meaning: str, count: int, total: int, kind: str) -> list[object]:
    width = 100 * count / total if total else 0
    bar = Html(f'<div class="bar"><span class="{kind}" style="width:{width:.2f}%"></span></div>' if count else "")
    soft = Html(f'<span class="note">{text(meaning)}</span>')
    return [name, soft, count, " " + _percent(count, total), bar]


def _plots(plots: list[Histogram], num_drawn: int, num_clips: int) -> Html:
    sampled = f" Drawn from {num_drawn:,} clips, evenly chosen." if num_drawn < num_clips else ""
    told = note(
        "What each rule reads, of the clips it was measured of; the dashed line is the threshold. Values beyond the "
        "ends are counted at the ends." + sampled
    )
    drawn = Html(f'<div class="plots">{"".join(map(_plot, plots))}</div>')
    return section("Scores and thresholds", told, drawn)


def _plot(histogram: Histogram) -> Html:
    rule = histogram.rule
    sign = "at least" if rule.at_least else "at most"
    limit = "off" if histogram.limit == rule.off_at else f"{sign} {histogram.limit:g}"
    share = _percent(histogram.num_failing, histogram.num_clips)
    told = f"{rule.meaning}: {limit}. {histogram.num_clips:,} clips, {histogram.num_failing:,} fail ({share})"
    return Html(f"<div><h3>{text(rule.name)}</h3>{note(told)}{draw(histogram)}</div>")


def _examples(workspace: Workspace, recipe: Recipe, chosen: dict[str, list[Row]], pictures: dict[str, str]) -> Html:
    parts = []
    for name, clips in chosen.items():
        figures = "".join(_figure(workspace, recipe, clip, pictures.get(clip["clip_id"])) for clip in clips)
        parts.append(Html(f'<h3>{text(name)}</h3><div class="clips">{figures}</div>'))
    told = note("Moments of clips. ", code("multiexpr why DIR ID"), " tells all scores of one.")
    return section("Examples", told, *parts)


def _figure(workspace: Workspace, recipe: Recipe, clip: Row, picture: str | None) -> Html:
    because = explain(workspace, recipe, clip["shard"], clip).because
    image = '<div class="none">no picture</div>'
    if picture:
        image = f'<img src="data:image/jpeg;base64,{picture}" alt="" loading="lazy">'
    name = "/".join(filter(None, (clip["path"], clip["member"])))
    told = f"{code(clip['clip_id'][:10])} {text(name)}<br>{text(because)}"
    return Html(f"<figure>{image}<figcaption>{told}</figcaption></figure>")


def _errors(funnel: Row, some: list[Row]) -> Html:
    if not funnel["errors"]:
        return section("Errors", note("None."))
    rows = [[code(row["clip_id"][:10]), row["path"], row["error"], row["detail"]] for row in some]
    told = note("An error is never a verdict. ", code("--retry-errors"), " tries again.")
    return section("Errors", told, table(funnel["errors"].items(), ["code", " clips"]), table(rows))


def _mismatches(counts: dict[str, int]) -> Html:
    if not counts:
        return section("Collection", note("Tables and files agree."))
    rows = [[kind, MEANINGS.get(kind, ""), count] for kind, count in sorted(counts.items())]
    return section("What did not become a clip", table(rows), note("Each of them: ", code("mismatches.parquet")))


def _times(spent: list[Spent]) -> Html:
    head = ["stage", " clips", " seconds", " clips a second", "of which workers spent, ms a clip"]
    return section("Throughput", table(map(_time_row, spent), head))


def _time_row(spent: Spent) -> list[object]:
    rate = f" {spent.num_clips / spent.wall_s:.2f}" if spent.wall_s else " "
    each = [
        f"{name} {1000 * seconds / max(spent.num_clips, 1):.0f}" for name, seconds in sorted(spent.by_scorer_s.items())
    ]
    return [spent.stage, spent.num_clips, f" {spent.wall_s:,.1f}", rate, ", ".join(each)]
