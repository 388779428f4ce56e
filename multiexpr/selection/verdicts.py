"""Verdicts: a pure function of stored scores and a recipe: kept, dropped for a reason, or an error with a code."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exprbench.core.errors import UserError
from exprbench.core.files import atomic_path, write_json
from exprbench.core.progress import say
from multiexpr.recipe import Keep, Recipe
from multiexpr.scorers import container
from multiexpr.selection.copies import REASON, copies_among, drop_copies
from multiexpr.selection.rules import READS, RULES, Rule, people_that_count, person_number, scorer_rules
from multiexpr.storage.columns import Column, from_table
from multiexpr.storage.parquet import list_shards, read_metadata, read_parts, schema_metadata, shard_path
from multiexpr.storage.workspace import Workspace

KEPT, DROPPED, ERROR, PENDING = "kept", "dropped", "error", "pending"
OUTCOMES = (KEPT, DROPPED, ERROR, PENDING)
SHARDS_PER_BATCH = 100
UNDECIDED = 255
AESTHETICS = ("photomotion", "laion", "musiq")  # methods, of which the recipe names one
OPTIONAL = ("overlays", "nsfw")  # scorers of rules that apply only if the recipe names them
LIST_SCORERS = ("people", "motion")  # scorers that write a list per clip

VERDICTS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("shard", pa.int32()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("person", pa.int32()),
        ("reasons", pa.list_(pa.string())),
        ("people", pa.list_(pa.int32())),
        ("error", pa.string()),
        ("detail", pa.string()),
    ]
)


@dataclass
class Funnel:
    """Numbers of clips that reached each rule, in order, and that it dropped; of errors by code, kept and pending."""

    num_clips: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    num_kept: int = 0
    num_pending: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the funnel as plain values, as stored in `funnel.json`."""
        return {
            "clips": self.num_clips,
            "steps": [{"reason": r, "came": self.reached[r], "dropped": self.dropped[r]} for r in self.reached],
            "kept": self.num_kept,
            "dropped": sum(self.dropped.values()),
            "errors": dict(sorted(self.errors.items())),
            "pending": self.num_pending,
        }


