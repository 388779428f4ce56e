"""Index stage: ids of clips, which collections are cut, and when the index is made again."""

from dataclasses import asdict, replace

import pytest

from multiexpr.indexing.listing import list_collection
from multiexpr.indexing.stage import CLIPS, IndexStage, compute_clip_id, find_clip
from multiexpr.recipe import Shots
from multiexpr.storage.parquet import read_rows, shard_path, write_rows
from tests.multiexpr.made import fill, good


def test_ids_are_those_of_datasets_made_before():
    assert compute_clip_id("folder", "a.mp4", (0.0, None)) == "91237bdffca933ebb40f"
    assert compute_clip_id("folder", "a.mp4", (1.5, 2.25)) == "83a703d18070dd57f90d"


def test_a_clip_is_found_by_its_id_its_key_its_path_or_its_files_name(workspace):
    fill(workspace, [[good()]])
    rows = read_rows(shard_path(workspace.index, 0))
    names = {"clip_id": "3f2a00", "key": "the key", "path": "folder/clip.mp4"}
    write_rows(shard_path(workspace.index, 0), [{**rows[0], **names}], CLIPS)
    for name in ("3f2a00", "3f2", "the key", "folder/clip.mp4", "clip.mp4"):
        assert find_clip(workspace, name)[1]["clip_id"] == "3f2a00"
    for name in ("f2a00", "key", "lip.mp4", "folder"):
        assert find_clip(workspace, name) is None


def test_the_index_is_made_again_where_anything_it_depends_on_changed(many, workspace):
    list_collection(many, workspace)
    IndexStage(workspace, Shots()).finish(0, {})
    assert IndexStage(workspace, Shots()).is_done(0)
    assert not IndexStage(workspace, Shots()).is_done(1)
    others = {"cut": "always", **{name: value + 1 for name, value in asdict(Shots()).items() if name != "cut"}}
    for name, value in others.items():
        assert not IndexStage(workspace, replace(Shots(), **{name: value})).is_done(0), name
    (many / "00.mp4").write_bytes(b"another one")
    list_collection(many, workspace)
    assert not IndexStage(workspace, Shots()).is_done(0)


@pytest.mark.parametrize(
    ("kind", "cut", "is_cut"),
    [
        ("folder", "auto", True),
        ("folder", "never", False),
        ("webdataset", "auto", False),
        ("webdataset", "always", True),
    ],
)
def test_which_collections_are_cut(many, workspace, kind, cut, is_cut):
    list_collection(many, workspace, kind=kind)
    stage = IndexStage(workspace, Shots(cut=cut))
    assert bool(stage.tasks(0)) == is_cut
    stage.finish(0, {})
    assert IndexStage(workspace, Shots(cut=cut, max_shot_s=5)).is_done(0) != is_cut


def test_a_video_that_could_not_be_cut_stays_one_clip(many, workspace):
    list_collection(many, workspace)
    stage = IndexStage(workspace, Shots())
    stage.finish(0, {0: {"error": ["missing_file", ""]}, 1: {"spans": [[0.0, 2.0], [2.0, 2.0]]}})
    spans = [(row["start_s"], row["duration_s"]) for row in read_rows(shard_path(workspace.index, 0))]
    assert spans[:4] == [(0.0, None), (0.0, 2.0), (2.0, 2.0), (0.0, None)]
