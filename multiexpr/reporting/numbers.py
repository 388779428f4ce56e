"""What the page shows: histograms of what the rules measure, examples of every reason, time spent."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from multiexpr.recipe import Recipe
from multiexpr.selection.rules import Rule, rules_of
from multiexpr.selection.verdicts import SHARDS_AT_A_TIME, load_scores, scorers_used
from multiexpr.storage.parquet import read_rows, read_table, shard_path
from multiexpr.storage.workspace import Workspace

MAX_SHARDS = 400  # histograms of more are drawn from so many, evenly chosen
NUM_BINS = 40
NUM_EXAMPLES = 12
TAIL = 0.995  # of the values lie below the end of the axis; the rest is counted into the last bin

Row = dict[str, Any]


@dataclass(frozen=True)
class Histogram:
    """Counts of what a rule measured, between edges, and where its threshold lies."""

    rule: Rule
    counts: np.ndarray
    edges: np.ndarray
    limit: float
    num_clips: int
    num_failing: int


def histograms(workspace: Workspace, recipe: Recipe) -> tuple[list[Histogram], int]:
    """One a rule, of the clips it applies to; and from how many clips they are drawn."""
    order = scorers_used(workspace, recipe)
    shards = workspace.indexed()
    chosen = [
        shards[i] for i in sorted({round(i) for i in np.linspace(0, len(shards) - 1, min(len(shards), MAX_SHARDS))})
    ]
    rules = [rule for name in order for rule in rules_of(name)]
    values: list[list[np.ndarray]] = [[] for _ in rules]
    num_clips = 0
    for start in range(0, len(chosen), SHARDS_AT_A_TIME):
        scores = load_scores(workspace, chosen[start : start + SHARDS_AT_A_TIME], order)
        num_clips += len(scores)
        for kept, rule in zip(values, rules, strict=True):
            measured = rule.measure(scores.columns, recipe.keep)
            kept.append(measured[scores.measured[rule.scorer] & ~np.isnan(measured)])
    found = [_histogram(rule, np.concatenate(kept), recipe) for rule, kept in zip(rules, values, strict=True)]
    return [histogram for histogram in found if histogram], num_clips


def _histogram(rule: Rule, values: np.ndarray, recipe: Recipe) -> Histogram | None:
    if not len(values):
        return None
    limit = rule.limit(recipe.keep)
    shown = [*np.quantile(values, (1 - TAIL, TAIL)), *([limit] if limit != rule.off_at else [])]
    low, high = min(0.0, *shown), max(shown)
    edges = np.linspace(low, high if high > low else low + 1, NUM_BINS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    failing = int(rule.fails(values, recipe.keep).sum())
    return Histogram(rule, counts, edges, limit, len(values), failing)


def examples(workspace: Workspace) -> dict[str, list[Row]]:
    """Up to twelve clips for `kept` and every reason, the first by id: rows of the index, with their `shard`."""
    table = read_table(workspace.verdicts, ["clip_id", "shard", "outcome", "reason", "error"])
    outcome = table["outcome"]
    groups = {"kept": pc.equal(outcome, "kept")}
    for name in sorted(pc.unique(table["reason"]).to_pylist()):
        if name:
            groups[name] = pc.equal(table["reason"], name)
    chosen = {}
    for name, mask in groups.items():
        rows = table.filter(mask).select(["clip_id", "shard"]).sort_by("clip_id").slice(0, NUM_EXAMPLES)
        if len(rows):
            chosen[name] = [_clip(workspace, **row) for row in rows.to_pylist()]
    return chosen


def _clip(workspace: Workspace, clip_id: str, shard: int) -> Row:
    rows = read_rows(shard_path(workspace.index, shard))
    return {"shard": shard, **next(row for row in rows if row["clip_id"] == clip_id)}


def failures(workspace: Workspace, num: int = 20) -> list[Row]:
    """Some clips that ended in an error: id, code, detail and path."""
    table = read_table(workspace.verdicts, ["clip_id", "shard", "outcome", "error", "detail"])
    rows = table.filter(pc.equal(table["outcome"], "error")).sort_by("clip_id").slice(0, num).to_pylist()
    return [{**row, "path": _name(_clip(workspace, row["clip_id"], row["shard"]))} for row in rows]


def _name(clip: Row) -> str:
    return "/".join(filter(None, (clip["path"], clip["member"])))


@dataclass(frozen=True)
class Spent:
    """A stage's time: of the clock, while any of its shards was open, and of workers by what they did."""

    stage: str
    num_clips: int
    wall_s: float
    by_scorer_s: dict[str, float]


def time_spent(workspace: Workspace) -> list[Spent]:
    """Of every stage that left timings."""
    found = []
    for folder in sorted((workspace.root / "timings").glob("*")):
        notes = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        if notes:
            found.append(_spent(folder.name, notes))
    return found


def _spent(stage: str, notes: list[Row]) -> Spent:
    by_scorer: dict[str, float] = {}
    for note in notes:
        for name, seconds in note["spent_s"].items():
            by_scorer[name] = by_scorer.get(name, 0.0) + seconds
    return Spent(stage, sum(note["clips"] for note in notes), _union(notes), by_scorer)


def _union(notes: list[Row]) -> float:
    """Seconds covered by at least one of the intervals: pauses between runs do not count."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted((note["started"], note["started"] + note["wall_s"]) for note in notes):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def mismatch_counts(path: Path) -> dict[str, int]:
    """How many of each kind the listing found."""
    if not path.exists():
        return {}
    kinds = read_table(path, ["kind"])["kind"]
    return {row["values"]: row["counts"] for row in pc.value_counts(kinds).to_pylist()}