@dataclass(frozen=True)
class Scores:
    """Scores of N clips.

    Attributes:
        clip_ids: (N,) ids.
        shards: (N,) numbers of the shards.
        measured: by scorer, (N,) bool.
        failed: by scorer, (N,) bool.
        columns: columns that the rules read, by name.
        errors: by scorer, (N,) codes and (N,) details.
        made_with: by scorer, hashes of the settings and models that its scores were made with.
    """

    clip_ids: pa.Array
    shards: np.ndarray
    measured: dict[str, np.ndarray]
    failed: dict[str, np.ndarray]
    columns: dict[str, Column]
    errors: dict[str, tuple[pa.Array, pa.Array]]
    made_with: dict[str, set[str]]

    def __len__(self) -> int:
        return len(self.clip_ids)


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on N clips.

    Attributes:
        rules: the rules, in order.
        outcome: (N,) index into `OUTCOMES`.
        first: (N,) index into `rules` of the reason; -1 if the clip is not dropped.
        failing: by rule, (N,) bool, whether a clip fails it.
        reached: by rule, (N,) bool, whether a clip passed everything before it.
        failed_at: (N,) index into the order of scorers of the one with an error; -1 if there is no error.
        person: (N,) number, from 1 and left to right, of the person that the reason is about; 0 if it is about none.
        people: numbers of the people who count, by clip; empty if the faces of a clip are not measured.
    """

    rules: tuple[Rule, ...]
    outcome: np.ndarray
    first: np.ndarray
    failing: list[np.ndarray]
    reached: list[np.ndarray]
    failed_at: np.ndarray
    person: np.ndarray
    people: list[list[int]]


def active_scorers(workspace: Workspace, recipe: Recipe) -> list[str]:
    """Return the scorers whose rules apply, in order.

    Of the aesthetic scorers, only that of the recipe applies; with the method `auto`, the one that has scores.
    """
    order = [container.NAME, *dict.fromkeys(rule.scorer for rule in RULES if rule.scorer != container.NAME)]
    order = [name for name in order if name not in OPTIONAL or name in recipe.score.optional]
    method = recipe.score.aesthetics.method
    if method == "auto":
        method = "laion" if list_shards(workspace.scores("laion")) else "photomotion"
    return [name for name in order if name not in AESTHETICS or name == method]


def judge(scores: Scores, keep: Keep, order: Sequence[str]) -> Verdicts:
    """Return verdicts: the first error or failed rule decides; a clip with missing scores before that is pending."""
    num = len(scores)
    outcome = np.full(num, UNDECIDED, np.uint8)
    first, failed_at = np.full(num, -1, np.int16), np.full(num, -1, np.int16)
    person = np.zeros(num, np.int32)
    rules, failing, reached = [], [], []
    for position, name in enumerate(order):
        undecided = outcome == UNDECIDED
        outcome[undecided & scores.failed[name]] = OUTCOMES.index(ERROR)
        failed_at[undecided & scores.failed[name]] = position
        outcome[undecided & ~scores.failed[name] & ~scores.measured[name]] = OUTCOMES.index(PENDING)
        for rule in scorer_rules(name):
            fails = rule.fails(rule.measure(scores.columns, keep), keep) & scores.measured[name]
            for other, other_fails in zip(rules, failing, strict=True):
                if other.name in rule.unless:
                    fails &= ~other_fails
            reached.append(outcome == UNDECIDED)
            dropped = reached[-1] & fails
            outcome[dropped] = OUTCOMES.index(DROPPED)
            first[dropped] = len(rules)
            if rule.person_column:
                person[dropped] = person_number(rule, scores.columns, keep)[dropped]
            rules.append(rule)
            failing.append(fails)
    outcome[outcome == UNDECIDED] = OUTCOMES.index(KEPT)
    people = people_that_count(scores.columns, keep)
    return Verdicts(tuple(rules), outcome, first, failing, reached, failed_at, person, people)


def load_scores(workspace: Workspace, shards: Sequence[int], order: Sequence[str]) -> Scores:
    """Return the scores of shards; clips whose files have changed since they were scored count as not measured.

    Raises:
        UserError: a file is damaged.
    """
    try:
        return _load_scores(workspace, shards, order)
    except (pa.ArrowInvalid, OSError) as error:
        paths = [shard_path(workspace.scores(name), shard) for name in order for shard in shards]
        damaged = [path for path in paths if path.exists() and read_metadata(path) is None]
        if not damaged:
            raise
        message = f"{damaged[0]} is damaged; write it again with: multiexpr score {workspace.root}"
        raise UserError(message) from error


def _load_scores(workspace: Workspace, shards: Sequence[int], order: Sequence[str]) -> Scores:
    parts = [_read(shard_path(workspace.index, shard), ["clip_id", "stamp"]) for shard in shards]
    sizes, index = [len(part) for part in parts], pa.concat_tables(parts)
    clip_ids, stamps = index["clip_id"].combine_chunks(), index["stamp"].combine_chunks()
    measured, failed, columns, errors, made_with = {}, {}, {}, {}, {}
    for name in order:
        paths = [shard_path(workspace.scores(name), shard) for shard in shards]
        table, made_with[name] = _scores_table(paths, sizes, name)
        current = _equal(table["clip_id"], clip_ids) & _equal(table["stamp"], stamps)
        state = table["state"]
        measured[name] = current & _equal(state, "scored")
        failed[name] = current & _equal(state, "error")
        errors[name] = table["error"].combine_chunks(), table["detail"].combine_chunks()
        columns.update(from_table(table))
    return Scores(clip_ids, np.repeat(shards, sizes), measured, failed, columns, errors, made_with)


def _equal(array: pa.ChunkedArray, other: Any) -> np.ndarray:
    import pyarrow.compute as pc

    return pc.fill_null(pc.equal(array, other), False).to_numpy(zero_copy_only=False)


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    """Return columns of a small file, in half the time of `read_table` because it starts no threads."""
    with pq.ParquetFile(path) as file:
        return file.read(list(columns), use_threads=False)


def _scores_table(paths: Sequence[Path], sizes: Sequence[int], name: str) -> tuple[pa.Table, set[str]]:
    """Return the state of all clips of shards with the columns of a scorer that the rules read, and its fingerprints.

    Rows are null for shards that are not scored, or whose file has another number of clips.
    """
    existing = next((path for path in paths if path.exists()), None)
    schema = _schema(pq.read_schema(existing).remove_metadata() if existing else None, name)
    tables = [_read_or_null(path, size, schema) for path, size in zip(paths, sizes, strict=True)]
    made_with = {schema_metadata(table.schema).get("fingerprint", "") for table in tables} - {""}
    return pa.concat_tables(tables), made_with


def _read_or_null(path: Path, size: int, schema: pa.Schema) -> pa.Table:
    table = _read(path, schema.names) if path.exists() else None
    if table is not None and (missing := set(schema.names) - set(table.column_names)):
        message = f"{path} is of an earlier version, without {min(missing)}; measure again with: multiexpr score"
        raise UserError(f"{message} {path.parents[2]}")
    if table is None or len(table) != size:
        return pa.table({f.name: pa.nulls(size, f.type) for f in schema}, schema=schema)
    return table if table.schema == schema else table.cast(schema.with_metadata(table.schema.metadata))


def _schema(existing: pa.Schema | None, name: str) -> pa.Schema:
    head = [pa.field(n, pa.string()) for n in ("clip_id", "stamp", "state", "error", "detail")]
    dtype = pa.list_(pa.float64()) if name in LIST_SCORERS else pa.float64()
    stored = existing.names if existing else []
    return pa.schema(head + [existing.field(c) if c in stored else pa.field(c, dtype) for c in READS[name]])


def judge_shards(workspace: Workspace, recipe: Recipe, order: Sequence[str]) -> Iterator[tuple[Scores, Verdicts]]:
    """Yield the scores of all clips, some shards at a time, with the verdicts of the rules.

    Raises:
        UserError: there is no index, or a file of scores is damaged.
    """
    shards = workspace.indexed_shards()
    for start in range(0, len(shards), SHARDS_PER_BATCH):
        scores = load_scores(workspace, shards[start : start + SHARDS_PER_BATCH], order)
        yield scores, judge(scores, recipe.keep, order)


def select(workspace: Workspace, recipe: Recipe, *, save: bool = True) -> Funnel:
    """Return the funnel and, with `save`, write a verdict on every clip; only stored scores are read.

    Raises:
        UserError: there is no index, or a file of scores is damaged.
    """
    order = active_scorers(workspace, recipe)
    funnel, made_with, kept = Funnel(), defaultdict(set), []
    with _verdict_writer(workspace) if save else nullcontext() as out:
        for scores, verdicts in judge_shards(workspace, recipe, order):
            if out:
                out.write_table(_as_table(scores, verdicts, order))
            _count(funnel, scores, verdicts, order)
            for name, fingerprints in scores.made_with.items():
                made_with[name] |= fingerprints
            kept.append(_kept_clips(scores, verdicts))
    _say_mixed(workspace, made_with)
    copies = _copies_among(workspace, recipe, order, kept)
    if "signature" in recipe.score.optional:
        funnel.reached[REASON], funnel.dropped[REASON] = funnel.num_kept, len(copies)
        funnel.num_kept -= len(copies)
    if save:
        drop_copies(workspace, copies)
        write_json(workspace.root / "funnel.json", funnel.as_dict())
    return funnel


def _say_mixed(workspace: Workspace, made_with: Mapping[str, set[str]]) -> None:
    """Print the names of the scorers that have scores of several settings."""
    if mixed := [name for name, fingerprints in made_with.items() if len(fingerprints) > 1]:
        say(
            f"select: scores of different settings are mixed ({', '.join(mixed)}); make them equal with: "
            f"multiexpr score {workspace.root}"
        )


def near_duplicates(workspace: Workspace, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the near-duplicates among the clips that the rules keep, the last step of the funnel; see `COPIES`."""
    if "signature" not in recipe.score.optional:
        return []
    order = active_scorers(workspace, recipe)
    kept = [_kept_clips(scores, verdicts) for scores, verdicts in judge_shards(workspace, recipe, order)]
    return _copies_among(workspace, recipe, order, kept)


