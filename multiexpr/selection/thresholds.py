"""Propose thresholds that keep a given number of clips, with the relative strictness of the recipe's rules.

Each rule passes a share p of the clips that reach it. The proposal makes all rules stricter or looser together: each
passes a share of p ** power, with one power for all that is found by bisection; a power of 1 gives the recipe itself.
Rules on the kind of clip (length, number of people, cuts, brightness) and rules that drop nothing are not changed.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multiexpr.recipe import Keep, Recipe
from multiexpr.selection.rules import PERSON_RULES, READS, Rule, enough_people_pass, scorer_rules
from multiexpr.selection.verdicts import SHARDS_PER_BATCH, Scores, active_scorers, load_scores
from multiexpr.storage.columns import Columns, concatenate, take
from multiexpr.storage.workspace import Workspace

MAX_POWER, NUM_BISECTIONS = 64.0, 40
DIGITS = 4  # significant digits of thresholds


@dataclass(frozen=True)
class Proposal:
    """Proposal of thresholds.

    Attributes:
        recipe: the recipe with the proposed thresholds.
        num_kept: number of clips that it keeps.
        num_reachable: number of fully scored clips that pass all rules that are not tunable.
        num_unknown: number of clips that pass these rules as far as is known, but are not fully scored; they count as
            dropped.
        changes: `keep.section.key` -> (threshold before, threshold proposed).
    """

    recipe: Recipe
    num_kept: int
    num_reachable: int
    num_unknown: int
    changes: dict[str, tuple[float, float]]


def propose(workspace: Workspace, recipe: Recipe, target: int) -> Proposal:
    """Return thresholds that keep about `target` clips."""
    order = active_scorers(workspace, recipe)
    rules = [rule for name in order for rule in scorer_rules(name) if rule.tunable]
    candidates, num_unknown = _candidates(workspace, recipe, order, rules)
    num_passing = int(_passing(candidates, rules, recipe.keep).sum())
    shares = _passing_shares(candidates, rules, recipe.keep, equal=target < num_passing)
    power = _find_power(candidates, rules, recipe.keep, shares, min(target, len(candidates)))
    keep, kept = _stricter(candidates, rules, recipe.keep, shares, power)
    limits = {f"keep.{rule.threshold}": (rule.limit(recipe.keep), rule.limit(keep)) for rule in rules}
    changes = {key: pair for key, pair in limits.items() if pair[0] != pair[1]}
    return Proposal(replace(recipe, keep=keep), int(kept.sum()), len(candidates), num_unknown, changes)


@dataclass(frozen=True)
class _Candidates:
    """Columns of the K fully scored clips that pass the rules that are not tunable."""

    columns: Columns
    num: int

    def __len__(self) -> int:
        return self.num


def _candidates(workspace: Workspace, recipe: Recipe, order: list[str], rules: list[Rule]) -> tuple[_Candidates, int]:
    """Return the candidates and `num_unknown`."""
    parts, num, num_unknown = [], 0, 0
    shards = workspace.indexed_shards()
    read = {name for rule in rules for name in READS[rule.scorer]}
    for start in range(0, len(shards), SHARDS_PER_BATCH):
        scores = load_scores(workspace, shards[start : start + SHARDS_PER_BATCH], order)
        eligible = _passes_fixed_rules(scores, recipe.keep, order)
        complete = np.all([scores.measured[name] for name in order], axis=0)
        num_unknown += int((eligible & ~complete & ~np.any([scores.failed[name] for name in order], axis=0)).sum())
        parts.append(take({name: scores.columns[name] for name in read}, eligible & complete))
        num += int((eligible & complete).sum())
    return _Candidates(concatenate(parts), num), num_unknown


def _passes_fixed_rules(scores: Scores, keep: Keep, order: list[str]) -> np.ndarray:
    """Return which of N clips fail no rule that is not tunable, as far as they are scored, (N,) bool."""
    eligible = np.ones(len(scores), bool)
    for name in order:
        for rule in scorer_rules(name):
            if not (rule.tunable or rule.person_column):
                eligible &= ~(rule.fails(rule.measure(scores.columns, keep), keep) & scores.measured[name])
    fixed = [rule for rule in PERSON_RULES if not rule.tunable]
    return eligible & (enough_people_pass(fixed, scores.columns, keep) | ~scores.measured[PERSON_RULES[0].scorer])


def _passing(candidates: _Candidates, rules: list[Rule], keep: Keep) -> np.ndarray:
    """Return which candidates pass all rules, (K,) bool."""
    passing = np.ones(len(candidates), bool)
    for rule in rules:
        passing &= ~rule.fails(rule.measure(candidates.columns, keep), keep)
    return passing


def _passing_shares(candidates: _Candidates, rules: list[Rule], keep: Keep, *, equal: bool) -> np.ndarray:
    """Return the share of clips that each rule passes, of those that reach it, (R,); with `equal`, 0.5 if all are 1."""
    remaining = np.ones(len(candidates), bool)
    shares = []
    for rule in rules:
        passing = remaining & ~rule.fails(rule.measure(candidates.columns, keep), keep)
        shares.append(max(passing.sum(), 0.5) / max(remaining.sum(), 1))
        remaining = passing
    capped = np.minimum(shares, 1.0)
    return np.full(len(capped), 0.5) if equal and (capped == 1).all() else capped


def _stricter(
    candidates: _Candidates, rules: list[Rule], keep: Keep, shares: np.ndarray, power: float
) -> tuple[Keep, np.ndarray]:
    """Return thresholds that pass `shares ** power`, one rule after the other, and which clips pass all, (K,) bool.

    A rule on people is measured after the earlier thresholds have changed, because they change who counts.
    """
    remaining = np.ones(len(candidates), bool)
    for rule, share in zip(rules, shares, strict=True):
        measured = rule.measure(candidates.columns, keep)
        if share < 1 and remaining.any():
            ranked = np.sort(measured[remaining])
            num_dropped = min(round((1 - share**power) * len(ranked)), len(ranked) - 1)
            keep = _with_limit(keep, rule.threshold, _round_down(float(ranked[num_dropped])))
        remaining &= ~rule.fails(measured, keep)
    return keep, remaining & enough_people_pass(PERSON_RULES, candidates.columns, keep)


def _round_down(value: float) -> float:
    """Return a value rounded down to four significant digits, so that the threshold drops no clip at the value."""
    if not value:
        return 0.0
    scale = 10.0 ** (DIGITS - 1 - int(np.floor(np.log10(abs(value)))))
    return float(np.floor(value * scale) / scale)


def _find_power(candidates: _Candidates, rules: list[Rule], keep: Keep, shares: np.ndarray, target: int) -> float:
    """Return the largest power that keeps at least `target` clips."""
    low, high = 0.0, MAX_POWER
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        if _stricter(candidates, rules, keep, shares, middle)[1].sum() >= target:
            low = middle
        else:
            high = middle
    return low


def _with_limit(keep: Keep, threshold: str, limit: float) -> Keep:
    section, key = threshold.split(".")
    changed: Any = replace(getattr(keep, section), **{key: limit})
    return replace(keep, **{section: changed})
