"""Index stage: lists every clip of the collection under an id that does not change when the collection is moved."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exprbench.core.files import sha256_bytes, sha256_json
from exprbench.core.processes import KILLED, WorkerKilled
from multiexpr.execution.worker import ClipWorker
from multiexpr.indexing.listing import LOCATION
from multiexpr.indexing.shots import Span, find_spans, shots_fingerprint
from multiexpr.recipe import Shots
from multiexpr.sources.locate import video_source
from multiexpr.storage.parquet import (
    list_shards,
    num_rows,
    read_metadata,
    read_rows,
    read_table,
    shard_path,
    write_rows,
)
from multiexpr.storage.workspace import Workspace

CLIPS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("source", pa.string()),
        ("key", pa.string()),
        *LOCATION,
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("caption", pa.string()),
        ("source_scores", pa.string()),
        ("problem", pa.string()),
    ]
)
CUT_KINDS = ("folder",)  # kinds of collection whose videos can be long; videos of the other kinds are clips
ID_DIGITS = 20

Row = dict[str, Any]


def compute_clip_id(source: str, key: str, span: Span) -> str:
    """Return 20 hexadecimal digits, a hash of the kind of collection, the key of the video in it, and the span."""
    part = "" if span[1] is None else f"{span[0]:.3f}+{span[1]:.3f}"
    return sha256_bytes(f"{source}\n{key}\n{part}".encode())[:ID_DIGITS]


class IndexStage:
    """Stage that turns shards of entries into shards of clips and cuts long videos into shots."""

    name = "index"
    unit = "video"

    def __init__(self, workspace: Workspace, shots: Shots) -> None:
        self.workspace = workspace
        self.shots = shots
        self.kind = workspace.collection()["kind"]
        self.cuts_videos = shots.cut == "always" or (shots.cut == "auto" and self.kind in CUT_KINDS)

    def shards(self) -> list[int]:
        """Return the numbers of all shards."""
        return list_shards(self.workspace.entries)

    def size(self, shard: int) -> int:
        """Return the number of entries of a shard."""
        return num_rows(shard_path(self.workspace.entries, shard))

    def is_done(self, shard: int) -> bool:
        """Return whether the shard's index was made from its current entries with these settings."""
        metadata = read_metadata(shard_path(self.workspace.index, shard))
        return metadata is not None and metadata.get("key") == self._key(shard)

    def _key(self, shard: int) -> str:
        entries = sha256_bytes(shard_path(self.workspace.entries, shard).read_bytes())
        return sha256_json([entries, self.kind, shots_fingerprint(self.shots) if self.cuts_videos else None])

    def rows(self, shard: int) -> list[Row]:
        """Return the entries of a shard."""
        return read_rows(shard_path(self.workspace.entries, shard))

    def tasks(self, shard: int) -> dict[int, dict[str, Any]]:
        """Return requests by position in the shard; empty if videos are not cut."""
        if not self.cuts_videos:
            return {}
        rows = enumerate(self.rows(shard))
        return {i: {"task": shots_task, "clip": _clip_row(self.kind, row, (0.0, None))} for i, row in rows}

    def finish(self, shard: int, answers: dict[int, Any]) -> dict[str, int]:
        """Write the shard of clips and return their number.

        Raises:
            UserError: the processes that looked for the shots of a video were killed.
        """
        clips = []
        for i, answer in answers.items():
            if answer.get("error", ("", ""))[0] == KILLED:
                raise WorkerKilled(*answer["error"]).as_user_error(self.rows(shard)[i]["key"])
        for i, row in enumerate(self.rows(shard)):
            spans = answers[i]["spans"] if i in answers and "spans" in answers[i] else [(0.0, None)]
            clips += [_clip_row(self.kind, row, tuple(span)) for span in spans]
        write_rows(shard_path(self.workspace.index, shard), clips, CLIPS, {"key": self._key(shard)})
        return {"clips": len(clips)}


def shots_task(worker: ClipWorker, request: Row) -> Row:
    """Return the spans of a video, in a worker."""
    return {"spans": find_spans(video_source(request["clip"], worker.root), worker.recipe.shots)}


def _clip_row(kind: str, entry: Row, span: Span) -> Row:
    return {
        **{k: v for k, v in entry.items() if k != "key"},
        "clip_id": compute_clip_id(kind, entry["key"], span),
        "source": kind,
        "key": entry["key"],
        "start_s": span[0],
        "duration_s": span[1],
    }


def load_index(workspace: Workspace, columns: list[str] | None = None) -> list[Row]:
    """Return the rows of all clips, in the order of shards."""
    return [row for _, path in workspace.index_paths() for row in read_rows(path, columns)]


def find_clip(workspace: Workspace, name: str) -> tuple[int, Row] | None:
    """Return (shard, row) of the first clip that matches an id, its first digits, a key, a path or a file name."""
    for shard, path in workspace.index_paths():
        names = read_table(path, ["clip_id", "key", "path"])
        matches = pc.or_(pc.starts_with(names["clip_id"], name), pc.equal(names["key"], name))
        matches = pc.or_(matches, pc.or_(pc.equal(names["path"], name), pc.ends_with(names["path"], f"/{name}")))
        row = pc.index(matches, True).as_py()
        if row >= 0:
            return shard, read_table(path).slice(row, 1).to_pylist()[0]
    return None
