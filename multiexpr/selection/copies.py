"""Near-duplicates: copies of a clip in the whole collection, of which only the best is kept.

Two clips are copies if the hashes of their frames differ in a small share of bits, or if their embeddings are similar.
Not all pairs are compared: clips are sorted by a part of a hash, for each part of each hash, and each clip is compared
with the next ones. Copies share most parts. The time grows with the number N of kept clips as N log N.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from exprbench.core.files import atomic_path
from multiexpr.recipe import KeepCopies
from multiexpr.storage.parquet import read_table, shard_path, write_table
from multiexpr.storage.workspace import Workspace

REASON = "near_duplicate"
MEANING = "distance from a better copy in the collection"
BAND_BITS = 16
CHUNK = 1 << 20  # pairs that are compared at a time
NEIGHBOURS = 8  # clips that are compared with each clip, for each part of a hash
NUM_PLANES = 256  # random planes that turn an embedding into bits
COPIES = pa.schema([("clip_id", pa.string()), ("copy_of", pa.string()), ("distance", pa.float64())])


@dataclass(frozen=True)
class Signatures:
    """Signatures of N clips, in order of decreasing quality.

    Attributes:
        clip_ids: (N,) ids.
        hashes: (N, F) uint64 hashes of frames.
        embeddings: (N, D) float16 of length 1; D is 0 if they are not measured.
    """

    clip_ids: np.ndarray
    hashes: np.ndarray
    embeddings: np.ndarray


def find_copies(signatures: Signatures, keep: KeepCopies) -> list[tuple[int, int, float]]:
    """Return (copy, original, distance) of every clip that is a copy of a better one that is not a copy itself.

    Clips are given in order of quality. A clip that is only like a copy stays.
    """
    pairs = _pairs(signatures, keep)
    is_copy = np.zeros(len(signatures.clip_ids), bool)
    found = []
    for worse, better, distance in pairs:
        if not is_copy[better] and not is_copy[worse]:
            is_copy[worse] = True
            found.append((int(worse), int(better), float(distance)))
    return found


def _pairs(signatures: Signatures, keep: KeepCopies) -> list[tuple[int, int, float]]:
    """Return (worse, better, distance) of pairs of copies, in order of the worse and then of the distance."""
    pairs: dict[tuple[int, int], float] = {}
    for first, second in _candidates(signatures.hashes):
        distance = hash_distance(signatures.hashes[first], signatures.hashes[second])
        _add(pairs, first, second, distance, keep.max_hash_distance)
    if signatures.embeddings.shape[1]:
        for first, second in _candidates(_plane_bits(signatures.embeddings)):
            a, b = (signatures.embeddings[rows].astype(np.float32) for rows in (first, second))
            _add(pairs, first, second, 1 - (a * b).sum(1), keep.max_embedding_distance)
    ordered = sorted((worse, distance, better) for (worse, better), distance in pairs.items())
    return [(worse, better, distance) for worse, distance, better in ordered]


def _add(pairs: dict[tuple[int, int], float], first: np.ndarray, second: np.ndarray, distance: np.ndarray,
         limit: float) -> None:  # fmt: skip
    near = distance <= limit
    for a, b, d in zip(first[near].tolist(), second[near].tolist(), distance[near].tolist(), strict=True):
        pair = (max(a, b), min(a, b))
        pairs[pair] = min(d, pairs.get(pair, np.inf))


def _candidates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs (P,), (P,) of clips that are near each other in the order of a rotated hash of one frame."""
    for column in hashes.T:
        for shift in range(0, 64, BAND_BITS):
            rotated = (column << np.uint64(shift)) | (column >> np.uint64((64 - shift) % 64))
            order = np.argsort(rotated, kind="stable")
            for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
                for start in range(0, len(order) - step, CHUNK):
                    end = min(start + CHUNK, len(order) - step)
                    yield order[start:end], order[start + step : end + step]


