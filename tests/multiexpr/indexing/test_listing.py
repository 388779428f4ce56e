import os
import shutil

import numpy as np
import pytest

from exprbench import UserError
from multiexpr import index
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.indexing import listing
from multiexpr.indexing.listing import finish_batch, is_listed, list_collection
from multiexpr.indexing.stage import compute_clip_id, find_clip, load_index
from multiexpr.recipe import load_recipe
from multiexpr.storage.parquet import list_shards, num_rows, read_rows, shard_path
from multiexpr.storage.workspace import Workspace
from tests.multiexpr.collection import encode


def entries(workspace):
    return [row for s in list_shards(workspace.entries) for row in read_rows(shard_path(workspace.entries, s))]


def keys(workspace):
    return [row["key"] for row in entries(workspace)]


def test_small_collections_are_cut_into_small_shards_in_a_fixed_order(many, workspace):
    summary = list_collection(many, workspace)
    assert (summary.num_entries, summary.num_new, summary.mismatches) == (30, 30, {})
    assert keys(workspace) == sorted(keys(workspace))
    assert len(list_shards(workspace.entries)) == 4
    again = list_collection(many, workspace)
    assert (again.num_entries, again.num_new, again.num_changed, again.num_missing) == (30, 0, 0, 0)


def test_limit_adds_the_next_videos(many, workspace):
    for upto in (12, 24, 30):
        summary = list_collection(many, workspace, limit=12)
        finish_batch(workspace)
        assert (summary.num_entries, summary.num_waiting) == (upto, 30 - upto)
    assert keys(workspace) == sorted(keys(workspace))
    assert list_collection(many, workspace, limit=12).num_new == 0