def _copies_among(
    workspace: Workspace, recipe: Recipe, order: Sequence[str], kept: Sequence[pa.Table]
) -> list[dict[str, Any]]:
    if "signature" not in recipe.score.optional:
        return []
    quality = next(name for name in order if name in AESTHETICS)
    return copies_among(workspace, pa.concat_tables(kept), recipe.keep.copies, quality)


def _kept_clips(scores: Scores, verdicts: Verdicts) -> pa.Table:
    rows = np.flatnonzero(verdicts.outcome == OUTCOMES.index(KEPT))
    return pa.table({"clip_id": scores.clip_ids.take(pa.array(rows)), "shard": pa.array(scores.shards[rows])})


@contextmanager
def _verdict_writer(workspace: Workspace) -> Iterator[pq.ParquetWriter]:
    with atomic_path(workspace.verdicts) as temporary, pq.ParquetWriter(temporary, VERDICTS, compression="zstd") as out:
        yield out


def _as_table(scores: Scores, verdicts: Verdicts, order: Sequence[str]) -> pa.Table:
    names = pa.array([*(rule.name for rule in verdicts.rules), ""])
    error, detail = _errors(scores, verdicts, order)
    return pa.table(
        {
            "clip_id": scores.clip_ids,
            "shard": pa.array(scores.shards, pa.int32()),
            "outcome": pa.array(OUTCOMES).take(pa.array(verdicts.outcome)),
            "reason": names.take(pa.array(verdicts.first % len(names), pa.int32())),
            "person": pa.array(verdicts.person, pa.int32()),
            "reasons": _all_reasons(verdicts),
            "people": pa.array(verdicts.people, pa.list_(pa.int32())),
            "error": error,
            "detail": detail,
        },
        schema=VERDICTS,
    )


