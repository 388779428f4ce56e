"""Verdicts: a pure function of scores and a recipe. Kept, dropped for a reason, or an error with a code."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from exprbench.errors import UserError
from exprbench.files import atomic_path, write_json
from multiexpr.columns import Column, from_table
from multiexpr.recipe import Keep, Recipe
from multiexpr.rules import RULES, Rule, rules_of
from multiexpr.scorers import container
from multiexpr.tables import read_note, shard_path, shards_in
from multiexpr.workspace import Workspace

KEPT, DROPPED, ERROR, PENDING = "kept", "dropped", "error", "pending"
OUTCOMES = (KEPT, DROPPED, ERROR, PENDING)
SHARDS_AT_A_TIME = 250
UNDECIDED = 255

VERDICTS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("shard", pa.int32()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("error", pa.string()),
        ("detail", pa.string()),
    ]
)


@dataclass
class Funnel:
    """How many clips came to each rule and how many it dropped, in order; how many ended otherwise."""

    num_clips: int = 0
    came: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    num_kept: int = 0
    num_pending: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "clips": self.num_clips,
            "steps": [{"reason": r, "came": self.came[r], "dropped": self.dropped[r]} for r in self.came],
            "kept": self.num_kept,
            "dropped": sum(self.dropped.values()),
            "errors": dict(sorted(self.errors.items())),
            "pending": self.num_pending,
        }


@dataclass(frozen=True)
class Scores:
    """Scores of N clips: by scorer, which were measured, which failed, and the columns the rules read."""

    clip_ids: pa.Array
    shards: np.ndarray
    measured: dict[str, np.ndarray]
    failed: dict[str, np.ndarray]
    columns: dict[str, Column]
    errors: dict[str, tuple[pa.Array, pa.Array]]

    def __len__(self) -> int:
        return len(self.clip_ids)


@dataclass(frozen=True)
class Verdicts:
    """What becomes of N clips.

    Attributes:
        outcome: (N,) index into `OUTCOMES`.
        first: (N,) index into `rules` of the reason; -1 where there is none.
        failing: by rule, (N,) bool.
        failed_at: (N,) index into `order` of the scorer that failed; -1.
    """

    rules: tuple[Rule, ...]
    outcome: np.ndarray
    first: np.ndarray
    failing: list[np.ndarray]
    came: list[np.ndarray]
    failed_at: np.ndarray


def scorers_used(workspace: Workspace, recipe: Recipe) -> list[str]:
    """The scorers whose rules apply, in order; of the two aesthetic ones, that of the recipe, or the one that ran."""
    order = [container.NAME, *dict.fromkeys(rule.scorer for rule in RULES if rule.scorer != container.NAME)]
    method = recipe.score.aesthetics.method
    if method == "auto":
        method = "laion" if shards_in(workspace.scores("laion")) else "photomotion"
    return [name for name in order if name not in ("laion", "photomotion") or name == method]


def judge(scores: Scores, keep: Keep, order: Sequence[str]) -> Verdicts:
    """Walk the scorers in order: the first error or failed rule decides; a gap before that leaves a clip pending."""
    num = len(scores)
    outcome = np.full(num, UNDECIDED, np.uint8)
    first, failed_at = np.full(num, -1, np.int16), np.full(num, -1, np.int16)
    rules, failing, came = [], [], []
    for position, name in enumerate(order):
        open_ = outcome == UNDECIDED
        outcome[open_ & scores.failed[name]] = OUTCOMES.index(ERROR)
        failed_at[open_ & scores.failed[name]] = position
        outcome[open_ & ~scores.failed[name] & ~scores.measured[name]] = OUTCOMES.index(PENDING)
        for rule in rules_of(name):
            fails = rule.fails(rule.measure(scores.columns, keep), keep) & scores.measured[name]
            came.append(outcome == UNDECIDED)
            hit = came[-1] & fails
            outcome[hit] = OUTCOMES.index(DROPPED)
            first[hit] = len(rules)
            rules.append(rule)
            failing.append(fails)
    outcome[outcome == UNDECIDED] = OUTCOMES.index(KEPT)
    return Verdicts(tuple(rules), outcome, first, failing, came, failed_at)


def load_scores(workspace: Workspace, shards: Sequence[int], order: Sequence[str]) -> Scores:
    """The scores of some shards; of clips whose files changed since, nothing counts as measured.

    Raises:
        UserError: a file is damaged.
    """
    try:
        return _load_scores(workspace, shards, order)
    except (pa.ArrowInvalid, OSError) as error:
        paths = [shard_path(workspace.scores(name), shard) for name in order for shard in shards]
        damaged = [path for path in paths if path.exists() and read_note(path) is None]
        if not damaged:
            raise
        told = f"{damaged[0]} is damaged; `multiexpr score {workspace.root}` makes it again"
        raise UserError(told) from error


def _load_scores(workspace: Workspace, shards: Sequence[int], order: Sequence[str]) -> Scores:
    index = _concat(workspace.index, shards, ["clip_id", "stamp"])
    sizes = [pq.read_metadata(shard_path(workspace.index, shard)).num_rows for shard in shards]
    clip_ids, stamps = index["clip_id"].combine_chunks(), index["stamp"].combine_chunks()
    measured, failed, columns, errors = {}, {}, {}, {}
    for name in order:
        table = _scores_table(workspace, name, shards, sizes)
        current = _equal(table["clip_id"], clip_ids) & _equal(table["stamp"], stamps)
        state = table["state"]
        measured[name] = current & _equal(state, "scored")
        failed[name] = current & _equal(state, "error")
        errors[name] = table["error"].combine_chunks(), table["detail"].combine_chunks()
        columns.update(from_table(table))
    return Scores(clip_ids, np.repeat(shards, sizes), measured, failed, columns, errors)


def _equal(array: pa.ChunkedArray, other: Any) -> np.ndarray:
    import pyarrow.compute as pc

    return pc.fill_null(pc.equal(array, other), False).to_numpy(zero_copy_only=False)


def _concat(folder: Path, shards: Sequence[int], columns: Sequence[str] | None) -> pa.Table:
    paths = [str(shard_path(folder, shard)) for shard in shards]
    return ds.dataset(paths, format="parquet").to_table(columns=None if columns is None else list(columns))


def _scores_table(workspace: Workspace, name: str, shards: Sequence[int], sizes: Sequence[int]) -> pa.Table:
    """A scorer's columns for all clips of the shards; null where a shard was not scored or is of other clips."""
    there = set(shards_in(workspace.scores(name)))
    schema = pa.schema(_needed_columns(workspace, name, sorted(there)))
    tables = []
    for group in _runs([shard in there for shard in shards]):
        chosen = [shards[i] for i in group]
        if shards[group[0]] in there:
            tables.append(_concat(workspace.scores(name), chosen, schema.names).cast(schema))
        else:
            tables.append(_nulls(schema, sum(sizes[i] for i in group)))
    table = pa.concat_tables(tables)
    if len(table) == sum(sizes):
        return table
    return pa.concat_tables(_fitted(workspace, name, s, n, schema) for s, n in zip(shards, sizes, strict=True))