def test_an_interrupted_limit_is_finished_first(many, tmp_path):
    undisturbed, disturbed = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    for workspace in (undisturbed, disturbed):
        list_collection(many, workspace, limit=20, resume=True)
    shard_path(disturbed.entries, 2).unlink()  # as if it was killed before the last shard
    assert list_collection(many, disturbed, limit=20, resume=True).num_new == 4
    finish_batch(undisturbed)
    for number in list_shards(undisturbed.entries):
        paths = [shard_path(workspace.entries, number) for workspace in (undisturbed, disturbed)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert list_collection(many, undisturbed, limit=20, resume=True).num_new == 10


def test_rows_of_changed_and_missing_files_are_updated_in_place(many, workspace):
    list_collection(many, workspace)
    before = keys(workspace)
    (many / "04.mp4").write_bytes(b"another one")
    (many / "06.mp4").unlink()
    (many / "new.mp4").write_bytes(b"a new one")
    summary = list_collection(many, workspace)
    assert (summary.num_new, summary.num_changed, summary.num_missing) == (1, 1, 1)
    assert keys(workspace) == [*before, "new.mp4"]
    rows = {
        row["key"]: row for s in list_shards(workspace.entries) for row in read_rows(shard_path(workspace.entries, s))
    }
    assert rows["06.mp4"]["problem"] == "missing_file"
    assert rows["04.mp4"]["num_bytes"] == 11
    (many / "06.mp4").write_bytes(b"back again")
    assert list_collection(many, workspace).num_changed == 1


def test_a_file_that_went_is_counted_once(many, workspace):
    list_collection(many, workspace)
    (many / "06.mp4").unlink()
    assert [list_collection(many, workspace).num_missing for _ in range(3)] == [1, 0, 0]


def test_a_file_that_comes_back_as_it_was_is_noted(many, workspace, tmp_path):
    list_collection(many, workspace)
    shutil.move(many / "06.mp4", tmp_path / "06.mp4")
    list_collection(many, workspace)
    shutil.move(tmp_path / "06.mp4", many / "06.mp4")  # with the time of change it had
    assert list_collection(many, workspace).num_changed == 1
    assert not any(row["problem"] for row in entries(workspace))


def test_a_shard_that_was_deleted_is_listed_again_and_no_other_is_overwritten(many, workspace):
    list_collection(many, workspace)
    before = keys(workspace)
    shard_path(workspace.entries, 1).unlink()
    assert list_collection(many, workspace).num_new == 8
    assert sorted(keys(workspace)) == before


def test_a_finished_limit_that_was_not_noted_as_finished_takes_up_nothing_more(many, workspace):
    list_collection(many, workspace, limit=20, resume=True)
    assert list_collection(many, workspace, limit=20, resume=True).num_new == 0


def test_a_listing_that_was_interrupted_does_not_count_as_listed(many, workspace):
    (many / "table.csv").write_text("x,y\n1,2\n")
    with pytest.raises(UserError, match="no table in"):
        list_collection(many, workspace, kind="multiexpr")
    assert not is_listed(workspace)


def tiny_files(root, count):
    root.mkdir()
    for i in range(count):
        (root / f"{i:04d}.mp4").write_text(f"{i}")
    return root


def shard_sizes(workspace):
    return [num_rows(shard_path(workspace.entries, shard)) for shard in list_shards(workspace.entries)]


def test_an_interrupted_listing_goes_on_with_shards_of_the_same_size(tmp_path):
    root = tiny_files(tmp_path / "root", 600)
    undisturbed, disturbed = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    for workspace in (undisturbed, disturbed):
        list_collection(root, workspace, check_content=False)
    assert shard_sizes(undisturbed) == [10] * 60
    for shard in range(40, 60):
        shard_path(disturbed.entries, shard).unlink()
    list_collection(root, disturbed, check_content=False)
    assert shard_sizes(disturbed) == [10] * 60


@pytest.mark.parametrize("many_from", [20, 30, 31])
def test_large_collections_have_shards_of_full_size(many, workspace, monkeypatch, many_from):
    monkeypatch.setattr(listing, "MANY", many_from)
    monkeypatch.setattr(listing, "SHARD_ROWS", 11)
    list_collection(many, workspace)
    assert shard_sizes(workspace) == ([8, 8, 8, 6] if many_from > 30 else [11, 11, 8])


def test_a_single_video_can_have_its_output_next_to_it(many):
    assert list_collection(many / "04.mp4", Workspace(many / "out")).num_new == 1


def test_the_root_is_kept_as_an_absolute_path(many, workspace, monkeypatch):
    monkeypatch.chdir(many.parent)
    list_collection(type(many)("many"), workspace)
    assert workspace.collection()["root"] == str(many.resolve())


def test_scores_of_the_source_are_kept_in_one_order(tmp_path, workspace):
    (tmp_path / "root").mkdir()
    for name in "ab":
        (tmp_path / f"root/{name}.mp4").write_text(name)
    (tmp_path / "root/meta.jsonl").write_text(
        '{"path": "a.mp4", "y": 1, "x": "é"}\n{"path": "b.mp4", "x": "é", "y": 1}\n'
    )
    list_collection(tmp_path / "root", workspace)
    assert [row["source_scores"] for row in entries(workspace)] == ['{"x": "é", "y": 1.0}'] * 2


def test_files_of_the_same_content_are_listed_once(many, workspace):
    shutil.copy(many / "04.mp4", many / "copy.mp4")
    (many / "twin.mp4").write_bytes(b"Video 6" * 7)  # as large as 06.mp4, and not the same
    assert (many / "twin.mp4").stat().st_size == (many / "06.mp4").stat().st_size
    summary = list_collection(many, workspace)
    assert summary.mismatches == {"duplicate": 1}
    (row,) = read_rows(workspace.mismatches)
    assert (row["path"], row["detail"]) == ("copy.mp4", "the same as 04.mp4")
    assert "twin.mp4" in keys(workspace)


def test_the_content_check_can_be_skipped(many, tmp_path):
    shutil.copy(many / "04.mp4", many / "copy.mp4")
    assert list_collection(many, Workspace(tmp_path / "o"), check_content=False).num_new == 31


def test_ids_do_not_change_when_the_collection_moves(many, tmp_path):
    execution = ExecutionConfig(workers=0)
    index(many, tmp_path / "a", execution=execution)
    shutil.move(many, tmp_path / "moved")
    index(tmp_path / "moved", tmp_path / "a", execution=execution)
    index(tmp_path / "moved", tmp_path / "b", execution=execution)
    first, second = (load_index(Workspace(tmp_path / name)) for name in "ab")
    assert [row["clip_id"] for row in first] == [row["clip_id"] for row in second]
    assert [row["stamp"] for row in first] == [row["stamp"] for row in second]


def test_ids_differ_by_collection_key_and_span():
    spans = ((0, None), (0, 1), (1, 1), (0, 1.001), (0.001, 1))
    ids = {compute_clip_id(s, k, span) for s in ("a", "b") for k in ("x", "y") for span in spans}
    assert len(ids) == 20
    assert all(len(one) == 20 for one in ids)


def test_an_output_folder_belongs_to_one_kind_and_is_outside_of_the_collection(many, workspace, tmp_path):
    list_collection(many, workspace)
    with pytest.raises(UserError, match=r"belongs to a collection of kind folder, .* is of kind webdataset; choose"):
        list_collection(many, workspace, kind="webdataset")
    with pytest.raises(UserError, match="is inside the collection"):
        list_collection(many, Workspace(many / "out"))
    with pytest.raises(UserError, match="there is no collection"):
        list_collection(tmp_path / "nowhere", Workspace(tmp_path / "o"))


def test_an_empty_collection_has_no_index(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no readable video in"):
        index(tmp_path / "empty", tmp_path / "out")


def scenes(path):
    """Write two long shots with a short one between them, in plain colours with a moving bar."""
    frames = []
    for colour, count in (((200, 30, 30), 275), ((30, 200, 30), 25), ((30, 30, 200), 250)):
        for i in range(count):
            frame = np.full((96, 160, 3), colour, np.uint8)
            frame[40:50, i % 140 : i % 140 + 20] = 255
            frames.append(frame)
    return encode(path, frames)


def test_long_videos_are_cut_into_shots(tmp_path, recipe, drawn):
    root = tmp_path / "root"
    scenes(root / "long.mp4")
    shutil.copy(drawn / "a.mp4", root / "short.mp4")
    index(root, tmp_path / "out", recipe=recipe, execution=ExecutionConfig(workers=0))
    rows = load_index(Workspace(tmp_path / "out"))
    spans = [(row["start_s"], row["duration_s"]) for row in rows if row["key"] == "long.mp4"]
    assert spans == [(0.0, 5.46), (5.46, 5.46), (12.08, 9.92)]  # 11 s in halves, 1 s left out, margins at the cuts
    assert [row["duration_s"] for row in rows if row["key"] == "short.mp4"] == [None]
    assert len({row["clip_id"] for row in rows}) == 4
    assert find_clip(Workspace(tmp_path / "out"), "long.mp4")[1]["start_s"] == 0.0


def test_the_recipe_can_disable_cutting(tmp_path, recipe, drawn):
    scenes(tmp_path / "root/long.mp4")
    index(
        tmp_path / "root",
        tmp_path / "n",
        recipe=load_recipe(None, ["shots.cut=never"]),
        execution=ExecutionConfig(workers=0),
    )
    assert [row["duration_s"] for row in load_index(Workspace(tmp_path / "n"))] == [None]


def test_a_broken_video_is_one_clip_in_the_index(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/text.mp4").write_text("no video")
    index(tmp_path / "root", tmp_path / "out", execution=ExecutionConfig(workers=0))
    assert len(load_index(Workspace(tmp_path / "out"))) == 1


def test_links_to_files_outside_of_the_collection_are_followed(tmp_path, drawn, workspace):
    (tmp_path / "root").mkdir()
    os.symlink(drawn / "a.mp4", tmp_path / "root/link.mp4")
    os.symlink(tmp_path / "gone.mp4", tmp_path / "root/dangling.mp4")
    summary = list_collection(tmp_path / "root", workspace)
    assert (summary.num_new, summary.mismatches) == (1, {"unreadable": 1})
