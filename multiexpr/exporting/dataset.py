"""Dataset folder: clips, one Parquet file of metadata, an Open-Sora manifest, WebDataset shards and a card."""

import csv
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_json, sha256_path, write_text
from exprbench.core.processes import KILLED
from exprbench.core.progress import say
from exprbench.faces.video_tracks import GIVEN_SUFFIX
from multiexpr.execution.executors import ExecutionConfig, get_job_id, run_stage, run_step, sole_run
from multiexpr.exporting.card import write_card
from multiexpr.exporting.clips import MASKS_SUFFIX, clip_path
from multiexpr.exporting.stage import ExportStage
from multiexpr.exporting.upload import upload_clips, upload_metadata
from multiexpr.exporting.webdataset_writer import write_shards
from multiexpr.recipe import Recipe, as_dict, load_recipe, save_recipe
from multiexpr.selection.verdicts import active_scorers, kept_by_shard
from multiexpr.storage.parquet import num_rows, read_rows, shard_path, write_table
from multiexpr.storage.score_files import STATE
from multiexpr.storage.workspace import Workspace

HEAD = tuple(name for name, _ in STATE)
ORIGIN = {"source": "source", "key": "source_key", "path": "source_path", "member": "source_member",
          "start_s": "source_start_s", "duration_s": "source_duration_s", "caption": "source_caption"}  # fmt: skip
ABANDONED_S = 3600  # age in seconds from which a temporary file counts as left by a killed process
OPEN_SORA = ("path", "text", "num_frames", "width", "height", "aspect_ratio", "fps", "aes")

Row = dict[str, Any]


def export(
    out: Path | str,
    *,
    recipe: Recipe | None = None,
    to: str | None = None,
    execution: ExecutionConfig | None = None,
) -> int:
    """Write the dataset of the kept clips, and return its number of clips.

    `out/dataset/metadata.parquet` loads with `pandas.read_parquet`, the folder with Hugging Face's
    `load_dataset("videofolder", data_dir=...)`. Several ranks divide the clips; one of them writes the metadata, and
    the others wait for it.

    Args:
        out: folder of the curation, with verdicts.
        recipe: its [export] section applies; None uses `out/recipe.toml`.
        to: URL of a folder on object storage, such as `s3://bucket/dataset`, that gets a copy of the dataset.
        execution: executor and workers.

    Raises:
        UserError: there are no verdicts, or the storage cannot be written.
    """
    workspace = Workspace(Path(out))
    recipe = recipe or load_recipe(workspace.recipe if workspace.recipe.exists() else None)
    execution = execution or ExecutionConfig()
    with sole_run(workspace, execution):
        num_clips = _export(workspace, recipe, execution)
        if to:
            upload_clips(workspace, recipe, to, execution)
            run_step(workspace, "upload", _run_id(workspace, recipe, to), lambda: upload_metadata(workspace, to))
        save_recipe(workspace.recipe, recipe)
        return num_clips


