"""Near-duplicates across the collection: the best copy is kept."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multiexpr import report, select, why
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.recipe import KeepCopies, load_recipe
from multiexpr.scorers.signature import SignatureScorer
from multiexpr.selection.copies import Signatures, find_copies
from multiexpr.storage.parquet import read_rows, shard_path, write_rows
from multiexpr.storage.score_files import STATE
from tests.multiexpr.made import dropped_at, fill, good

RNG = np.random.default_rng(0)
KEEP = KeepCopies()
SIGNED = load_recipe(None, ['score.optional=["signature"]'])


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
    assert {pair[:2] for pair in found} == {(3000 + i, i) for i in range(300)}
    assert found[0][2:] == ("frame hashes", pytest.approx(1 / 64))


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
    return fill_signed(workspace, good(photomotion=8.0), good(photomotion=6.0))


def fill_signed(workspace, clip, copy):
    """Fill a workspace with four clips and, in the second shard, a copy of the first; return it and the ids."""
    fill(workspace, [[clip, good(), dropped_at("people", people_confidence=[0.1] * 10)], [good(), copy]])
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
    funnel = select(workspace.root, recipe=SIGNED)
    verdicts = {row["clip_id"]: row for row in pq.read_table(workspace.verdicts).to_pylist()}
    assert [verdicts[i]["outcome"] for i in ids] == ["kept", "kept", "dropped", "kept", "dropped"]
    assert (verdicts[ids[4]]["reason"], verdicts[ids[4]]["detail"]) == ("near_duplicate", ids[0])
    assert (funnel.num_kept, funnel.reached["near_duplicate"], funnel.dropped["near_duplicate"]) == (3, 4, 1)
    assert json.loads((workspace.root / "funnel.json").read_text())["kept"] == 3
    assert pq.read_table(workspace.copies).to_pylist() == [
        {"clip_id": ids[4], "copy_of": ids[0], "measure": "frame hashes", "distance": 0.0}
    ]


@pytest.mark.parametrize(("score", "kept"), [(7.98, 4), (7.9, 0)])
def test_of_equally_good_copies_the_largest_is_kept(workspace, score, kept):
    copy = good(photomotion=score, width=1920, height=1080)
    workspace, ids = fill_signed(workspace, good(photomotion=8.0), copy)
    select(workspace.root, recipe=SIGNED)
    (row,) = pq.read_table(workspace.copies).to_pylist()
    assert row["copy_of"] == ids[kept]


def test_copies_are_kept_unless_the_recipe_names_the_rule(collection):
    workspace, _ = collection
    assert select(workspace.root, recipe=load_recipe()).num_kept == 4
    assert not workspace.copies.exists()


def test_a_selection_that_is_not_saved_counts_copies_and_writes_nothing(collection):
    workspace, _ = collection
    select(workspace.root, recipe=load_recipe())
    before = workspace.verdicts.read_bytes()
    funnel = select(workspace.root, recipe=SIGNED, save=False)
    assert (funnel.num_kept, funnel.reached["near_duplicate"], funnel.dropped["near_duplicate"]) == (3, 4, 1)
    assert workspace.verdicts.read_bytes() == before
    assert not workspace.copies.exists()


def test_copies_of_an_earlier_selection_are_forgotten(collection):
    workspace, _ = collection
    select(workspace.root, recipe=SIGNED)
    select(workspace.root, recipe=load_recipe())
    assert not workspace.copies.exists()


def test_why_names_the_better_copy(collection):
    workspace, ids = collection
    select(workspace.root, recipe=SIGNED)
    found = why(workspace.root, ids[4])
    meaning = "distance of the frame hashes to a better copy: 0, expected at most 0.1"
    assert (found.outcome, found.summary) == ("dropped", f"near_duplicate ({meaning}); the better copy is {ids[0]}")
    line = next(line for line in str(found).splitlines() if "near_duplicate " in line and line.startswith("FAIL"))
    assert line.split()[:5] == ["FAIL", "near_duplicate", "0", "<=", "0.1"]
    assert why(workspace.root, ids[0]).summary == "it passes every rule"


def test_why_does_not_call_a_clip_a_copy_that_another_rule_drops_or_another_threshold_keeps(collection):
    workspace, ids = collection
    select(workspace.root, recipe=SIGNED)
    dark = load_recipe(None, ['score.optional=["signature"]', "keep.sharpness.min_luma=0.9"])
    assert why(workspace.root, ids[4], recipe=dark).summary.startswith("dark (")
    assert why(workspace.root, ids[4], recipe=load_recipe()).outcome == "kept"


def test_the_report_shows_copies_in_the_funnel_and_among_the_examples(collection):
    workspace, ids = collection
    select(workspace.root, recipe=SIGNED)
    html = report(workspace.root, execution=ExecutionConfig(workers=0)).read_text()
    assert "copies of better clips that are kept; copies.parquet names them" in html
    assert f"the better copy is {ids[0]}" in html


def test_changed_thresholds_are_compared_without_copies(collection):
    workspace, _ = collection
    select(workspace.root, recipe=SIGNED)
    dark = load_recipe(None, ['score.optional=["signature"]', "keep.aesthetics.min_photomotion=7.5"])
    html = report(workspace.root, recipe=dark, execution=ExecutionConfig(workers=0)).read_text()
    assert "3 clips are kept with the settings in use, and 1 with the changed ones (-2)." in html


def test_kept_clips_without_a_signature_are_counted_and_stay(collection, capsys):
    workspace, _ = collection
    shard_path(workspace.scores("signature"), 1).unlink()
    assert select(workspace.root, recipe=SIGNED).num_kept == 4
    assert "2 of 4 kept clips have no signature" in capsys.readouterr().err
