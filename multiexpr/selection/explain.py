"""`multiexpr why CLIP`: every score, every threshold, and the rule that dropped it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.errors import UserError
from multiexpr.indexing.stage import find_clip
from multiexpr.recipe import Recipe, load_recipe
from multiexpr.selection.rules import Rule, rules_of
from multiexpr.selection.verdicts import scorers_used
from multiexpr.storage.columns import from_row
from multiexpr.storage.parquet import read_rows, shard_path
from multiexpr.storage.score_files import FAILED, NOT_YET, STATE
from multiexpr.storage.workspace import Workspace

Row = dict[str, Any]
HEAD = [name for name, _ in STATE]


@dataclass(frozen=True)
class RuleResult:
    """One rule on one clip. `passed` is None where it does not apply or its scores are not there."""

    rule: Rule
    measured: float
    limit: float
    passed: bool | None


@dataclass(frozen=True)
class Explanation:
    """All that is known of a clip."""

    clip: Row
    outcome: str
    because: str
    rules: list[RuleResult]
    scores: dict[str, Row]

    def __str__(self) -> str:
        where = "/".join(filter(None, (self.clip["path"], self.clip["member"])))
        span = f" from {self.clip['start_s']:g} s, {self.clip['duration_s']:g} s" if self.clip["duration_s"] else ""
        lines = [f"clip {self.clip['clip_id']}: {where}{span}", f"{self.outcome}: {self.because}", ""]
        lines += [_rule_line(judged) for judged in self.rules]
        for name, row in self.scores.items():
            lines += ["", f"{name} ({row['state'] or 'not measured'})"]
            lines += [f"  {key} = {_short(value)}" for key, value in row.items() if key not in HEAD]
        return "\n".join(lines)


def why(out: Path | str, clip: str, *, recipe: Recipe | None = None) -> Explanation:
    """Explain what becomes of a clip.

    Args:
        out: the curation's folder.
        clip: its id, the beginning of it, or the path of its file in the collection.
        recipe: as `select` would apply; the one in use where none is given.

    Raises:
        UserError: there is no such clip.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    found = find_clip(workspace, clip)
    if found is None:
        raise UserError(f"no clip {clip!r} in {workspace.index}; ids stand in verdicts.parquet")
    return explain(workspace, recipe, *found)


def explain(workspace: Workspace, recipe: Recipe, shard: int, row: Row) -> Explanation:
    """The same of a row of the index whose shard is known."""
    scores = {name: _score_row(workspace, name, shard, row["clip_id"]) for name in scorers_used(workspace, recipe)}
    rules = [judged for name, columns in scores.items() for judged in _judge(name, scores, columns, recipe)]
    outcome, because = _outcome(scores, rules)
    return Explanation(row, outcome, because, rules, scores)


def _score_row(workspace: Workspace, name: str, shard: int, clip_id: str) -> Row:
    path = shard_path(workspace.scores(name), shard)
    rows = read_rows(path) if path.exists() else []
    return next((row for row in rows if row["clip_id"] == clip_id), {"state": NOT_YET})


def _judge(name: str, scores: dict[str, Row], row: Row, recipe: Recipe) -> list[RuleResult]:
    columns = from_row({key: value for other in scores.values() for key, value in other.items()})
    judged = []
    for rule in rules_of(name):
        limit = rule.limit(recipe.keep)
        if row["state"] in (NOT_YET, FAILED):
            judged.append(RuleResult(rule, np.nan, limit, None))
            continue
        measured = rule.measure(columns, recipe.keep)
        passed = None if np.isnan(measured[0]) else not bool(rule.fails(measured, recipe.keep)[0])
        judged.append(RuleResult(rule, float(measured[0]), limit, passed))
    return judged


def _outcome(scores: dict[str, Row], rules: list[RuleResult]) -> tuple[str, str]:
    for name, row in scores.items():
        if row["state"] == FAILED:
            return "error", f"{row['error']} ({row['detail']})"
        if row["state"] == NOT_YET:
            return "pending", f"{name} is not measured yet"
        failed = [judged for judged in rules if judged.rule.scorer == name and judged.passed is False]
        if failed:
            others = [j.rule.name for j in rules if j.passed is False and j is not failed[0]]
            also = f"; also {', '.join(others)}" if others else ""
            return "dropped", f"{failed[0].rule.name} ({_comparison(failed[0])}){also}"
    return "kept", "it passes every rule"


def _comparison(judged: RuleResult) -> str:
    wanted = "at least" if judged.rule.at_least else "at most"
    return f"{judged.rule.meaning}: {judged.measured:.4g}, wanted {wanted} {judged.limit:g}"


def _rule_line(judged: RuleResult) -> str:
    mark = {True: "pass", False: "FAIL", None: "-"}[judged.passed]
    sign = ">=" if judged.rule.at_least else "<="
    off = judged.limit == judged.rule.off_at
    wanted = "off" if off else f"{sign} {judged.limit:g}"
    measured = "" if np.isnan(judged.measured) else f"{judged.measured:.4g}"
    threshold = f"keep.{judged.rule.threshold}"
    return f"{mark:5}{judged.rule.name:14}{measured:>10}  {wanted:12}{threshold:32}{judged.rule.meaning}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
