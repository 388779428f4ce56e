"""Numbers of the report: histograms of scores, examples by reason, errors, timings."""

import json
from dataclasses import dataclass
from heapq import nsmallest
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from multiexpr.recipe import Recipe
from multiexpr.selection.rules import Rule, scorer_rules
from multiexpr.selection.verdicts import ERROR, KEPT, SHARDS_PER_BATCH, active_scorers, load_scores
from multiexpr.storage.parquet import read_parts, read_rows, read_table, shard_path
from multiexpr.storage.workspace import Workspace

MAX_SHARDS = 400  # number of shards, evenly chosen, that histograms are computed from
NUM_BINS = 40
NUM_EXAMPLES = 12
TAIL = 0.995  # quantile at the end of the axis; larger values are counted in the last bin

Row = dict[str, Any]


@dataclass(frozen=True)
class Histogram:
    """Histogram of the values that a rule compares with its threshold.

    Attributes:
        rule: the rule.
        counts: (NUM_BINS,) number of clips by bin.
        edges: (NUM_BINS + 1,) edges of the bins.
        limit: threshold.
        num_clips: number of clips that the rule applies to.
        num_failing: number of these that it drops.
    """

    rule: Rule
    counts: np.ndarray
    edges: np.ndarray
    limit: float
    num_clips: int
    num_failing: int


def histograms(workspace: Workspace, recipe: Recipe) -> tuple[list[Histogram], int]:
    """Return a histogram per rule, of the clips that it applies to, and the number of clips they were computed from."""
    order = active_scorers(workspace, recipe)
    shards = workspace.indexed_shards()
    chosen = [
        shards[i] for i in sorted({round(i) for i in np.linspace(0, len(shards) - 1, min(len(shards), MAX_SHARDS))})
    ]
    rules = [rule for name in order for rule in scorer_rules(name)]
    values: list[list[np.ndarray]] = [[] for _ in rules]
    num_clips = 0
    for start in range(0, len(chosen), SHARDS_PER_BATCH):
        scores = load_scores(workspace, chosen[start : start + SHARDS_PER_BATCH], order)
        num_clips += len(scores)
        for parts, rule in zip(values, rules, strict=True):
            measured = rule.measure(scores.columns, recipe.keep)
            parts.append(measured[scores.measured[rule.scorer] & ~np.isnan(measured)])
    plots = [_histogram(rule, np.concatenate(parts), recipe) for rule, parts in zip(rules, values, strict=True)]
    return [plot for plot in plots if plot], num_clips


def _histogram(rule: Rule, values: np.ndarray, recipe: Recipe) -> Histogram | None:
    if not len(values):
        return None
    limit = rule.limit(recipe.keep)
    shown = [*np.quantile(values, (1 - TAIL, TAIL)), *([limit] if limit != rule.off_at else [])]
    low, high = min(0.0, *shown), max(shown)
    edges = np.linspace(low, high if high > low else low + 1, NUM_BINS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    num_failing = int(rule.fails(values, recipe.keep).sum())
    return Histogram(rule, counts, edges, limit, len(values), num_failing)


def examples(workspace: Workspace) -> dict[str, list[Row]]:
    """Return up to `NUM_EXAMPLES` clips, the first by id, for `kept` and every reason: index rows with their shard."""
    found: dict[str, list[Row]] = {KEPT: []}
    for part in read_parts(workspace.verdicts, ["clip_id", "shard", "outcome", "reason"]):
        masks = {name: pc.equal(part["reason"], name) for name in pc.unique(part["reason"]).to_pylist() if name}
        masks[KEPT] = pc.equal(part["outcome"], KEPT)
        for name, mask in masks.items():
            rows = part.filter(mask).select(["clip_id", "shard"])
            found[name] = _first_by_id(found.get(name, []), rows, NUM_EXAMPLES)
    groups = {KEPT: found.pop(KEPT), **dict(sorted(found.items()))}
    return {name: [find_clip_row(workspace, **row) for row in rows] for name, rows in groups.items() if rows}


def _first_by_id(found: list[Row], table: pa.Table, num: int) -> list[Row]:
    """Return the first `num` rows by clip id among those found before and those of a table."""
    first = table.take(pc.select_k_unstable(table, num, [("clip_id", "ascending")]))
    return nsmallest(num, [*found, *first.to_pylist()], key=itemgetter("clip_id"))


def find_clip_row(workspace: Workspace, clip_id: str, shard: int) -> Row:
    """Return a clip's row of the index, with its shard."""
    rows = read_rows(shard_path(workspace.index, shard))
    return {"shard": shard, **next(row for row in rows if row["clip_id"] == clip_id)}


def failures(workspace: Workspace, num: int = 20) -> list[Row]:
    """Return the first `num` clips with errors: id, code, detail and path."""
    found: list[Row] = []
    for part in read_parts(workspace.verdicts, ["clip_id", "shard", "outcome", "error", "detail"]):
        found = _first_by_id(found, part.filter(pc.equal(part["outcome"], ERROR)), num)
    return [{**row, "path": clip_name(find_clip_row(workspace, row["clip_id"], row["shard"]))} for row in found]


def clip_name(clip: Row) -> str:
    """Return the path of a clip's video in the collection, followed by the name inside its archive."""
    return "/".join(filter(None, (clip["path"], clip["member"])))


@dataclass(frozen=True)
class StageTiming:
    """Timing of a stage.

    Attributes:
        stage: name of the stage.
        num_clips: number of clips processed.
        wall_s: wall time during which at least one shard was open.
        by_scorer_s: time of workers by scorer, and `decode`.
        num_failed: number of clips that failed when their shard was last processed.
    """

    stage: str
    num_clips: int
    wall_s: float
    by_scorer_s: dict[str, float]
    num_failed: int = 0


def time_spent(workspace: Workspace) -> list[StageTiming]:
    """Return the timing of every stage that has run."""
    timings = []
    for folder in sorted((workspace.root / "timings").glob("*")):
        shards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
        if shards:
            timings.append(_sum_timings(folder.name, shards))
    return timings


def _sum_timings(stage: str, shards: list[Row]) -> StageTiming:
    by_scorer_s: dict[str, float] = {}
    for shard in shards:
        for name, seconds in shard["spent_s"].items():
            by_scorer_s[name] = by_scorer_s.get(name, 0.0) + seconds
    num_clips, num_failed = (sum(shard.get(name, 0) for shard in shards) for name in ("clips", "errors"))
    return StageTiming(stage, num_clips, _union_s(shards), by_scorer_s, num_failed)


def _union_s(shards: list[Row]) -> float:
    """Return the seconds covered by at least one interval, without pauses between runs."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted((shard["started"], shard["started"] + shard["wall_s"]) for shard in shards):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def mismatch_counts(path: Path) -> dict[str, int]:
    """Return the number of mismatches by kind."""
    if not path.exists():
        return {}
    kinds = read_table(path, ["kind"])["kind"]
    return {row["values"]: row["counts"] for row in pc.value_counts(kinds).to_pylist()}
