"""Synthetic workspace of many clips with random scores, for measurements of `select`."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from multiexpr.storage.parquet import read_table, shard_path, write_table
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.made import ORDER, dropped_at, failed_at, fill, random_clips

NUM_DISTINCT = 8  # shards with different values; the others repeat them under other ids


def write_synthetic(out: Path, num_shards: int, shard_rows: int) -> Workspace:
    """Write `num_shards` shards of `shard_rows` clips: entries, index and the columns of every scorer."""
    workspace = Workspace(out)
    num_distinct = min(NUM_DISTINCT, num_shards)
    fill(workspace, [_clips(shard_rows, seed) for seed in range(num_distinct)])
    for shard in range(num_distinct, num_shards):
        ids = pa.array(f"{shard:06d}{i:014d}" for i in range(shard_rows))
        for folder in (workspace.entries, workspace.index, *map(workspace.scores, ORDER)):
            table = read_table(shard_path(folder, shard % num_distinct))
            if "clip_id" in table.column_names:
                table = table.set_column(table.column_names.index("clip_id"), "clip_id", ids)
            write_table(shard_path(folder, shard), table)
    return workspace


def _clips(count: int, seed: int) -> list[dict]:
    """Return clips with the outcomes of a real collection: most dropped by people, few errors, few fully scored."""
    ends = [round(share * count) for share in (0, 0.8, 0.9, 0.91, 1)]
    parts = zip(pairwise(ends), ("people", "sharpness", "error", "motion"), strict=True)
    clips = []
    for (start, end), last_scorer in parts:
        scored = random_clips(end - start, seed + start)
        if last_scorer == "error":
            clips += [failed_at("container", "open_failed") for _ in scored]
        elif last_scorer == "motion":
            clips += scored
        else:
            scorers = list(dropped_at(last_scorer))
            clips += [{name: clip[name] for name in scorers} for clip in scored]
    return clips