def hash_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the share of bits, in [0, 1], in which hashes (P, F) uint64 of pairs of clips differ, (P,)."""
    bits = np.unpackbits((a ^ b).view(np.uint8).reshape(len(a), -1), axis=1)
    return bits.mean(axis=1)


def _plane_bits(embeddings: np.ndarray) -> np.ndarray:
    """Return hashes (N, 4) uint64 of the sides of random planes on which embeddings (N, D) are."""
    planes = np.random.default_rng(0).normal(size=(embeddings.shape[1], NUM_PLANES)).astype(np.float32)
    parts = [embeddings[i : i + 4096].astype(np.float32) @ planes > 0 for i in range(0, len(embeddings), 4096)]
    return np.packbits(np.concatenate(parts), axis=1).view(np.uint64)


def drop_copies(workspace: Workspace, keep: KeepCopies, quality: Sequence[str]) -> int:
    """Change the verdict on kept clips that are copies of better ones, write `copies.parquet`, return their number.

    Args:
        workspace: its verdicts are rewritten.
        keep: largest distances of copies.
        quality: scorer and column by which the best copy is chosen, such as ("photomotion", "photomotion").
    """
    signatures = _load(workspace, quality)
    found = find_copies(signatures, keep)
    ids = signatures.clip_ids
    rows = [{"clip_id": ids[copy], "copy_of": ids[better], "distance": round(d, 4)} for copy, better, d in found]
    write_table(workspace.copies, pa.Table.from_pylist(rows, schema=COPIES))
    if rows:
        _rewrite(workspace, {row["clip_id"]: row["copy_of"] for row in rows})
    return len(rows)


def _load(workspace: Workspace, quality: Sequence[str]) -> Signatures:
    """Return the signatures of the kept clips; clips without one are left out."""
    verdicts = read_table(workspace.verdicts, ["clip_id", "shard", "outcome"])
    kept = verdicts.filter(pc.equal(verdicts["outcome"], "kept"))
    parts = [_load_shard(workspace, shard, kept, quality) for shard in sorted(set(kept["shard"].to_pylist()))]
    parts = [part for part in parts if len(part)]
    if not parts:
        return Signatures(np.zeros(0, object), np.zeros((0, 1), np.uint64), np.zeros((0, 0), np.float16))
    table = pa.concat_tables(parts)
    table = table.sort_by([(quality[1], "descending"), ("clip_id", "ascending")])
    return Signatures(
        table["clip_id"].to_numpy(), _matrix(table["frame_hashes"], np.int64).view(np.uint64),
        _matrix(table["embedding"], np.float16),
    )  # fmt: skip


def _load_shard(workspace: Workspace, shard: int, kept: pa.Table, quality: Sequence[str]) -> pa.Table:
    ids = kept.filter(pc.equal(kept["shard"], shard))["clip_id"].combine_chunks()
    scorer, column = quality
    signatures = read_table(shard_path(workspace.scores("signature"), shard), ["clip_id", "frame_hashes", "embedding"])
    scores = read_table(shard_path(workspace.scores(scorer), shard), ["clip_id", column])
    signatures = signatures.append_column(column, scores[column])  # the rows of all scorers have one order
    known = pc.and_(
        pc.is_in(signatures["clip_id"], ids), pc.greater(pc.list_value_length(signatures["frame_hashes"]), 0)
    )
    return signatures.filter(pc.fill_null(known, False))


def _matrix(lists: pa.ChunkedArray, dtype: Any) -> np.ndarray:
    lists = lists.combine_chunks()
    flat = lists.flatten() if isinstance(lists, pa.ListArray) else pa.concat_arrays(c.flatten() for c in lists.chunks)
    return np.ascontiguousarray(flat.to_numpy(zero_copy_only=False).astype(dtype).reshape(len(lists), -1))


def _rewrite(workspace: Workspace, copies: dict[str, str]) -> None:
    """Write the verdicts again, group of rows by group, with the copies dropped."""
    with (
        pq.ParquetFile(workspace.verdicts) as file,
        atomic_path(workspace.verdicts) as temporary,
        pq.ParquetWriter(temporary, file.schema_arrow, compression="zstd") as out,
    ):
        for i in range(file.num_row_groups):
            rows = [_dropped(row, copies) for row in file.read_row_group(i).to_pylist()]
            out.write_table(pa.Table.from_pylist(rows, schema=file.schema_arrow))


def _dropped(row: dict[str, Any], copies: dict[str, str]) -> dict[str, Any]:
    if row["clip_id"] not in copies:
        return row
    return {**row, "outcome": "dropped", "reason": REASON, "reasons": [REASON], "detail": copies[row["clip_id"]]}
