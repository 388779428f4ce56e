"""Compare the verdicts of two recipes on the stored scores, without saving any."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from heapq import nsmallest
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from multiexpr.recipe import Keep, Recipe
from multiexpr.reporting.numbers import NUM_EXAMPLES, find_clip_row
from multiexpr.selection.copies import REASON
from multiexpr.selection.verdicts import (
    DROPPED,
    KEPT,
    OUTCOMES,
    SHARDS_PER_BATCH,
    Scores,
    Verdicts,
    active_scorers,
    judge,
    load_scores,
    near_duplicates,
)
from multiexpr.storage.workspace import Workspace

Row = dict[str, Any]


@dataclass
class Changes:
    """Effect of changed thresholds.

    Attributes:
        settings: values before and after, by key of the recipe.
        transitions: number of clips by their verdicts before and after: `kept`, a reason, `error` or `pending`.
        entering: index rows, with their shard, of the first clips by id that only the new thresholds keep.
        leaving: the same for clips that only the old thresholds keep.
    """

    settings: dict[str, tuple[object, object]]
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    entering: list[Row] = field(default_factory=list)
    leaving: list[Row] = field(default_factory=list)

    @property
    def num_before(self) -> int:
        """Return the number of clips that the old thresholds keep."""
        return sum(count for (before, _), count in self.transitions.items() if before == KEPT)

    @property
    def num_after(self) -> int:
        """Return the number of clips that the new thresholds keep."""
        return sum(count for (_, after), count in self.transitions.items() if after == KEPT)


def compare(workspace: Workspace, before: Recipe, after: Recipe) -> Changes:
    """Return what the thresholds of `after` change, in memory that grows only with the number of near-duplicates.

    Raises:
        UserError: there is no index, or a file of scores is damaged.
    """
    changes = Changes(changed_settings(before.keep, after.keep))
    orders = [active_scorers(workspace, recipe) for recipe in (before, after)]
    scorers = list(dict.fromkeys(chain(*orders)))
    entering: list[tuple[str, int]] = []
    leaving: list[tuple[str, int]] = []
    copies = [{row["clip_id"] for row in near_duplicates(workspace, recipe)} for recipe in (before, after)]
    shards = workspace.indexed_shards()
    for start in range(0, len(shards), SHARDS_PER_BATCH):
        scores = load_scores(workspace, shards[start : start + SHARDS_PER_BATCH], scorers)
        old, new = (
            _names(scores, judge(scores, recipe.keep, order), copied)
            for recipe, order, copied in zip((before, after), orders, copies, strict=True)
        )
        changes.transitions.update(
            (a, b) for a, b in zip(old.tolist(), new.tolist(), strict=True) if a != b or a == KEPT
        )
        for found, mask in ((entering, (old != KEPT) & (new == KEPT)), (leaving, (old == KEPT) & (new != KEPT))):
            rows = np.flatnonzero(mask)
            ids = scores.clip_ids.take(pa.array(rows)).to_pylist()
            found[:] = nsmallest(NUM_EXAMPLES, [*found, *zip(ids, scores.shards[rows].tolist(), strict=True)])
    changes.entering = [find_clip_row(workspace, *found) for found in entering]
    changes.leaving = [find_clip_row(workspace, *found) for found in leaving]
    return changes


def _names(scores: Scores, verdicts: Verdicts, copies: set[str]) -> np.ndarray:
    """Return the verdict on each clip in one word: the reason if it is dropped, else the outcome."""
    outcomes = np.array(OUTCOMES, object)[verdicts.outcome]
    reasons = np.array([*(rule.name for rule in verdicts.rules), ""], object)[verdicts.first]
    is_copy = pc.is_in(scores.clip_ids, pa.array(sorted(copies), pa.string())).to_numpy(zero_copy_only=False)
    return np.where(is_copy, REASON, np.where(outcomes == DROPPED, reasons, outcomes))


def changed_settings(before: Keep, after: Keep) -> dict[str, tuple[object, object]]:
    """Return the values that differ, before and after, by key such as `keep.people.min_share`."""
    old, new = dict(_flat(asdict(before))), dict(_flat(asdict(after)))
    return {f"keep.{key}": (old[key], new[key]) for key in old if old[key] != new[key]}


def _flat(table: Row, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