def _runs(flags: list[bool]) -> Iterator[list[int]]:
    """Positions in runs of equal flags."""
    run: list[int] = []
    for i, flag in enumerate(flags):
        if run and flags[run[0]] != flag:
            yield run
            run = []
        run.append(i)
    if run:
        yield run


def _fitted(workspace: Workspace, name: str, shard: int, size: int, schema: pa.Schema) -> pa.Table:
    path = shard_path(workspace.scores(name), shard)
    table = pq.read_table(path, columns=schema.names).cast(schema) if path.exists() else None
    return table if table is not None and len(table) == size else _nulls(schema, size)


def _nulls(schema: pa.Schema, count: int) -> pa.Table:
    return pa.table({f.name: pa.nulls(count, f.type) for f in schema})


def _needed_columns(workspace: Workspace, name: str, there: list[int]) -> list[pa.Field]:
    """The state of the rows, and every number; texts about the container do not decide anything."""
    head = [pa.field(n, pa.string()) for n in ("clip_id", "stamp", "state", "error", "detail")]
    if not there:
        return head + _absent(name)
    schema = pq.read_schema(shard_path(workspace.scores(name), there[0]))
    known = {f.name for f in head}
    return head + [f for f in schema.remove_metadata() if f.name not in known and not pa.types.is_string(f.type)]


