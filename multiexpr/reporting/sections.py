"""Sections of the report as HTML."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multiexpr.reporting.changes import Changes
from multiexpr.reporting.clip_figures import ClipFigure
from multiexpr.reporting.histogram_svg import histogram_svg
from multiexpr.reporting.markup import Html, code, note, section, table, text
from multiexpr.reporting.numbers import Histogram, StageTiming
from multiexpr.selection.copies import REASON
from multiexpr.selection.rules import get_rule

MEANINGS = {
    "row_without_file": "table rows whose file does not exist",
    "file_without_row": "files that no table names",
    "duplicate": "files with an equal name or equal content",
    "unreadable": "empty, damaged or unreadable files, archives and table lines",
}
COPIES_MEANING = "copies of better clips that are kept; copies.parquet names them"

Row = dict[str, Any]


def numbers(counts: Row, kind: str) -> Html:
    """Return the kind of collection and the numbers of clips by outcome."""
    total, num_errors = counts["clips"], sum(counts["errors"].values())
    boxes = [("clips", total), ("kept", counts["kept"]), ("dropped", counts["dropped"]), ("errors", num_errors)]
    boxes += [("not scored yet", counts["pending"])] if counts["pending"] else []
    shown = "".join(f"<div><b>{text(count)}</b>{name} {_percent(count, total)}</div>" for name, count in boxes)
    lead = f'<p class="lead">kind of collection: <b>{text(kind)}</b></p>'
    return Html(f'{lead}<div class="numbers">{shown}</div>')


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f} %" if total else ""


def funnel(counts: Row, scorers: list[str]) -> Html:
    """Return a table of the clips that each rule drops."""
    total = counts["clips"]
    num_errors = sum(counts["errors"].values())
    rows = [_funnel_row("all clips", "", total, total, "in")]
    for step in counts["steps"]:
        meaning = COPIES_MEANING if step["reason"] == REASON else get_rule(step["reason"], scorers).meaning
        rows.append(_funnel_row(step["reason"], meaning, step["dropped"], total, "out"))
    rows.append(_funnel_row("errors", "clips that could not be read or measured", num_errors, total, "out"))
    rows.append(_funnel_row("kept", "", counts["kept"], total, "in"))
    return section("Funnel", table(rows, ["reason", "score", " clips", " share", ""]))


def _funnel_row(name: str, meaning: str, count: int, total: int, kind: str) -> list[object]:
    width = 100 * count / total if total else 0
    bar = Html(f'<div class="bar"><span class="{kind}" style="width:{width:.2f}%"></span></div>' if count else "")
    soft = Html(f'<span class="note">{text(meaning)}</span>')
    return [name, soft, count, " " + _percent(count, total), bar]


def plots(histograms: list[Histogram], num_drawn: int, num_clips: int) -> Html:
    """Return a histogram per rule."""
    sampled = f" The histograms show {num_drawn:,} evenly chosen clips." if num_drawn < num_clips else ""
    description = note(
        "Histogram of each rule's score over the clips that have it. The dashed line is the threshold. The outer bins "
        "include values beyond the axis." + sampled
    )
    histograms_html = Html(f'<div class="plots">{"".join(map(_plot, histograms))}</div>')
    return section("Scores and thresholds", description, histograms_html)


def _plot(histogram: Histogram) -> Html:
    rule = histogram.rule
    sign = "at least" if rule.at_least else "at most"
    limit = "off" if histogram.limit == rule.off_at else f"{sign} {histogram.limit:g}"
    share = _percent(histogram.num_failing, histogram.num_clips)
    summary = f"{rule.meaning}: {limit}. {histogram.num_clips:,} clips, {histogram.num_failing:,} fail ({share})"
    return Html(f"<div><h3>{text(rule.name)}</h3>{note(summary)}{histogram_svg(histogram)}</div>")


def examples(groups: dict[str, list[Row]], figures: dict[str, ClipFigure]) -> Html:
    """Return figures of kept clips, and of clips dropped for every reason."""
    description = note(
        "Moments of example clips; click one to play it. Faces have the numbers of the people in the scores: green if "
        "the person counts, orange if not. Boxes without a number are detected people whose faces are not measured. ",
        code("multiexpr why DIR ID"),
        " prints all scores of a clip.",
    )
    return section("Examples", description, *(_group(name, clips, figures) for name, clips in groups.items()))


def _group(name: str, clips: Sequence[Row], figures: dict[str, ClipFigure], *, compared: bool = False) -> Html:
    shown = "".join(figures[clip["clip_id"]].markup(compared=compared) for clip in clips)
    return Html(f'<h3>{text(name)}</h3><div class="clips">{shown}</div>')


def changes(found: Changes, figures: dict[str, ClipFigure], root: Path) -> Html:
    """Return what changed thresholds would change, with the command that saves them."""
    settings = [[code(key), f" {before}", f" {after}"] for key, (before, after) in found.settings.items()]
    moves = [[before, after, count] for (before, after), count in found.transitions.most_common() if before != after]
    options = " ".join(f"--set {key}={json.dumps(after)}" for key, (_, after) in found.settings.items())
    kept = (
        f"{found.num_before:,} clips are kept with the settings in use, and {found.num_after:,} with the changed ones "
        f"({found.num_after - found.num_before:+,})."
    )
    groups = (("would be kept", found.entering), ("would be dropped", found.leaving))
    return section(
        "Changed thresholds",
        note(
            "Nothing is saved yet. Save these thresholds with ", code(f"multiexpr select {root} {options} --save"), "."
        ),
        table(settings, ["setting", " in use", " changed"]),
        note(kept),
        table(moves, ["verdict in use", "verdict after the change", " clips"]) if moves else "",
        *(_group(name, clips, figures, compared=True) for name, clips in groups if clips),
    )


def errors(counts: Row, failed: list[Row]) -> Html:
    """Return the errors by code, and the first clips with one."""
    if not counts["errors"]:
        return section("Errors", note("None."))
    rows = [[code(row["clip_id"][:10]), row["path"], row["error"], row["detail"]] for row in failed]
    description = note("Clips with errors have no verdict. ", code("--retry-errors"), " scores them again.")
    return section("Errors", description, table(counts["errors"].items(), ["code", " clips"]), table(rows))


def mismatches(counts: dict[str, int]) -> Html:
    """Return the numbers of files and table rows without an entry."""
    if not counts:
        return section("Collection", note("Tables and files match."))
    rows = [[kind, MEANINGS.get(kind, ""), count] for kind, count in sorted(counts.items())]
    return section("Mismatches", table(rows), note("The full list is in ", code("mismatches.parquet"), "."))


def times(timings: list[StageTiming]) -> Html:
    """Return the throughput of every stage."""
    head = ["stage", " clips", " seconds", " clips per second", "time of workers, ms per clip"]
    return section("Throughput", table(map(_time_row, timings), head))


def _time_row(timing: StageTiming) -> list[object]:
    rate = f" {timing.num_clips / timing.wall_s:.2f}" if timing.wall_s else " "
    per_clip = [
        f"{name} {1000 * seconds / max(timing.num_clips, 1):.0f}"
        for name, seconds in sorted(timing.by_scorer_s.items())
    ]
    return [timing.stage, timing.num_clips, f" {timing.wall_s:,.1f}", rate, ", ".join(per_clip)]
