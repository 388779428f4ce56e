"""The index: every clip of the collection, under an id that stays when the collection moves."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exprbench.core.files import sha256_bytes, sha256_json
from multiexpr.execution.worker import ClipWorker
from multiexpr.indexing.listing import PLACE
from multiexpr.indexing.shots import Span, shots_fingerprint, spans_of
from multiexpr.recipe import Shots
from multiexpr.sources.locate import video_of
from multiexpr.storage.parquet import num_rows, read_note, read_rows, read_table, shard_path, shards_in, write_rows
from multiexpr.storage.workspace import Workspace

CLIPS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("source", pa.string()),
        ("key", pa.string()),
        *PLACE,
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("caption", pa.string()),
        ("source_scores", pa.string()),
        ("problem", pa.string()),
    ]
)
CUT_KINDS = ("folder",)  # collections whose videos may be long; those of others are clips already
ID_DIGITS = 20

Row = dict[str, Any]


def clip_id(source: str, key: str, span: Span) -> str:
    """20 hexadecimal digits: of what a clip is called in its collection, never of where that lies."""
    part = "" if span[1] is None else f"{span[0]:.3f}+{span[1]:.3f}"
    return sha256_bytes(f"{source}\n{key}\n{part}".encode())[:ID_DIGITS]


class IndexStage:
    """Shards of entries become shards of clips; long videos are cut on the way."""

    name = "index"
    unit = "video"

    def __init__(self, workspace: Workspace, shots: Shots) -> None:
        self.workspace = workspace
        self.shots = shots
        self.kind = workspace.collection()["kind"]
        self.cutting = shots.cut == "always" or (shots.cut == "auto" and self.kind in CUT_KINDS)

    def shards(self) -> list[int]:
        """All shards."""
        return shards_in(self.workspace.entries)

    def size(self, shard: int) -> int:
        """How many rows a shard has."""
        return num_rows(shard_path(self.workspace.entries, shard))

    def is_done(self, shard: int) -> bool:
        """Was the shard's index made of the entries as they are, with these settings?"""
        note = read_note(shard_path(self.workspace.index, shard))
        return note is not None and note.get("key") == self._key(shard)

    def _key(self, shard: int) -> str:
        entries = sha256_bytes(shard_path(self.workspace.entries, shard).read_bytes())
        return sha256_json([entries, self.kind, shots_fingerprint(self.shots) if self.cutting else None])

    def rows(self, shard: int) -> list[Row]:
        """The shard's entries."""
        return read_rows(shard_path(self.workspace.entries, shard))

    def tasks(self, shard: int) -> dict[int, dict[str, Any]]:
        """Requests for workers, by the number of the row."""
        if not self.cutting:
            return {}
        rows = enumerate(self.rows(shard))
        return {i: {"task": shots_task, "clip": _clip_row(self.kind, row, (0.0, None))} for i, row in rows}

    def finish(self, shard: int, answers: dict[int, Any]) -> dict[str, int]:
        """Write the shard."""
        clips = []
        for i, row in enumerate(self.rows(shard)):
            spans = answers[i]["spans"] if i in answers and "spans" in answers[i] else [(0.0, None)]
            clips += [_clip_row(self.kind, row, tuple(span)) for span in spans]
        write_rows(shard_path(self.workspace.index, shard), clips, CLIPS, {"key": self._key(shard)})
        return {"clips": len(clips)}


def shots_task(worker: ClipWorker, request: Row) -> Row:
    """Find the shots of a video in a worker."""
    return {"spans": spans_of(video_of(request["clip"], worker.root), worker.recipe.shots)}


def _clip_row(kind: str, entry: Row, span: Span) -> Row:
    return {
        **{k: v for k, v in entry.items() if k != "key"},
        "clip_id": clip_id(kind, entry["key"], span),
        "source": kind,
        "key": entry["key"],
        "start_s": span[0],
        "duration_s": span[1],
    }


def load_index(workspace: Workspace, columns: list[str] | None = None) -> list[Row]:
    """All clips, in the order of the shards."""
    return [row for _, path in workspace.index_paths() for row in read_rows(path, columns)]


def find_clip(workspace: Workspace, name: str) -> tuple[int, Row] | None:
    """(shard, row) of a clip by its id, the beginning of it, its key, its path or its file's name."""
    for shard, path in workspace.index_paths():
        names = read_table(path, ["clip_id", "key", "path"])
        hits = pc.or_(pc.starts_with(names["clip_id"], name), pc.equal(names["key"], name))
        hits = pc.or_(hits, pc.or_(pc.equal(names["path"], name), pc.ends_with(names["path"], f"/{name}")))
        found = pc.index(hits, True).as_py()
        if found >= 0:
            return shard, read_table(path).slice(found, 1).to_pylist()[0]
    return None
