"""Thresholds that keep a wanted number of clips, every rule as strict beside the others as the recipe has it.

A rule lets through a share p of what comes to it. All rules are made more or less strict together: they let through p
to the power of one number, which is 1 for the recipe itself; that number is searched for. Rules that say what kind of
clips are wanted (length, number of people, cuts) stay as they are, and so do rules that drop nothing.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multiexpr.recipe import Keep, Recipe
from multiexpr.selection.rules import Rule, rules_of
from multiexpr.selection.verdicts import SHARDS_AT_A_TIME, Scores, load_scores, scorers_used
from multiexpr.storage.workspace import Workspace

STRICTEST, ROUNDS = 64.0, 60
DIGITS = 4


@dataclass(frozen=True)
class Proposal:
    """A recipe, how many of the clips scored so far it keeps, and how many any recipe of this kind could.

    `num_unknown` clips were dropped by the rules in use before all was measured of them: they count as dropped.
    """

    recipe: Recipe
    num_kept: int
    num_reachable: int
    num_unknown: int
    changes: dict[str, tuple[float, float]]


def propose(workspace: Workspace, recipe: Recipe, target: int) -> Proposal:
    """Thresholds for about `target` clips."""
    order = scorers_used(workspace, recipe)
    rules = [rule for name in order for rule in rules_of(name) if rule.tunable]
    values, num_unknown = _candidates(workspace, recipe, order, rules)
    given = [rule.limit(recipe.keep) for rule in rules]
    shares = _shares(values, given, evenly=target < _num_passing(values, given))
    power = _search(values, given, shares, min(target, len(values)))
    limits, kept = _limits(values, given, shares, power)
    keep, changes = recipe.keep, {}
    for rule, before, after in zip(rules, given, limits, strict=True):
        keep = _with_limit(keep, rule.threshold, after)
        if after != before:
            changes[f"keep.{rule.threshold}"] = before, after
    return Proposal(replace(recipe, keep=keep), int(kept.sum()), len(values), num_unknown, changes)


def _candidates(workspace: Workspace, recipe: Recipe, order: list[str], rules: list[Rule]) -> tuple[np.ndarray, int]:
    """(K, R) what the rules measure of the clips that are of the wanted kind; how many are not known to be."""
    parts, num_unknown = [], 0
    shards = workspace.indexed()
    for start in range(0, len(shards), SHARDS_AT_A_TIME):
        scores = load_scores(workspace, shards[start : start + SHARDS_AT_A_TIME], order)
        wanted = _of_the_kind(scores, recipe.keep, order)
        complete = np.all([scores.measured[name] for name in order], axis=0)
        num_unknown += int((wanted & ~complete & ~np.any([scores.failed[name] for name in order], axis=0)).sum())
        measured = [rule.measure(scores.columns, recipe.keep)[wanted & complete] for rule in rules]
        parts.append(np.stack(measured, axis=1) if measured else np.zeros((0, 0)))
    return np.concatenate(parts), num_unknown


def _of_the_kind(scores: Scores, keep: Keep, order: list[str]) -> np.ndarray:
    """Clips that fail none of the rules that stay, as far as is known."""
    wanted = np.ones(len(scores), bool)
    for name in order:
        for rule in rules_of(name):
            if not rule.tunable:
                wanted &= ~(rule.fails(rule.measure(scores.columns, keep), keep) & scores.measured[name])
    return wanted


def _num_passing(values: np.ndarray, limits: list[float]) -> int:
    return int(np.all(~(values < np.array(limits)), axis=1).sum())


def _shares(values: np.ndarray, limits: list[float], *, evenly: bool) -> np.ndarray:
    """(R,) share each rule lets through of what comes to it; `evenly`: where none drops anything, all are to."""
    left = np.ones(len(values), bool)
    shares = []
    for column, limit in zip(values.T, limits, strict=True):
        passing = left & ~(column < limit)
        shares.append(max(passing.sum(), 0.5) / max(left.sum(), 1))
        left = passing
    found = np.minimum(shares, 1.0)
    return np.full(len(found), 0.5) if evenly and (found == 1).all() else found


def _limits(values: np.ndarray, given: list[float], shares: np.ndarray, power: float) -> tuple[list[float], np.ndarray]:
    """Thresholds that let through `shares ** power`, one after the other, and which clips are left."""
    left = np.ones(len(values), bool)
    limits = []
    for column, share, limit in zip(values.T, shares, given, strict=True):
        if share < 1 and left.any():
            ranked = np.sort(column[left])
            num_dropped = min(round((1 - share**power) * len(ranked)), len(ranked) - 1)
            limits.append(_rounded_down(float(ranked[num_dropped])))
        else:
            limits.append(limit)
        left &= ~(column < limits[-1])
    return limits, left


def _rounded_down(value: float) -> float:
    """To four significant digits: a threshold people can read, that drops no clip which lies on it."""
    if not value:
        return 0.0
    scale = 10.0 ** (DIGITS - 1 - int(np.floor(np.log10(abs(value)))))
    return float(np.floor(value * scale) / scale)


def _search(values: np.ndarray, given: list[float], shares: np.ndarray, target: int) -> float:
    """The largest power that still leaves as many clips as wanted."""
    low, high = 0.0, STRICTEST
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        if _limits(values, given, shares, middle)[1].sum() >= target:
            low = middle
        else:
            high = middle
    return low


def _with_limit(keep: Keep, threshold: str, limit: float) -> Keep:
    section, key = threshold.split(".")
    changed: Any = replace(getattr(keep, section), **{key: limit})
    return replace(keep, **{section: changed})