def _all_reasons(verdicts: Verdicts) -> pa.Array:
    """Return the names of all rules that each clip fails, in order; only few different lists occur."""
    masks = sum(fails.astype(np.int64) << i for i, fails in enumerate(verdicts.failing))
    unique_masks, index = np.unique(masks, return_inverse=True)
    lists = [[rule.name for i, rule in enumerate(verdicts.rules) if mask >> i & 1] for mask in unique_masks.tolist()]
    return pa.array(lists, pa.list_(pa.string())).take(pa.array(index))


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
        funnel.reached[rule.name] += int(verdicts.reached[i].sum())
        funnel.dropped[rule.name] += int((verdicts.first == i).sum())
    codes = _errors(scores, verdicts, order)[0]
    funnel.errors.update(code for code in codes.to_pylist() if code)
    funnel.num_kept += int((verdicts.outcome == OUTCOMES.index(KEPT)).sum())
    funnel.num_pending += int((verdicts.outcome == OUTCOMES.index(PENDING)).sum())


def kept_by_shard(workspace: Workspace) -> dict[int, dict[str, list[int]]]:
    """Return the ids of kept clips with the numbers of the people who count, by shard.

    Raises:
        UserError: there are no verdicts.
    """
    import pyarrow.compute as pc

    if not workspace.verdicts.exists():
        raise UserError(
            f"there are no verdicts in {workspace.root}; create them with: multiexpr select {workspace.root}"
        )
    kept: dict[int, dict[str, list[int]]] = defaultdict(dict)
    for part in read_parts(workspace.verdicts, ["clip_id", "shard", "outcome", "people"]):
        for row in part.filter(pc.equal(part["outcome"], KEPT)).to_pylist():
            kept[row["shard"]][row["clip_id"]] = row["people"]
    return dict(kept)
