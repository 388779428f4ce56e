"""Kept clips written shard by shard."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from exprbench.core.files import sha256_json
from exprbench.faces.video_tracks import TRACKER
from multiexpr.execution.worker import ClipWorker
from multiexpr.exporting.clips import clip_path, export_clip
from multiexpr.recipe import Recipe
from multiexpr.selection.verdicts import kept_by_shard
from multiexpr.sources.locate import video_of
from multiexpr.storage.parquet import read_note, read_rows, shard_path, write_rows
from multiexpr.storage.workspace import Workspace

VERSION = "export-1"  # raise it when the bytes of written clips, tracks or masks change
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
    ]
)

Row = dict[str, Any]


class ExportStage:
    """Shards of written clips: a row for each kept clip."""

    name = "export"
    unit = "clip"

    def __init__(self, workspace: Workspace, recipe: Recipe) -> None:
        self.workspace = workspace
        self.kept = kept_by_shard(workspace)
        used = {key: value for key, value in asdict(recipe.export).items() if key not in ("formats", "tar_bytes")}
        self.fingerprint = sha256_json([VERSION, TRACKER, used])

    def shards(self) -> list[int]:
        """Those with kept clips."""
        return sorted(self.kept)

    def size(self, shard: int) -> int:
        """How many kept clips a shard has."""
        return len(self.kept[shard])

    def is_done(self, shard: int) -> bool:
        """Is every kept clip of the shard there, written with these settings, and no other?"""
        note = read_note(self.path(shard))
        return note is not None and not self.tasks(shard) and len(read_rows(self.path(shard))) == self.size(shard)

    def path(self, shard: int) -> Path:
        """Where a shard's table lies."""
        return shard_path(self.workspace.exported, shard)

    def _clips(self, shard: int) -> list[Row]:
        rows = read_rows(shard_path(self.workspace.index, shard))
        return [row for row in rows if row["clip_id"] in self.kept[shard]]

    def _before(self, shard: int, clips: list[Row]) -> dict[str, Row]:
        note = read_note(self.path(shard))
        if note is None or note["fingerprint"] != self.fingerprint:
            return {}
        stamps = {clip["clip_id"]: clip["stamp"] for clip in clips}
        rows = [row for row in read_rows(self.path(shard)) if stamps.get(row["clip_id"]) == row["stamp"]]
        return {r["clip_id"]: r for r in rows if r["error"] or clip_path(self.workspace.dataset, r["clip_id"]).exists()}

    def tasks(self, shard: int) -> dict[int, Row]:
        """Requests for workers: kept clips that are not written yet."""
        clips = self._clips(shard)
        before = self._before(shard, clips)
        into = str(self.workspace.dataset)
        return {
            i: {"task": export_task, "clip": clip, "into": into}
            for i, clip in enumerate(clips)
            if clip["clip_id"] not in before
        }

    def finish(self, shard: int, answers: dict[int, Row]) -> dict[str, int]:
        """Write the shard's table; its clips are there already."""
        clips = self._clips(shard)
        before = self._before(shard, clips)
        rows = [before.get(clip["clip_id"]) or _row(clip, answers[i]) for i, clip in enumerate(clips)]
        write_rows(self.path(shard), rows, EXPORTED, {"fingerprint": self.fingerprint})
        return {"clips": len(answers), "errors": sum("error" in answer for answer in answers.values())}


def export_task(worker: ClipWorker, request: Row) -> Row:
    """Write a kept clip and what belongs to it."""
    video = video_of(request["clip"], worker.root)
    return export_clip(request["clip"], video, Path(request["into"]), worker.recipe)


def _row(clip: Row, answer: Row) -> Row:
    error, detail = answer.get("error", ("", ""))
    values = {key: value for key, value in answer.items() if key not in ("error", "needed", "seconds")}
    return {"clip_id": clip["clip_id"], "stamp": clip["stamp"], "error": error, "detail": detail, **values}
