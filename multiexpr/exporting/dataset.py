"""The dataset folder: clips, their metadata as one Parquet file, and the other forms people train from."""

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from exprbench.core.files import write_text
from exprbench.core.progress import say
from exprbench.faces.video_tracks import GIVEN_SUFFIX
from multiexpr.execution.executors import ExecutionConfig, run_stage
from multiexpr.exporting.card import write_card
from multiexpr.exporting.clips import MASKS_SUFFIX, clip_path
from multiexpr.exporting.stage import ExportStage
from multiexpr.exporting.webdataset_writer import write_shards
from multiexpr.recipe import Recipe, load_recipe, save_recipe
from multiexpr.selection.verdicts import kept_by_shard, scorers_used
from multiexpr.storage.parquet import read_rows, shard_path, write_table
from multiexpr.storage.score_files import STATE
from multiexpr.storage.workspace import Workspace

HEAD = tuple(name for name, _ in STATE)
ORIGIN = {"source": "source", "key": "source_key", "path": "source_path", "member": "source_member",
          "start_s": "source_start_s", "duration_s": "source_duration_s", "caption": "source_caption"}  # fmt: skip
ABANDONED_S = 3600  # since the last byte of a file that is still half-written
OPEN_SORA = ("path", "text", "num_frames", "width", "height", "aspect_ratio", "fps", "aes")

Row = dict[str, Any]


def export(out: Path | str, *, recipe: Recipe | None = None, execution: ExecutionConfig | None = None) -> int:
    """Write the dataset of the kept clips; how many it holds.

    `out/dataset/metadata.parquet` loads with `pandas.read_parquet`, the folder with Hugging Face's
    `load_dataset("videofolder", data_dir=...)`. Written by several ranks, the last one puts it together.

    Args:
        out: the curation's folder, with verdicts.
        recipe: its [export] section tells how; the one in use where none is given.
        machines: where to work.

    Raises:
        UserError: there are no verdicts.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    execution = execution or ExecutionConfig()
    run_stage(ExportStage, workspace, recipe, execution)
    save_recipe(workspace.recipe, recipe)
    stage = ExportStage(workspace, recipe)
    left = [shard for shard in stage.shards() if not stage.is_done(shard)]
    if left:
        say(f"export: {len(left)} shards are other ranks' to write; the last one puts the dataset together")
        return 0
    failed = [row for shard in stage.shards() for row in read_rows(stage.path(shard)) if row["error"]]
    if failed:
        codes = ", ".join(sorted({row["error"] for row in failed}))
        say(f"export: {len(failed)} kept clips could not be written ({codes}); see {workspace.exported}")
    return assemble(workspace, recipe)


def assemble(workspace: Workspace, recipe: Recipe) -> int:
    """Everything but the clips themselves, from what was written shard by shard; how many clips it is about."""
    rows = [row for shard in sorted(kept_by_shard(workspace)) for row in metadata(workspace, shard, recipe)]
    _remove_others(workspace.dataset, {row["clip_id"] for row in rows})
    if "open-sora" in recipe.export.formats:
        write_text(workspace.dataset / "open-sora.csv", _open_sora(rows))
    if "webdataset" in recipe.export.formats:
        write_shards(workspace.dataset, rows, recipe.export.tar_bytes)
    write_card(workspace, recipe, rows)
    write_table(workspace.dataset / "metadata.parquet", _as_table(rows))
    return len(rows)


def metadata(workspace: Workspace, shard: int, recipe: Recipe) -> list[Row]:
    """What is known of the clips a shard gave the dataset."""
    written = {row["clip_id"]: row for row in read_rows(shard_path(workspace.exported, shard)) if not row["error"]}
    captions = _by_id(shard_path(workspace.captions, shard), ("caption",))
    clips = [row for row in read_rows(shard_path(workspace.index, shard)) if row["clip_id"] in written]
    scores = [_by_id(shard_path(workspace.scores(name), shard)) for name in scorers_used(workspace, recipe)]
    return [
        _row(clip, written[clip["clip_id"]], captions.get(clip["clip_id"], {}), [s[clip["clip_id"]] for s in scores])
        for clip in clips
    ]


def _by_id(path: Path, columns: tuple[str, ...] | None = None) -> dict[str, Row]:
    if not path.exists():
        return {}
    rows = read_rows(path, None if columns is None else ("clip_id", *columns))
    return {row["clip_id"]: {k: v for k, v in row.items() if k not in HEAD} for row in rows}


def _row(clip: Row, written: Row, caption: Row, scores: list[Row]) -> Row:
    name = clip_path(Path(), clip["clip_id"]).as_posix()
    stem = name.removesuffix(".mp4")
    written = {k: v for k, v in written.items() if k not in HEAD}
    measured = {f"score_{key}": value for row in scores for key, value in row.items()}
    told = {f"source_{key}": value for key, value in json.loads(clip["source_scores"] or "{}").items()}
    origin = {theirs: clip[ours] for ours, theirs in ORIGIN.items()}
    return {
        "file_name": name,
        "clip_id": clip["clip_id"],
        "caption": caption.get("caption", ""),
        **written,
        "tracks": stem + GIVEN_SUFFIX,
        "masks": stem + MASKS_SUFFIX,
        **origin,
        **told,
        **measured,
    }


def _as_table(rows: list[Row]) -> pa.Table:
    """Columns in the order of the first row, then those only others have; a column of mixed kinds becomes text."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["file_name", "clip_id", "caption"]
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values) if any(v is not None for v in values) else pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if v is None else str(v) for v in values])


def _remove_others(dataset: Path, kept: set[str]) -> None:
    """Clips of a recipe used before, and what a process that was killed left half-written."""
    for path in sorted((dataset / "clips").glob("*/*")):
        if path.name.partition(".")[0] not in kept:
            path.unlink()
    for path in dataset.rglob(".tmp-*"):
        if time.time() - path.stat().st_mtime > ABANDONED_S:
            path.unlink()


def _open_sora(rows: list[Row]) -> str:
    """Open-Sora's manifest, with paths relative to the dataset; `aes` is the aesthetic score that was measured."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, OPEN_SORA, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                "path": row["file_name"],
                "text": row["caption"],
                **{key: row[key] for key in ("num_frames", "width", "height", "fps")},
                "aspect_ratio": round(row["height"] / row["width"], 6),
                "aes": row.get("score_laion", row.get("score_photomotion")),
            }
        )
    return buffer.getvalue()
