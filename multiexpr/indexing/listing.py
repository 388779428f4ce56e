"""Listing: writes the videos of a collection as a table of entries, in shards, and the files and rows that mismatch.

Shards of entries are only added, never renumbered, so that clips keep their shard when the collection grows. The row of
a file that changed or disappeared is updated in place.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from exprbench.core.errors import UserError
from exprbench.core.files import write_json
from exprbench.core.text import printable, replace_surrogates
from multiexpr.sources import Entry, Location, Problem, SourceOptions, detect, read_collection
from multiexpr.sources.joining import full_path
from multiexpr.sources.on_disk import DiskDict
from multiexpr.storage.parquet import list_shards, read_rows, read_table, shard_path, table_writer, write_rows
from multiexpr.storage.workspace import Workspace

LOCATION = [
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
    [
        ("key", pa.string()),
        *LOCATION,
        ("caption", pa.string()),
        ("source_scores", pa.string()),
        ("problem", pa.string()),
    ]
)
MISMATCHES = pa.schema([("kind", pa.string()), ("path", pa.string()), ("detail", pa.string())])
MANY = 64_000  # number of entries from which on shards have full size
SHARD_ROWS, MIN_SHARD_ROWS, SHARDS = 1000, 8, 64
MAX_DETAIL = 1000  # characters of a path or detail in the table of mismatches
PROBE_BYTES = 1 << 16  # at both ends of files of equal size, to detect equal content

Row = dict[str, Any]


@dataclass
class ListingSummary:
    """Numbers of a listing: entries in the table, new, changed and missing ones, files not listed yet, mismatches."""

    num_entries: int = 0
    num_new: int = 0
    num_changed: int = 0
    num_missing: int = 0
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
) -> ListingSummary:
    """Update the table of entries from the collection and return a summary.

    Args:
        source: a folder, or one video.
        workspace: folder of the curation.
        kind: kind of collection; `auto` detects it.
        options: names of columns and paths that differ from the usual ones.
        limit: maximum number of entries to add to the table; None adds all.
        resume: finish the entries of an interrupted call before adding others.
        check_content: skip files whose content equals that of another file: same size, and same checksum or ends.
        job: id of the Slurm job; see `is_listed`.

    Raises:
        UserError: there is no collection, or the table belongs to a collection of another kind.
    """
    options = options or SourceOptions()
    kind = _register_source(source, workspace, kind, options)
    known = _known_entries(workspace)
    batch = _open_batch(workspace, len(known), limit, resume)
    summary = ListingSummary()
    seen, changed = DiskDict(), DiskDict()
    with _mismatch_table(workspace, summary) as add_mismatch:
        items = read_collection(source, kind, options)
        entries = _drop_duplicates(items, seen, add_mismatch, source_root(source), check_content)
        new = _new_entries(entries, known, changed)
        max_new = None if batch["upto"] is None else max(0, batch["upto"] - len(known))
        shards = list_shards(workspace.entries)
        summary.num_new = _add_shards(workspace, islice(new, max_new), batch)
        summary.num_waiting = sum(1 for _ in new)
    summary.num_changed, summary.num_missing = len(changed), _update_shards(workspace, shards, seen, changed)
    summary.num_entries = len(known) + summary.num_new
    write_json(_batch_path(workspace), {**batch, "listed": True, "job": job})
    return summary


@contextmanager
def _mismatch_table(workspace: Workspace, summary: ListingSummary) -> Iterator[Callable[[Problem], None]]:
    """Write the table of mismatches: yield a function that adds a row and counts it."""
    rows: list[Row] = []
    with table_writer(workspace.mismatches, MISMATCHES) as write:

        def add(problem: Problem) -> None:
            summary.mismatches[problem.kind] = summary.mismatches.get(problem.kind, 0) + 1
            rows.append(_problem_row(problem))
            if len(rows) == MANY:
                write(rows)
                rows.clear()

        yield add
        write(rows)


def is_listed(workspace: Workspace, job: str = "") -> bool:
    """Return whether a rank of this job has listed the collection.

    Without a job id: return whether there is a listing whose batch is not finished.
    """
    path = _batch_path(workspace)
    batch = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"listed": False}
    return batch["listed"] and (batch.get("job") == job if job else not batch["finished"])


def _batch_path(workspace: Workspace) -> Path:
    return workspace.root / "batch.json"


def source_root(source: Path) -> Path:
    """Return the folder that paths in the table are relative to."""
    return source.parent if source.is_file() else source


def finish_batch(workspace: Workspace) -> None:
    """Mark the listed entries as done: the next run with a limit adds others."""
    path = _batch_path(workspace)
    if path.exists():
        write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "finished": True})


def _register_source(source: Path, workspace: Workspace, kind: str, options: SourceOptions) -> str:
    """Write the source of the workspace and return the kind of collection."""
    root = source_root(source).resolve()
    if workspace.root.resolve().is_relative_to(root) and source.is_dir():
        raise UserError(f"--out {workspace.root} is inside the collection {source}; choose a folder outside of it")
    if printable(str(root)) != str(root):
        raise UserError(f"the path {printable(str(root))} is not UTF-8; rename its folders")
    kind = detect(source) if kind == "auto" else kind
    if workspace.source.exists():
        previous = workspace.collection()["kind"]
        if previous != kind:
            raise UserError(
                f"{workspace.root} belongs to a collection of kind {previous}, {source} is of kind {kind}; "
                "choose another --out, or the right --kind"
            )
    write_json(workspace.source, {"root": str(root), "kind": kind, "options": asdict(options)})
    return kind


def _open_batch(workspace: Workspace, num_known: int, limit: int | None, resume: bool) -> dict[str, Any]:
    """Return the batch of this run: the number of entries after it (`upto`, None for all) and the size of shards."""
    path = _batch_path(workspace)
    previous = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"finished": True}
    if resume and not previous["finished"] and limit is not None:
        return previous
    upto = None if limit is None else num_known + limit
    batch = {"upto": upto, "shard_rows": None, "finished": False, "listed": False}
    if not previous["finished"] and batch["upto"] is None and previous["upto"] is None:
        batch["shard_rows"] = previous["shard_rows"]
    write_json(path, batch)
    return batch


def _known_entries(workspace: Workspace) -> DiskDict:
    """Return the stamps of the entries in the table, by key."""
    known = DiskDict()
    for shard in list_shards(workspace.entries):
        for key, stamp in _keys_and_stamps(workspace, shard):
            known[key] = stamp
    return known


def _keys_and_stamps(workspace: Workspace, shard: int) -> list[tuple[str, str]]:
    table = read_table(shard_path(workspace.entries, shard), ["key", "stamp"])
    return list(zip(table["key"].to_pylist(), table["stamp"].to_pylist(), strict=True))


def _drop_duplicates(
    items: Iterable[Entry | Problem],
    keys: DiskDict,
    add_mismatch: Callable[[Problem], None],
    root: Path,
    check_content: bool,
) -> Iterator[Entry]:
    """Yield entries with distinct keys, which are added to `keys`, and contents; add problems and duplicates."""
    contents = _ContentIndex(root)
    for item in items:
        if isinstance(item, Problem):
            add_mismatch(item)
        elif item.key in keys:
            add_mismatch(Problem("duplicate", full_path(item.location), f"{item.key} comes twice"))
        elif original := contents.find_duplicate(item.location) if check_content else None:
            add_mismatch(Problem("duplicate", full_path(item.location), f"the same as {original}"))
        else:
            keys[item.key] = None
            caption = replace_surrogates(item.caption)
            if caption != item.caption:
                add_mismatch(Problem("suspicious_caption", item.key, "half characters in it were replaced"))
            yield item if caption == item.caption else replace(item, caption=caption)


def _problem_row(problem: Problem) -> Row:
    return {name: printable(text)[:MAX_DETAIL] for name, text in asdict(problem).items()}


class _ContentIndex:
    """Index of files by size and, if sizes are equal, by checksum or by the bytes at both ends."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.by_size = DiskDict()  # first location of each size, of files without a checksum
        self.by_digest = DiskDict()  # first path of each size and digest

    def find_duplicate(self, location: Location) -> str | None:
        """Return the path of an earlier file with the same content, None if there is none."""
        if location.crc < 0:
            first = self.by_size.setdefault(str(location.num_bytes), location)
            if first == location:
                return None
            self._first_path(first, self._ends(first))
        name = self._first_path(location, str(location.crc) if location.crc >= 0 else self._ends(location))
        return None if name == full_path(location) else name

    def _first_path(self, location: Location, digest: str) -> str:
        return self.by_digest.setdefault(f"{location.num_bytes} {digest}", full_path(location))

    def _ends(self, location: Location) -> str:
        """Return the checksum of the first and last bytes of a file; its path if it cannot be read."""
        start = 0 if location.packing == "file" else location.offset
        digest = hashlib.sha256()
        try:
            with (self.root / location.path).open("rb") as file:
                for offset in (start, max(start, start + location.num_bytes - PROBE_BYTES)):
                    file.seek(offset)
                    digest.update(file.read(min(PROBE_BYTES, location.num_bytes)))
        except OSError:  # scoring raises the same error and records it
            return full_path(location)
        return digest.hexdigest()


