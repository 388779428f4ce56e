"""Explain the verdict on one clip: all scores, all thresholds, and the rule that dropped it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.errors import UserError
from multiexpr.indexing.stage import find_clip
from multiexpr.recipe import Recipe, load_recipe
from multiexpr.selection.rules import Rule, scorer_rules
from multiexpr.selection.verdicts import active_scorers
from multiexpr.storage.columns import from_row
from multiexpr.storage.parquet import read_rows, shard_path
from multiexpr.storage.score_files import FAILED, NOT_YET, STATE
from multiexpr.storage.workspace import Workspace

Row = dict[str, Any]
HEAD = [name for name, _ in STATE]


@dataclass(frozen=True)
class RuleResult:
    """Result of one rule on one clip.

    Attributes:
        rule: the rule.
        measured: the clip's value; NaN if the rule does not apply or the clip has no scores for it.
        limit: the threshold.
        passed: None if `measured` is NaN.
    """

    rule: Rule
    measured: float
    limit: float
    passed: bool | None


@dataclass(frozen=True)
class Explanation:
    """Explanation of the verdict on a clip; `str` formats it for a terminal.

    Attributes:
        clip: row of the index.
        outcome: kept, dropped, error or pending.
        summary: the reason in words.
        rules: results of all rules, in order.
        scores: stored rows by scorer.
    """

    clip: Row
    outcome: str
    summary: str
    rules: list[RuleResult]
    scores: dict[str, Row]

    def __str__(self) -> str:
        path = "/".join(filter(None, (self.clip["path"], self.clip["member"])))
        span = ""
        if self.clip["duration_s"]:
            span = f", {self.clip['start_s']:g} s to {self.clip['start_s'] + self.clip['duration_s']:g} s"
        lines = [f"clip {self.clip['clip_id']}: {path}{span}", f"{self.outcome}: {self.summary}", ""]
        lines += [_format_rule(result) for result in self.rules]
        for name, row in self.scores.items():
            lines += ["", f"{name} ({row['state'] or 'not measured'})"]
            lines += [f"  {key} = {_format(value)}" for key, value in row.items() if key not in HEAD]
        return "\n".join(lines)


def why(out: Path | str, clip: str, *, recipe: Recipe | None = None) -> Explanation:
    """Explain the verdict on a clip.

    Args:
        out: folder of the curation.
        clip: clip id, its first digits, or the path of the video in the collection.
        recipe: its thresholds apply; None uses `out/recipe.toml`.

    Raises:
        UserError: there is no such clip.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    match = find_clip(workspace, clip)
    if match is None:
        raise UserError(
            f"there is no clip {clip!r} in {workspace.index}; expected an id from {workspace.verdicts} or a path"
        )
    return explain(workspace, recipe, *match)


def explain(workspace: Workspace, recipe: Recipe, shard: int, row: Row) -> Explanation:
    """Explain the verdict on a clip, given its shard and its row of the index."""
    scores = {name: _score_row(workspace, name, shard, row["clip_id"]) for name in active_scorers(workspace, recipe)}
    rules = [result for name, columns in scores.items() for result in _apply_rules(name, scores, columns, recipe)]
    outcome, summary = _outcome(scores, rules)
    return Explanation(row, outcome, summary, rules, scores)


def _score_row(workspace: Workspace, name: str, shard: int, clip_id: str) -> Row:
    path = shard_path(workspace.scores(name), shard)
    rows = read_rows(path) if path.exists() else []
    return next((row for row in rows if row["clip_id"] == clip_id), {"state": NOT_YET})


def _apply_rules(name: str, scores: dict[str, Row], row: Row, recipe: Recipe) -> list[RuleResult]:
    columns = from_row({key: value for other in scores.values() for key, value in other.items()})
    results = []
    for rule in scorer_rules(name):
        limit = rule.limit(recipe.keep)
        if row["state"] in (NOT_YET, FAILED):
            results.append(RuleResult(rule, np.nan, limit, None))
            continue
        measured = rule.measure(columns, recipe.keep)
        passed = None if np.isnan(measured[0]) else not bool(rule.fails(measured, recipe.keep)[0])
        results.append(RuleResult(rule, float(measured[0]), limit, passed))
    return results


def _outcome(scores: dict[str, Row], rules: list[RuleResult]) -> tuple[str, str]:
    for name, row in scores.items():
        if row["state"] == FAILED:
            return "error", f"{row['error']} ({row['detail']})"
        if row["state"] == NOT_YET:
            return "pending", f"{name} is not measured yet"
        failed = [result for result in rules if result.rule.scorer == name and result.passed is False]
        if failed:
            others = [r.rule.name for r in rules if r.passed is False and r is not failed[0]]
            also = f"; also {', '.join(others)}" if others else ""
            return "dropped", f"{failed[0].rule.name} ({_comparison(failed[0])}){also}"
    return "kept", "it passes every rule"


def _comparison(result: RuleResult) -> str:
    bound = "at least" if result.rule.at_least else "at most"
    return f"{result.rule.meaning}: {result.measured:.4g}, expected {bound} {result.limit:g}"


def _format_rule(result: RuleResult) -> str:
    mark = {True: "pass", False: "FAIL", None: "-"}[result.passed]
    sign = ">=" if result.rule.at_least else "<="
    limit = "off" if result.limit == result.rule.off_at else f"{sign} {result.limit:g}"
    measured = "" if np.isnan(result.measured) else f"{result.measured:.4g}"
    threshold = f"keep.{result.rule.threshold}"
    return f"{mark:5}{result.rule.name:14}{measured:>10}  {limit:12}{threshold:32}{result.rule.meaning}"


def _format(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_format(v) for v in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
