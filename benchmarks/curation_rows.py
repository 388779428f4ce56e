"""A workspace of many clips that were never filmed: their scores are made up, and are of all fates."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from multiexpr.storage.parquet import read_table, shard_path, write_table
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.made import ORDER, dropped_at, failed_at, fill, random_clips

KINDS = 8  # shards whose values differ; the others repeat them under other ids


def made_up(out: Path, num_shards: int, shard_rows: int) -> Workspace:
    """Write `num_shards` shards: index and every scorer's columns."""
    workspace = Workspace(out)
    kinds = min(KINDS, num_shards)
    fill(workspace, [_clips(shard_rows, seed) for seed in range(kinds)])
    for shard in range(kinds, num_shards):
        ids = pa.array(f"{shard:06d}{i:014d}" for i in range(shard_rows))
        for folder in (workspace.entries, workspace.index, *map(workspace.scores, ORDER)):
            table = read_table(shard_path(folder, shard % kinds))
            if "clip_id" in table.column_names:
                table = table.set_column(table.column_names.index("clip_id"), "clip_id", ids)
            write_table(shard_path(folder, shard), table)
    return workspace


def _clips(count: int, seed: int) -> list[dict]:
    """As a real collection ends: most clips at the people, some in errors, few measured to the end."""
    ends = [round(share * count) for share in (0, 0.8, 0.9, 0.91, 1)]
    parts = zip(pairwise(ends), ("people", "sharpness", "error", "motion"), strict=True)
    clips = []
    for (start, end), last in parts:
        whole = random_clips(end - start, seed + start)
        if last == "error":
            clips += [failed_at("container", "open_failed") for _ in whole]
        elif last == "motion":
            clips += whole
        else:
            kept = list(dropped_at(last))
            clips += [{name: clip[name] for name in kept} for clip in whole]
    return clips
