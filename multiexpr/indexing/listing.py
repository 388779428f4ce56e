"""The collection as a table: which of its videos are taken up, in which shard, and what does not fit.

Shards of entries are only ever added, so that clips keep their shard when the collection grows; a file that changed
or went is noted in the row it has.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from exprbench.core.errors import UserError
from exprbench.core.files import write_json
from multiexpr.sources import Entry, Place, Problem, SourceOptions, detect, read
from multiexpr.sources.joining import full_name
from multiexpr.storage.parquet import read_rows, read_table, shard_path, shards_in, write_rows
from multiexpr.storage.workspace import Workspace

PLACE = [
    ("path", pa.string()),
    ("parts", pa.list_(pa.string())),
    ("member", pa.string()),
    ("packing", pa.string()),
    ("offset", pa.int64()),
    ("packed_bytes", pa.int64()),
    ("num_bytes", pa.int64()),
    ("stamp", pa.string()),
]
ENTRIES = pa.schema(
    [("key", pa.string()), *PLACE, ("caption", pa.string()), ("source_scores", pa.string()), ("problem", pa.string())]
)
MISMATCHES = pa.schema([("kind", pa.string()), ("path", pa.string()), ("detail", pa.string())])
MANY = 64_000  # entries from which on shards are of full size
SHARD_ROWS, MIN_SHARD_ROWS, SHARDS = 1000, 8, 64
PROBE_BYTES = 1 << 16  # at either end of files of equal size, to tell whether they are the same

Row = dict[str, Any]


@dataclass
class Listed:
    """What a listing found."""

    num_entries: int = 0
    num_new: int = 0
    num_changed: int = 0
    num_gone: int = 0
    num_waiting: int = 0
    mismatches: dict[str, int] = field(default_factory=dict)


def list_collection(
    source: Path,
    workspace: Workspace,
    *,
    kind: str = "auto",
    options: SourceOptions | None = None,
    limit: int | None = None,
    resume: bool = False,
    check_content: bool = True,
    job: str = "",
) -> Listed:
    """Bring the table of entries up to date with the collection.

    Args:
        source: a folder, or one video.
        workspace: where the table lies.
        kind: of collection; `auto` looks.
        options: what a user says about it.
        limit: take up at most so many entries that are not in the table yet; None takes all.
        resume: finish the entries taken up by an earlier, interrupted call before taking up others.
        check_content: leave out files whose content another one has (sizes first, then a look into both).
        job: for whom: see `is_listed`.

    Raises:
        UserError: there is no collection, or the table is of another one.
    """
    kind = _settle_source(source, workspace, kind, options or SourceOptions())
    known = _known(workspace)
    batch = _open_batch(workspace, len(known), limit, resume)
    listed = Listed()
    mismatches: list[Problem] = []
    seen: set[str] = set()
    changed: dict[str, Entry] = {}
    entries = _distinct(read(source, kind, options or SourceOptions()), mismatches, source_root(source), check_content)
    fresh = _not_known(entries, known, seen, changed)
    room = None if batch["upto"] is None else max(0, batch["upto"] - len(known))
    listed.num_new = _add_shards(workspace, islice(fresh, room), batch)
    listed.num_waiting = sum(1 for _ in fresh)
    gone = {key for key, (_, stamp) in known.items() if key not in seen and stamp}
    _note_changes(workspace, known, changed, gone)
    listed.num_changed, listed.num_gone = len(changed), len(gone)
    listed.num_entries = len(known) + listed.num_new
    for problem in mismatches:
        listed.mismatches[problem.kind] = listed.mismatches.get(problem.kind, 0) + 1
    write_rows(workspace.mismatches, [asdict(problem) for problem in mismatches], MISMATCHES)
    write_json(_batch_path(workspace), {**batch, "listed": True, "job": job})
    return listed


def is_listed(workspace: Workspace, job: str = "") -> bool:
    """Has a rank of this job listed the collection? Where the job has no name: is there a listing not used up yet?"""
    path = _batch_path(workspace)
    batch = json.loads(path.read_text()) if path.exists() else {"listed": False}
    return batch["listed"] and (batch.get("job") == job if job else not batch["finished"])


def _batch_path(workspace: Workspace) -> Path:
    return workspace.root / "batch.json"


def source_root(source: Path) -> Path:
    """The folder the paths in the table start from."""
    return source.parent if source.is_file() else source


def finish_batch(workspace: Workspace) -> None:
    """What was taken up is done: the next limited run takes up others."""
    path = _batch_path(workspace)
    if path.exists():
        write_json(path, {**json.loads(path.read_text()), "finished": True})


def _settle_source(source: Path, workspace: Workspace, kind: str, options: SourceOptions) -> str:
    root = source_root(source).resolve()
    if workspace.root.resolve().is_relative_to(root) and source.is_dir():
        raise UserError(f"--out {workspace.root} lies inside the collection {source}; choose a folder beside it")
    kind = detect(source) if kind == "auto" else kind
    if workspace.source.exists():
        before = workspace.collection()["kind"]
        if before != kind:
            raise UserError(f"{workspace.root} was made from a collection of kind {before}, this one is {kind}")
    write_json(workspace.source, {"root": str(root), "kind": kind, "options": asdict(options)})
    return kind


def _open_batch(workspace: Workspace, num_known: int, limit: int | None, resume: bool) -> dict[str, Any]:
    """How many entries there are to be when this run is done, and how they are cut into shards."""
    path = _batch_path(workspace)
    before = json.loads(path.read_text()) if path.exists() else {"finished": True}
    if resume and not before["finished"] and limit is not None:
        return before
    upto = None if limit is None else num_known + limit
    batch = {"upto": upto, "shard_rows": None, "finished": False, "listed": False}
    if not before["finished"] and batch["upto"] is None and before["upto"] is None:
        batch["shard_rows"] = before["shard_rows"]
    write_json(path, batch)
    return batch


def _known(workspace: Workspace) -> dict[str, tuple[int, str]]:
    """key -> (shard, stamp) of the entries in the table."""
    known = {}
    for shard in shards_in(workspace.entries):
        table = read_table(shard_path(workspace.entries, shard), ["key", "stamp"])
        for key, stamp in zip(table["key"].to_pylist(), table["stamp"].to_pylist(), strict=True):
            known[key] = shard, stamp
    return known


def _distinct(
    items: Iterable[Entry | Problem], mismatches: list[Problem], root: Path, check_content: bool
) -> Iterator[Entry]:
    """Entries none of which another one is the same as; problems are put aside."""
    keys: set[str] = set()
    contents = _Contents(root)
    for item in items:
        if isinstance(item, Problem):
            mismatches.append(item)
        elif item.key in keys:
            mismatches.append(Problem("duplicate", full_name(item.place), f"{item.key} comes twice"))
        elif twin := contents.twin(item.place) if check_content else None:
            mismatches.append(Problem("duplicate", full_name(item.place), f"the same as {twin}"))
        else:
            keys.add(item.key)
            yield item


class _Contents:
    """Files seen so far, by size and, where sizes are equal, by checksum or by both of their ends."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.by_size: dict[int, Place] = {}
        self.by_digest: dict[tuple[int, str], str] = {}

    def twin(self, place: Place) -> str | None:
        """Name of a file seen before with the same content."""
        first = self.by_size.setdefault(place.num_bytes, place)
        if first is place:
            return None
        self.by_digest.setdefault((place.num_bytes, self._digest(first)), full_name(first))
        name = self.by_digest.setdefault((place.num_bytes, self._digest(place)), full_name(place))
        return None if name == full_name(place) else name

    def _digest(self, place: Place) -> str:
        if place.crc >= 0:
            return f"crc {place.crc}"
        start = 0 if place.packing == "file" else place.offset
        digest = hashlib.sha256()
        with (self.root / place.path).open("rb") as file:
            for at in (start, max(start, start + place.num_bytes - PROBE_BYTES)):
                file.seek(at)
                digest.update(file.read(min(PROBE_BYTES, place.num_bytes)))
        return digest.hexdigest()


