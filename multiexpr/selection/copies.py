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
from exprbench.core.progress import say
from multiexpr.recipe import KeepCopies
from multiexpr.selection.rules import Rule
from multiexpr.storage.parquet import read_table, shard_path, write_table
from multiexpr.storage.workspace import Workspace

REASON = "near_duplicate"
COPY_RULES = {  # by the measure of the distance
    measure: Rule(
        name=REASON,
        scorer="signature",
        threshold=threshold,
        meaning=f"distance of the {measure} to a better copy",
        at_least=False,
    )
    for measure, threshold in {
        "frame hashes": "copies.max_hash_distance",
        "embedding": "copies.max_embedding_distance",
    }.items()
}
BAND_BITS = 16
CHUNK = 1 << 20  # pairs that are compared at a time
NEIGHBOURS = 8  # clips that are compared with each clip, for each part of a hash
NUM_PLANES = 256  # random planes that turn an embedding into bits
COPIES = pa.schema(
    [("clip_id", pa.string()), ("copy_of", pa.string()), ("measure", pa.string()), ("distance", pa.float64())]
)

Row = dict[str, Any]
Pair = tuple[int, int, str, float]  # worse, better, measure, distance


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


def find_copies(signatures: Signatures, keep: KeepCopies) -> list[Pair]:
    """Return (copy, original, measure, distance) of every clip that is a copy of a better one that is no copy itself.

    Clips are given in order of quality. A clip that is only like a copy stays.
    """
    is_copy = np.zeros(len(signatures.clip_ids), bool)
    found = []
    for worse, better, measure, distance in _pairs(signatures, keep):
        if not is_copy[better] and not is_copy[worse]:
            is_copy[worse] = True
            found.append((worse, better, measure, distance))
    return found


def _pairs(signatures: Signatures, keep: KeepCopies) -> list[Pair]:
    """Return pairs of copies, in order of the worse clip and then of the distance relative to its limit."""
    pairs: dict[tuple[int, int], tuple[float, str, float]] = {}
    for first, second in _candidates(signatures.hashes):
        distance = hash_distance(signatures.hashes[first], signatures.hashes[second])
        _add(pairs, first, second, distance, "frame hashes", keep.max_hash_distance)
    if signatures.embeddings.shape[1]:
        for first, second in _candidates(_plane_bits(signatures.embeddings)):
            a, b = (signatures.embeddings[rows].astype(np.float32) for rows in (first, second))
            _add(pairs, first, second, 1 - (a * b).sum(1), "embedding", keep.max_embedding_distance)
    ordered = sorted((worse, *found, better) for (worse, better), found in pairs.items())
    return [(worse, better, measure, distance) for worse, _, measure, distance, better in ordered]


def _add(pairs: dict[tuple[int, int], tuple[float, str, float]], first: np.ndarray, second: np.ndarray,
         distance: np.ndarray, measure: str, limit: float) -> None:  # fmt: skip
    near = distance <= limit
    for a, b, d in zip(first[near].tolist(), second[near].tolist(), distance[near].tolist(), strict=True):
        pair = (max(a, b), min(a, b))
        found = d / max(limit, 1e-9), measure, d
        pairs[pair] = min(found, pairs.get(pair, found))


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


def copies_among(workspace: Workspace, kept: pa.Table, keep: KeepCopies, quality: str) -> list[Row]:
    """Return rows of `COPIES`: near-duplicates among kept clips, each with the better clip that it copies.

    Args:
        workspace: its signatures are read; clips without one are left out, and a message says how many they are.
        kept: ids of clips and the numbers of their shards.
        keep: largest distances of copies.
        quality: scorer, and name of its column, by which the best copy is chosen.
    """
    signatures = _load(workspace, kept, quality)
    if num_unknown := len(kept) - len(signatures.clip_ids):
        say(
            f"select: {num_unknown:,} of {len(kept):,} kept clips have no signature, and copies among them are kept; "
            f"measure it with: multiexpr score {workspace.root} --set 'score.optional=[\"signature\"]'"
        )
    ids = signatures.clip_ids
    return [
        {"clip_id": ids[copy], "copy_of": ids[better], "measure": measure, "distance": round(distance, 4)}
        for copy, better, measure, distance in find_copies(signatures, keep)
    ]


def drop_copies(workspace: Workspace, copies: Sequence[Row]) -> None:
    """Write `copies.parquet`, or remove it if there are no copies, and change the stored verdicts on the copies."""
    if not copies:
        workspace.copies.unlink(missing_ok=True)
    else:
        write_table(workspace.copies, pa.Table.from_pylist(list(copies), schema=COPIES))
        _rewrite(workspace, {row["clip_id"]: row["copy_of"] for row in copies})


def find_original(workspace: Workspace, clip_id: str) -> Row | None:
    """Return the row of `copies.parquet` of a clip; None if the clip is no copy, or copies were not searched."""
    if not workspace.copies.exists():
        return None
    return next(iter(pq.read_table(workspace.copies, filters=[("clip_id", "=", clip_id)]).to_pylist()), None)


def _load(workspace: Workspace, kept: pa.Table, quality: str) -> Signatures:
    """Return the signatures of the kept clips, the best first; clips without one are left out.

    Scores are compared to one decimal, because they hardly depend on the size: of equally good copies, the largest is
    the best.
    """
    parts = [_load_shard(workspace, shard, kept, quality) for shard in sorted(set(kept["shard"].to_pylist()))]
    parts = [part for part in parts if part]
    if not parts:
        return Signatures(np.zeros(0, object), np.zeros((0, 1), np.uint64), np.zeros((0, 0), np.float16))
    table = pa.concat_tables(parts)
    table = table.sort_by([("score", "descending"), ("pixels", "descending"), ("clip_id", "ascending")])
    return Signatures(
        table["clip_id"].to_numpy(), _matrix(table["frame_hashes"], np.int64).view(np.uint64),
        _matrix(table["embedding"], np.float16),
    )  # fmt: skip


def _load_shard(workspace: Workspace, shard: int, kept: pa.Table, quality: str) -> pa.Table | None:
    path = shard_path(workspace.scores("signature"), shard)
    if not path.exists():
        return None
    ids = kept.filter(pc.equal(kept["shard"], shard))["clip_id"].combine_chunks()
    signatures = read_table(path, ["clip_id", "frame_hashes", "embedding"])
    scores = read_table(shard_path(workspace.scores(quality), shard), [quality])[quality]
    sizes = read_table(shard_path(workspace.scores("container"), shard), ["width", "height"])
    signatures = signatures.append_column("score", pc.round(scores, 1))  # the rows of all scorers have one order
    signatures = signatures.append_column("pixels", pc.multiply(sizes["width"], sizes["height"]))
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


def _dropped(row: Row, copies: dict[str, str]) -> Row:
    if row["clip_id"] not in copies:
        return row
    return {**row, "outcome": "dropped", "reason": REASON, "reasons": [REASON], "detail": copies[row["clip_id"]]}
