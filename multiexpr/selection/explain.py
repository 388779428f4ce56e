"""Explain the verdict on one clip: all scores, all thresholds, and the rule that dropped it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.errors import UserError
from multiexpr.indexing.stage import find_clip
from multiexpr.recipe import Recipe, load_recipe
from multiexpr.selection.copies import COPY_RULES, REASON, find_original
from multiexpr.selection.rules import PERSON_RULES, Rule, people_that_pass, person_number, scorer_rules
from multiexpr.selection.verdicts import DROPPED, KEPT, active_scorers
from multiexpr.storage.columns import Column, from_row
from multiexpr.storage.parquet import read_rows, shard_path
from multiexpr.storage.score_files import FAILED, NOT_YET, STATE
from multiexpr.storage.workspace import Workspace

Row = dict[str, Any]
HEAD = [name for name, _ in STATE]
PASSES = "it passes every rule"


@dataclass(frozen=True)
class RuleResult:
    """Result of one rule on one clip.

    Attributes:
        rule: the rule.
        measured: the clip's value; NaN if the rule does not apply or the clip has no scores for it.
        limit: the threshold.
        passed: None if `measured` is NaN.
        person: number of the person at which a rule on people passes or fails; 0 if there is none.
    """

    rule: Rule
    measured: float
    limit: float
    passed: bool | None
    person: int = 0


@dataclass(frozen=True)
class PersonResult:
    """Result of the rules on one person.

    Attributes:
        number: number of the person, from 1, left to right.
        failed: the first rule that the person fails; None if the person counts.
        measured: the person's value for that rule; NaN if the person counts.
        limit: its threshold.
    """

    number: int
    failed: Rule | None
    measured: float
    limit: float

    def __str__(self) -> str:
        if self.failed is None:
            return f"person {self.number} counts"
        return f"person {self.number} does not count: {self.failed.name} ({_comparison(self)})"


@dataclass(frozen=True)
class Explanation:
    """Explanation of the verdict on a clip; `str` formats it for a terminal.

    Attributes:
        clip: row of the index.
        outcome: kept, dropped, error or pending.
        summary: the reason in words.
        rules: results of all rules, in order.
        people: results of the rules on people by person, left to right; empty if faces are not measured.
        scores: stored rows by scorer.
    """

    clip: Row
    outcome: str
    summary: str
    rules: list[RuleResult]
    people: list[PersonResult]
    scores: dict[str, Row]

    def __str__(self) -> str:
        path = "/".join(filter(None, (self.clip["path"], self.clip["member"])))
        span = ""
        if self.clip["duration_s"]:
            span = f", {self.clip['start_s']:g} s to {self.clip['start_s'] + self.clip['duration_s']:g} s"
        lines = [f"clip {self.clip['clip_id']}: {path}{span}", f"{self.outcome}: {self.summary}", ""]
        lines += [_format_rule(result) for result in self.rules]
        lines += ["", *map(str, self.people)] if self.people else []
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
    rules = [replace(r, passed=None) if _is_hidden(r, rules) else r for r in rules]
    outcome, summary = _outcome(scores, rules)
    if outcome == KEPT and "signature" in recipe.score.optional:
        outcome, summary, copies = _outcome_of_copy(find_original(workspace, row["clip_id"]), recipe)
        rules += copies
    return Explanation(row, outcome, summary, rules, _people(scores, recipe), scores)


def _is_hidden(result: RuleResult, rules: list[RuleResult]) -> bool:
    """Return whether another rule that the clip fails makes the measure of this one unsound."""
    return any(other.passed is False and other.rule.name in result.rule.unless for other in rules)


def _score_row(workspace: Workspace, name: str, shard: int, clip_id: str) -> Row:
    path = shard_path(workspace.scores(name), shard)
    rows = read_rows(path) if path.exists() else []
    return next((row for row in rows if row["clip_id"] == clip_id), {"state": NOT_YET})


def _columns(scores: dict[str, Row]) -> dict[str, Column]:
    return from_row({key: value for row in scores.values() for key, value in row.items()})


def _people(scores: dict[str, Row], recipe: Recipe) -> list[PersonResult]:
    if scores[PERSON_RULES[0].scorer]["state"] in (NOT_YET, FAILED):
        return []
    columns = _columns(scores)
    num_people = len(columns[PERSON_RULES[0].person_column].values)
    return [_person(index, columns, recipe) for index in range(num_people)]


def _person(index: int, columns: dict[str, Column], recipe: Recipe) -> PersonResult:
    for rule in PERSON_RULES:
        if not people_that_pass([rule], columns, recipe.keep)[index]:
            measured = float(columns[rule.person_column].values[index])
            return PersonResult(index + 1, rule, measured, rule.limit(recipe.keep))
    return PersonResult(index + 1, None, np.nan, np.nan)


def _apply_rules(name: str, scores: dict[str, Row], row: Row, recipe: Recipe) -> list[RuleResult]:
    columns = _columns(scores)
    results = []
    for rule in scorer_rules(name):
        limit = rule.limit(recipe.keep)
        if row["state"] in (NOT_YET, FAILED):
            results.append(RuleResult(rule, np.nan, limit, None))
            continue
        measured = rule.measure(columns, recipe.keep)
        passed = None if np.isnan(measured[0]) else not bool(rule.fails(measured, recipe.keep)[0])
        person = int(person_number(rule, columns, recipe.keep)[0]) if rule.person_column else 0
        results.append(RuleResult(rule, float(measured[0]), limit, passed, person))
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
            who = f"person {failed[0].person}: " if failed[0].person else ""
            return DROPPED, f"{failed[0].rule.name} ({who}{_comparison(failed[0])}){also}"
    return KEPT, PASSES


def _outcome_of_copy(copy: Row | None, recipe: Recipe) -> tuple[str, str, list[RuleResult]]:
    """Return outcome, summary and result of the last rule, given the clip's row of `copies.parquet`, if it has one."""
    if copy is None:
        return KEPT, PASSES, []
    rule = COPY_RULES[copy["measure"]]
    limit = rule.limit(recipe.keep)
    result = RuleResult(rule, copy["distance"], limit, copy["distance"] > limit)
    if result.passed:
        return KEPT, PASSES, [result]
    return DROPPED, f"{REASON} ({_comparison(result)}); the better copy is {copy['copy_of']}", [result]


def _comparison(result: RuleResult | PersonResult) -> str:
    rule = result.rule if isinstance(result, RuleResult) else result.failed
    bound = "at least" if rule.at_least else "at most"
    return f"{rule.meaning}: {result.measured:.4g}, expected {bound} {result.limit:g}"


def _format_rule(result: RuleResult) -> str:
    mark = {True: "pass", False: "FAIL", None: "-"}[result.passed]
    sign = ">=" if result.rule.at_least else "<="
    limit = "off" if result.limit == result.rule.off_at else f"{sign} {result.limit:g}"
    measured = "" if np.isnan(result.measured) else f"{result.measured:.4g}"
    threshold = f"keep.{result.rule.threshold}"
    return f"{mark:5}{result.rule.name:16}{measured:>9}  {limit:11}{threshold:36}{result.rule.meaning}"


def _format(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_format(v) for v in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