def _not_known(
    entries: Iterable[Entry], known: dict[str, tuple[int, str]], seen: set[str], changed: dict[str, Entry]
) -> Iterator[Entry]:
    """Entries the table lacks; of the others, those whose files changed are put aside."""
    for entry in entries:
        seen.add(entry.key)
        if entry.key not in known:
            yield entry
        elif entry.place.stamp != known[entry.key][1]:
            changed[entry.key] = entry


def _add_shards(workspace: Workspace, entries: Iterator[Entry], batch: dict[str, Any]) -> int:
    """Write the entries in new shards: many small ones of a small collection, so that all workers have some."""
    first = list(islice(entries, MANY))
    if not batch["shard_rows"]:
        many = len(first) == MANY
        batch["shard_rows"] = SHARD_ROWS if many else max(MIN_SHARD_ROWS, -(-len(first) // SHARDS))
        write_json(_batch_path(workspace), batch)
    shard = max(shards_in(workspace.entries), default=-1) + 1
    num_added = 0
    remaining = chain(first, entries)
    while rows := [_row(entry) for entry in islice(remaining, batch["shard_rows"])]:
        write_rows(shard_path(workspace.entries, shard), rows, ENTRIES)
        num_added += len(rows)
        shard += 1
    return num_added


def _row(entry: Entry) -> Row:
    place = {name: getattr(entry.place, name) for name, _ in PLACE}
    scores = json.dumps(entry.scores, sort_keys=True, ensure_ascii=False) if entry.scores else ""
    return {"key": entry.key, **place, "caption": entry.caption, "source_scores": scores, "problem": ""}


def _note_changes(
    workspace: Workspace, known: dict[str, tuple[int, str]], changed: dict[str, Entry], gone: set[str]
) -> None:
    for shard in sorted({known[key][0] for key in {*changed, *gone}}):
        path = shard_path(workspace.entries, shard)
        write_rows(path, [_noted(row, changed, gone) for row in read_rows(path)], ENTRIES)


def _noted(row: Row, changed: dict[str, Entry], gone: set[str]) -> Row:
    if row["key"] in gone:
        return {**row, "stamp": "", "problem": "missing_file"}
    return _row(changed[row["key"]]) if row["key"] in changed else row