def _export(workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    run_stage(ExportStage, workspace, recipe, execution)
    stage = ExportStage(workspace, recipe)
    written = [row for shard in stage.shards() if stage.path(shard).exists() for row in read_rows(stage.path(shard))]
    if num_killed := sum(row["error"] == KILLED for row in written):
        raise UserError(
            f"the processes of {num_killed} kept clips were killed from outside, by the machine or a user; free memory,"
            " or use fewer --workers, and run the command again"
        )
    failed = [row for row in written if row["error"]]
    if failed:
        codes = ", ".join(sorted({row["error"] for row in failed}))
        say(f"export: {len(failed)} kept clips could not be written ({codes}); see {workspace.exported}")
    run_step(workspace, "dataset", _run_id(workspace, recipe), lambda: assemble_dataset(workspace, recipe))
    return num_rows(workspace.dataset / "metadata.parquet")


def _run_id(workspace: Workspace, recipe: Recipe, to: str = "") -> str:
    """Return a text that is the same for all ranks of a job that export the same verdicts; empty without a job."""
    job = get_job_id(os.environ)
    return sha256_json([job, to, as_dict(recipe), sha256_path(workspace.verdicts)]) if job else ""


def assemble_dataset(workspace: Workspace, recipe: Recipe) -> int:
    """Write everything but the clips (metadata, manifest, tars, card), and return the number of clips."""
    rows = [row for shard in sorted(kept_by_shard(workspace)) for row in metadata_rows(workspace, shard, recipe)]
    _remove_other_files(workspace.dataset, {row["clip_id"] for row in rows})
    if "open-sora" in recipe.export.formats:
        write_text(workspace.dataset / "open-sora.csv", _open_sora(rows))
    if "webdataset" in recipe.export.formats:
        write_shards(workspace.dataset, rows, recipe.export.tar_bytes)
    write_card(workspace, recipe, rows)
    write_table(workspace.dataset / "metadata.parquet", _as_table(rows))
    return len(rows)


def metadata_rows(workspace: Workspace, shard: int, recipe: Recipe) -> list[Row]:
    """Return the metadata of a shard's exported clips: export, caption, origin, the source's scores, our scores."""
    exported = {row["clip_id"]: row for row in read_rows(shard_path(workspace.exported, shard)) if not row["error"]}
    captions = _by_id(shard_path(workspace.captions, shard), ("caption",))
    clips = [row for row in read_rows(shard_path(workspace.index, shard)) if row["clip_id"] in exported]
    scores = [_by_id(shard_path(workspace.scores(name), shard)) for name in active_scorers(workspace, recipe)]
    return [
        _row(clip, exported[clip["clip_id"]], captions.get(clip["clip_id"], {}), [s[clip["clip_id"]] for s in scores])
        for clip in clips
    ]


def _by_id(path: Path, columns: tuple[str, ...] | None = None) -> dict[str, Row]:
    if not path.exists():
        return {}
    rows = read_rows(path, None if columns is None else ("clip_id", *columns))
    return {row["clip_id"]: {k: v for k, v in row.items() if k not in HEAD} for row in rows}


def _row(clip: Row, exported: Row, caption: Row, scores: list[Row]) -> Row:
    name = clip_path(Path(), clip["clip_id"]).as_posix()
    stem = name.removesuffix(".mp4")
    export_columns = {k: v for k, v in exported.items() if k not in HEAD}
    own_scores = {f"score_{key}": value for row in scores for key, value in row.items()}
    source_scores = {f"source_{key}": value for key, value in json.loads(clip["source_scores"] or "{}").items()}
    origin = {column: clip[index_column] for index_column, column in ORIGIN.items()}
    return {
        "file_name": name,
        "clip_id": clip["clip_id"],
        "caption": caption.get("caption", ""),
        **export_columns,
        "tracks": stem + GIVEN_SUFFIX,
        "masks": stem + MASKS_SUFFIX,
        **origin,
        **source_scores,
        **own_scores,
    }


def _as_table(rows: list[Row]) -> pa.Table:
    """Return rows as a table with the union of their columns, in order; a column of mixed types becomes text."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["file_name", "clip_id", "caption"]
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values) if any(v is not None for v in values) else pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if v is None else str(v) for v in values])


def _remove_other_files(dataset: Path, kept: set[str]) -> None:
    """Delete clips of a previous recipe, and temporary files of killed processes."""
    for path in sorted((dataset / "clips").glob("*/*")):
        if path.name.partition(".")[0] not in kept:
            path.unlink()
    for path in dataset.rglob(".tmp-*"):
        if time.time() - path.stat().st_mtime > ABANDONED_S:
            path.unlink()


def _open_sora(rows: list[Row]) -> str:
    """Return Open-Sora's manifest as CSV, with paths relative to the dataset; `aes` is `laion`, else `photomotion`."""
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
