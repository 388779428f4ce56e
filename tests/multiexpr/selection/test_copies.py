"""Near-duplicates across the collection: the best copy is kept."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multiexpr import select
from multiexpr.recipe import KeepCopies, load_recipe
from multiexpr.scorers.signature import SignatureScorer
from multiexpr.selection.copies import Signatures, find_copies
from multiexpr.storage.parquet import read_rows, shard_path, write_rows
from multiexpr.storage.score_files import STATE
from tests.multiexpr.made import dropped_at, fill, good

RNG = np.random.default_rng(0)
KEEP = KeepCopies()


def random_hashes(count):
    return RNG.integers(0, 2**63, (count, 8), dtype=np.uint64)


def flip(hashes, num_bits):
    """Return (F,) hashes of which each has `num_bits` other bits."""
    changed = hashes.copy()
    for i in range(len(changed)):
        for bit in RNG.choice(64, num_bits, replace=False):
            changed[i] ^= np.uint64(1) << np.uint64(bit)
    return changed


def signatures(hashes, embeddings=None):
    empty = np.zeros((len(hashes), 0), np.float16)
    return Signatures(np.arange(len(hashes)), hashes, empty if embeddings is None else embeddings)


def test_copies_are_found_in_a_large_collection_and_nothing_else():
    """Of 3000 clips, 300 have a copy with 1 to 5 other bits of 64 in each frame: precision and recall are 1."""
    originals = random_hashes(3000)
    copies = np.stack([flip(originals[i], 1 + i % 5) for i in range(300)])
    found = find_copies(signatures(np.concatenate([originals, copies])), KEEP)
    assert {(copy, better) for copy, better, _ in found} == {(3000 + i, i) for i in range(300)}
    assert found[0][2] == pytest.approx(1 / 64)


def test_a_clip_that_is_only_like_a_copy_stays():
    first = random_hashes(1)[0]
    second = flip(first, 5)
    third = second.copy()
    third ^= np.uint64(0b11111) << np.uint64(30)  # near the second, and twice as far from the first
    distances = [np.unpackbits((a ^ b).view(np.uint8)).mean() for a, b in ((first, third), (second, third))]
    assert distances[1] <= KEEP.max_hash_distance < distances[0]
    assert [pair[:2] for pair in find_copies(signatures(np.stack([first, second, third])), KEEP)] == [(1, 0)]


def test_cropped_copies_are_found_by_their_embeddings():
    directions = RNG.normal(size=(500, 64))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    near = directions[:40] + 0.03 * RNG.normal(size=(40, 64))
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    embeddings = np.concatenate([directions, near]).astype(np.float16)
    found = find_copies(signatures(random_hashes(540), embeddings), KEEP)
    expected = {(500 + i, i) for i in range(40) if 1 - directions[i] @ near[i] < KEEP.max_embedding_distance - 0.002}
    pairs = {pair[:2] for pair in found}
    assert len(expected & pairs) / len(expected) >= 0.9
    assert all(1 - embeddings[a].astype(float) @ embeddings[b].astype(float) <= 0.051 for a, b in pairs)


def test_few_or_no_clips_have_no_copies():
    for count in (0, 1):
        assert find_copies(signatures(random_hashes(count).reshape(count, 8)), KEEP) == []


@pytest.fixture
def collection(workspace):
    """Workspace with two shards, in which clip 1 of the second is a worse copy of clip 0 of the first."""
    clips = [[good(photomotion=8.0), good(), dropped_at("people", people_confidence=[0.1] * 10)],
             [good(), good(photomotion=6.0)]]  # fmt: skip
    fill(workspace, clips)
    hashes = random_hashes(5).astype(np.int64)
    hashes[4] = hashes[0]
    ids = [row["clip_id"] for shard in (0, 1) for row in read_rows(shard_path(workspace.index, shard))]
    for shard, rows in ((0, (0, 1, 2)), (1, (3, 4))):
        values = [{"clip_id": ids[i], "stamp": "1:1", "state": "scored", "frame_hashes": hashes[i].tolist(),
                   "embedding": []} for i in rows]  # fmt: skip
        schema = pa.schema([*STATE, *SignatureScorer.columns])
        write_rows(shard_path(workspace.scores("signature"), shard), values, schema)
    return workspace, ids


def test_the_best_copy_in_all_shards_is_kept(collection):
    workspace, ids = collection
    funnel = select(workspace.root, recipe=load_recipe(None, ['score.optional=["signature"]']))
    verdicts = {row["clip_id"]: row for row in pq.read_table(workspace.verdicts).to_pylist()}
    assert [verdicts[i]["outcome"] for i in ids] == ["kept", "kept", "dropped", "kept", "dropped"]
    assert (verdicts[ids[4]]["reason"], verdicts[ids[4]]["detail"]) == ("near_duplicate", ids[0])
    assert (funnel.num_kept, funnel.reached["near_duplicate"], funnel.dropped["near_duplicate"]) == (3, 4, 1)
    assert json.loads((workspace.root / "funnel.json").read_text())["kept"] == 3
    assert pq.read_table(workspace.copies).to_pylist() == [{"clip_id": ids[4], "copy_of": ids[0], "distance": 0.0}]


def test_copies_are_kept_unless_the_recipe_names_the_rule(collection):
    workspace, _ = collection
    assert select(workspace.root, recipe=load_recipe()).num_kept == 4
    assert not workspace.copies.exists()