def _new_entries(entries: Iterable[Entry], known: DiskDict, changed: DiskDict) -> Iterator[Entry]:
    """Yield entries that are not in the table; add those with new stamps to `changed`, by key."""
    for entry in entries:
        stamp = known.get(entry.key)
        if stamp is None:
            yield entry
        elif entry.location.stamp != stamp:
            changed[entry.key] = entry


def _add_shards(workspace: Workspace, entries: Iterator[Entry], batch: dict[str, Any]) -> int:
    """Write entries in new shards and return their number; small collections get small shards, to use all workers."""
    first = list(islice(entries, MANY))
    if not batch["shard_rows"]:
        many = len(first) == MANY
        batch["shard_rows"] = SHARD_ROWS if many else max(MIN_SHARD_ROWS, -(-len(first) // SHARDS))
        write_json(_batch_path(workspace), batch)
    shard = max(list_shards(workspace.entries), default=-1) + 1
    num_added = 0
    remaining = chain(first, entries)
    while rows := [_row(entry) for entry in islice(remaining, batch["shard_rows"])]:
        write_rows(shard_path(workspace.entries, shard), rows, ENTRIES)
        num_added += len(rows)
        shard += 1
    return num_added


def _row(entry: Entry) -> Row:
    location = {name: value for name, value in entry.location._asdict().items() if name != "crc"}
    scores = json.dumps(entry.scores, sort_keys=True, ensure_ascii=False) if entry.scores else ""
    scores = replace_surrogates(scores)
    return {"key": entry.key, **location, "caption": entry.caption, "source_scores": scores, "problem": ""}


def _update_shards(workspace: Workspace, shards: Iterable[int], seen: DiskDict, changed: DiskDict) -> int:
    """Write shards with changed or missing videos again, and return the number of missing ones."""
    num_missing = 0
    for shard in shards:
        keys = _keys_and_stamps(workspace, shard)
        missing = {key for key, stamp in keys if stamp and key not in seen}
        num_missing += len(missing)
        if missing or (len(changed) and any(key in changed for key, _ in keys)):
            path = shard_path(workspace.entries, shard)
            write_rows(path, [_update_row(row, changed, missing) for row in read_rows(path)], ENTRIES)
    return num_missing


def _update_row(row: Row, changed: DiskDict, missing: set[str]) -> Row:
    if row["key"] in missing:
        return {**row, "stamp": "", "problem": "missing_file"}
    entry = changed.get(row["key"]) if len(changed) else None
    return _row(entry) if entry else row
