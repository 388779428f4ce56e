"""Export stage: writes the kept clips shard by shard."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from exprbench.core.files import sha256_json
from exprbench.core.processes import KILLED
from exprbench.face_engine import choose_engine
from exprbench.faces.video_tracks import TRACKER
from multiexpr.execution.worker import ClipWorker
from multiexpr.exporting.clips import clip_path, export_clip
from multiexpr.exporting.counted import counted_people
from multiexpr.recipe import Recipe
from multiexpr.selection.verdicts import kept_by_shard
from multiexpr.sources.locate import video_source
from multiexpr.storage.parquet import read_metadata, read_rows, shard_path, write_rows
from multiexpr.storage.workspace import Workspace

VERSION = "export-3"  # raise it when the bytes of written clips, tracks or masks change
EXPORTED = pa.schema(
    [
        ("clip_id", pa.string()),
        ("stamp", pa.string()),
        ("error", pa.string()),
        ("detail", pa.string()),
        ("copied", pa.bool_()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.float64()),
        ("num_frames", pa.int32()),
        ("duration_s", pa.float64()),
        ("num_people", pa.int32()),
        ("people", pa.list_(pa.int32())),
    ]
)

Row = dict[str, Any]


class ExportStage:
    """Stage that exports the kept clips and writes a row for each."""

    name = "export"
    unit = "clip"

    def __init__(self, workspace: Workspace, recipe: Recipe) -> None:
        self.workspace = workspace
        self.kept = kept_by_shard(workspace)
        used = {key: value for key, value in asdict(recipe.export).items() if key not in ("formats", "tar_bytes")}
        used["engine"] = choose_engine(recipe.export.engine)
        self.fingerprint = sha256_json([VERSION, TRACKER, used])

    def shards(self) -> list[int]:
        """Return the shards with kept clips."""
        return sorted(self.kept)

    def size(self, shard: int) -> int:
        """Return the number of kept clips of a shard."""
        return len(self.kept[shard])

    def is_done(self, shard: int) -> bool:
        """Return whether exactly the kept clips of the shard are exported with these settings."""
        is_readable = read_metadata(self.path(shard)) is not None
        return is_readable and not self.tasks(shard) and len(read_rows(self.path(shard))) == self.size(shard)

    def path(self, shard: int) -> Path:
        """Return the path of a shard's table."""
        return shard_path(self.workspace.exported, shard)

    def _clips(self, shard: int) -> list[Row]:
        rows = read_rows(shard_path(self.workspace.index, shard))
        return [row for row in rows if row["clip_id"] in self.kept[shard]]

    def _exported(self, shard: int, clips: list[Row]) -> dict[str, Row]:
        metadata = read_metadata(self.path(shard))
        if metadata is None or metadata["fingerprint"] != self.fingerprint:
            return {}
        stamps = {clip["clip_id"]: clip["stamp"] for clip in clips}
        people = self.kept[shard]
        rows = [row for row in read_rows(self.path(shard)) if stamps.get(row["clip_id"]) == row["stamp"]]
        rows = [row for row in rows if row["error"] != KILLED and row["people"] == people[row["clip_id"]]]
        return {r["clip_id"]: r for r in rows if r["error"] or clip_path(self.workspace.dataset, r["clip_id"]).exists()}

    def tasks(self, shard: int) -> dict[int, Row]:
        """Return requests by position in the shard: kept clips that are not exported yet."""
        clips = self._clips(shard)
        done = self._exported(shard, clips)
        todo = {i: clip for i, clip in enumerate(clips) if clip["clip_id"] not in done}
        people = counted_people(self.workspace, shard, self.kept[shard]) if todo else {}
        into = str(self.workspace.dataset)
        return {
            i: {"task": export_task, "clip": clip, "into": into, "people": people[clip["clip_id"]]}
            for i, clip in todo.items()
        }

    def finish(self, shard: int, answers: dict[int, Row]) -> dict[str, int]:
        """Write the shard's table (workers have written the clips) and return the numbers of clips and errors."""
        clips = self._clips(shard)
        done = self._exported(shard, clips)
        people = self.kept[shard]
        rows = [
            done.get(clip["clip_id"]) or _row(clip, answers[i], people[clip["clip_id"]]) for i, clip in enumerate(clips)
        ]
        write_rows(self.path(shard), rows, EXPORTED, {"fingerprint": self.fingerprint})
        return {"clips": len(answers), "errors": sum("error" in answer for answer in answers.values())}


def export_task(worker: ClipWorker, request: Row) -> Row:
    """Export the clip of a request in a worker, and return its columns."""
    video = video_source(request["clip"], worker.root)
    return export_clip(request["clip"], video, Path(request["into"]), worker.recipe, request["people"], worker.models)


def _row(clip: Row, answer: Row, people: list[int]) -> Row:
    error, detail = answer.get("error", ("", ""))
    values = {key: value for key, value in answer.items() if key not in ("error", "needed", "seconds")}
    return {"clip_id": clip["clip_id"], "stamp": clip["stamp"], "error": error, "detail": detail, **values,
            "people": people}  # fmt: skip