def _absent(name: str) -> list[pa.Field]:
    """Columns the rules would read of a scorer that has not written any yet."""
    from multiexpr.models import Models
    from multiexpr.scorers import make_scorers

    scorers = make_scorers(Recipe(), Models(Recipe()))
    columns = {container.NAME: container.COLUMNS, **{s.name: s.columns for s in scorers}}.get(name, [])
    return [pa.field(n, t) for n, t in columns if not pa.types.is_string(t)]


def select(workspace: Workspace, recipe: Recipe) -> Funnel:
    """Write a verdict on every clip; the funnel of it all. Nothing is measured: it takes seconds.

    Raises:
        UserError: there is no index.
    """
    order = scorers_used(workspace, recipe)
    shards = workspace.indexed()
    funnel = Funnel()
    with atomic_path(workspace.verdicts) as temporary, pq.ParquetWriter(temporary, VERDICTS, compression="zstd") as out:
        for start in range(0, len(shards), SHARDS_AT_A_TIME):
            scores = load_scores(workspace, shards[start : start + SHARDS_AT_A_TIME], order)
            verdicts = judge(scores, recipe.keep, order)
            out.write_table(_as_table(scores, verdicts, order))
            _count(funnel, scores, verdicts, order)
    write_json(workspace.root / "funnel.json", funnel.as_dict())
    return funnel


def _as_table(scores: Scores, verdicts: Verdicts, order: Sequence[str]) -> pa.Table:
    names = pa.array([*(rule.name for rule in verdicts.rules), ""])
    error, detail = _errors(scores, verdicts, order)
    return pa.table(
        {
            "clip_id": scores.clip_ids,
            "shard": pa.array(scores.shards, pa.int32()),
            "outcome": pa.array(OUTCOMES).take(pa.array(verdicts.outcome)),
            "reason": names.take(pa.array(verdicts.first % len(names), pa.int32())),
            "reasons": _all_reasons(verdicts),
            "error": error,
            "detail": detail,
        },
        schema=VERDICTS,
    )


def _all_reasons(verdicts: Verdicts) -> pa.Array:
    """Every rule a clip fails, in order; few different sets of them occur."""
    masks = sum(fails.astype(np.int64) << i for i, fails in enumerate(verdicts.failing))
    sets, which = np.unique(masks, return_inverse=True)
    lists = [[rule.name for i, rule in enumerate(verdicts.rules) if mask >> i & 1] for mask in sets.tolist()]
    return pa.array(lists, pa.list_(pa.string())).take(pa.array(which))


def _errors(scores: Scores, verdicts: Verdicts, order: Sequence[str]) -> tuple[pa.Array, pa.Array]:
    error, detail = np.full(len(scores), "", object), np.full(len(scores), "", object)
    for position, name in enumerate(order):
        rows = np.flatnonzero(verdicts.failed_at == position)
        for target, source in zip((error, detail), scores.errors[name], strict=True):
            target[rows] = source.take(pa.array(rows)).to_pylist()
    return pa.array(error, pa.string()), pa.array(detail, pa.string())


def _count(funnel: Funnel, scores: Scores, verdicts: Verdicts, order: Sequence[str]) -> None:
    funnel.num_clips += len(scores)
    for i, rule in enumerate(verdicts.rules):
        funnel.came[rule.name] += int(verdicts.came[i].sum())
        funnel.dropped[rule.name] += int((verdicts.first == i).sum())
    codes = _errors(scores, verdicts, order)[0]
    funnel.errors.update(code for code in codes.to_pylist() if code)
    funnel.num_kept += int((verdicts.outcome == OUTCOMES.index(KEPT)).sum())
    funnel.num_pending += int((verdicts.outcome == OUTCOMES.index(PENDING)).sum())
