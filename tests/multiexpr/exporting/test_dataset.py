"""Shards of written clips, and the dataset put together from them, on clips that are made up."""

import json
import os
import tarfile
from dataclasses import asdict

import pandas as pd
import pytest

from exprbench.core.files import sha256_path, write_json
from multiexpr import export, select
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.exporting import dataset
from multiexpr.exporting import stage as stages
from multiexpr.exporting.card import write_card
from multiexpr.exporting.clips import clip_path
from multiexpr.exporting.dataset import assemble_dataset
from multiexpr.exporting.stage import ExportStage
from multiexpr.exporting.webdataset_writer import write_shards
from multiexpr.indexing.stage import load_index
from multiexpr.recipe import Export, load_recipe
from tests.multiexpr.made import change_index, fill, good
from tests.writing import assert_atomic

PLAIN = ["export.tracks=false", "export.masks=false"]


def exported(workspace, *settings, shard=0):
    """The stage of this recipe, once it wrote the table of a shard without working on any clip."""
    stage = ExportStage(workspace, load_recipe(None, settings))
    clips = stage.tasks(shard)
    for clip in (task["clip"] for task in clips.values()):
        path = clip_path(workspace.dataset, clip["clip_id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a clip")
    facts = {"copied": True, "sha256": "", "width": 160, "height": 96, "fps": 25.0, "num_frames": 50, "duration_s": 2.0}
    stage.finish(shard, {i: {**facts, "num_people": 2} for i in clips})
    return stage


@pytest.fixture
def made(workspace):
    """Three shards of kept clips that are made up: of three, two, and one."""
    fill(workspace, [[good()] * 3, [good()] * 2, [good()]])
    select(workspace.root)
    return workspace


def test_clips_are_written_again_where_anything_they_depend_on_changed(made, monkeypatch):
    assert exported(made).is_done(0)
    new = {"fps": 30.0, "crf": 18, "tracks": False, "masks": False, "engine": "torch"}
    assert set(new) == set(asdict(Export())) - {"formats", "tar_bytes"}
    for name, value in new.items():
        changed = load_recipe(None, [f"export.{name}={str(value).lower()}"])
        assert not ExportStage(made, changed).is_done(0), name
    assert ExportStage(made, load_recipe(None, ['export.formats=["folder"]', "export.tar_bytes=5"])).is_done(0)
    for name in ("TRACKER", "VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(stages, name, "the next one")
            assert not ExportStage(made, load_recipe()).is_done(0), name


def test_only_what_is_missing_or_changed_is_written_again(made):
    stage = exported(made)
    clips = stage.shards() and [row["clip_id"] for row in load_index(made)]
    clip_path(made.dataset, clips[1]).unlink()
    assert list(stage.tasks(0)) == [1]
    change_index(made, 0, lambda rows: [{**rows[0], "stamp": "2:2"}, *rows[1:]])
    assert list(stage.tasks(0)) == [0, 1]
    assert not stage.is_done(0)


def test_a_shard_from_which_a_clip_was_dropped_is_not_done(made):
    stage = exported(made)
    stage.kept[0].popitem()
    assert stage.tasks(0) == {}
    assert not stage.is_done(0)


def test_a_clip_that_could_not_be_written_is_not_tried_again(made):
    stage = ExportStage(made, load_recipe())
    answers = {i: {"error": ["missing_file", ""], "needed": None} for i in range(3)}
    assert stage.finish(0, answers) == {"clips": 3, "errors": 3}
    assert stage.is_done(0)


def test_ranks_write_the_dataset_once_for_all(made, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    written = []
    assemble = dataset.assemble_dataset
    monkeypatch.setattr(dataset, "assemble_dataset", lambda *a: written.append(1) or assemble(*a))
    for shard in (0, 1, 2):
        exported(made, *PLAIN, shard=shard)
    rank = ExecutionConfig(executor="slurm", workers=0)
    for _ in range(2):
        assert export(made.root, recipe=load_recipe(None, PLAIN), execution=rank) == 6
    assert written == [1]
    monkeypatch.setenv("SLURM_JOB_ID", "6")
    assert export(made.root, recipe=load_recipe(None, PLAIN), execution=rank) == 6
    assert written == [1, 1]


def test_the_dataset_lists_all_shards_in_order_and_holds_nothing_else(made):
    for shard in (2, 0, 1):
        exported(made, shard=shard)
    ids = [row["clip_id"] for row in load_index(made)]
    kept = clip_path(made.dataset, ids[0]).with_name(f"{ids[0]}.tracks.npz")
    others = [clip_path(made.dataset, "ffff"), clip_path(made.dataset, ids[0]).with_name("ffff.masks.npz")]
    old, young = made.dataset / ".tmp-old.mp4", made.dataset / "clips/.tmp-young.mp4"
    for path in (kept, *others, old, young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert assemble_dataset(made, load_recipe()) == 6
    assert pd.read_parquet(made.dataset / "metadata.parquet")["clip_id"].tolist() == ids
    assert [path.exists() for path in (kept, *others, old, young)] == [True, False, False, False, True]


def metadata_of(made, *scores, settings=()):
    """The dataset's table of three clips with these values from their source."""
    change_index(
        made, 0, lambda rows: [{**r, "source_scores": json.dumps(s)} for r, s in zip(rows, scores, strict=True)]
    )
    for shard in range(3):
        exported(made, *settings, shard=shard)
    assemble_dataset(made, load_recipe(None, settings))
    return pd.read_parquet(made.dataset / "metadata.parquet")[:3]


def test_columns_only_some_clips_have_are_there_and_mixed_ones_are_text(made):
    clips = metadata_of(made, {"a": 1.0}, {"a": "x", "b": 2.0}, {})
    assert clips["source_a"].tolist()[:2] == ["1.0", "x"]
    assert clips["source_a"].isna().tolist() == [False, False, True]
    assert clips["source_b"].tolist()[1] == 2.0
    assert clips["score_luma"].tolist() == [0.4] * 3
    assert clips["source_duration_s"].isna().all()


def test_the_manifests_score_is_the_one_that_was_measured(made):
    metadata_of(made, {}, {}, {}, settings=["score.aesthetics.method=photomotion"])
    manifest = pd.read_csv(made.dataset / "open-sora.csv")
    assert manifest["aes"].tolist() == [7.0] * 6
    assert manifest["aspect_ratio"].tolist() == [0.6] * 6
    assert manifest[["num_frames", "width", "height", "fps"]].iloc[0].tolist() == [50, 160, 96, 25]


def samples(dataset, sizes):
    """Rows of clips of the given sizes in bytes, with tracks and masks of one byte."""
    rows = []
    for i, size in enumerate(sizes):
        row = {
            "clip_id": f"c{i}",
            "caption": f"text {i}",
            "file_name": f"{i}.mp4",
            "tracks": f"{i}.t",
            "masks": f"{i}.m",
        }
        for name, data in ((row["file_name"], b"v" * size), (row["tracks"], b"t"), (row["masks"], b"m")):
            (dataset / name).write_bytes(data)
        rows.append(row)
    return rows


def tars(dataset):
    found = []
    for path in sorted((dataset / "webdataset").glob("*")):
        with tarfile.open(path) as tar:
            found.append([(info.name, info.mtime) for info in tar])
    return found


@pytest.mark.parametrize(
    ("sizes", "clips"), [([8, 8], [[0, 1]]), ([8, 9], [[0], [1]]), ([99], [[0]]), ([99, 8, 8, 8], [[0], [1, 2], [3]])]
)
def test_tars_are_as_large_as_allowed_and_a_sample_is_never_divided(tmp_path, sizes, clips):
    write_shards(tmp_path, samples(tmp_path, sizes), 20)  # bytes: two clips of 8 with their tracks and masks
    endings = ["mp4", "tracks.npz", "masks.npz", "txt", "json"]
    assert tars(tmp_path) == [[(f"c{i}.{ending}", 0) for i in group for ending in endings] for group in clips]


def test_tars_of_a_larger_dataset_before_are_removed(tmp_path, monkeypatch):
    rows = samples(tmp_path, [9, 9, 9])
    write_shards(tmp_path, rows, 10)
    assert len(tars(tmp_path)) == 3
    first = tmp_path / "webdataset/00000.tar"
    before = first.read_bytes()
    write_shards(tmp_path, [dict(reversed(row.items())) for row in rows[:1]], 10)
    assert len(tars(tmp_path)) == 1
    assert first.read_bytes() == before
    assert_atomic(lambda: write_shards(tmp_path, rows[1:], 10), first, monkeypatch)


@pytest.mark.parametrize(
    ("kind", "settings", "lines"),
    [
        ("folder", [], ["See where they were collected."]),
        ("openvid", [], ["OpenVid-1M: CC-BY-4.0"]),
        (
            "folder",
            ["score.aesthetics.method=laion"],
            ["| aesthetics | sac+logos+ava1-l14-linearMSE.pth |", "OpenAI CLIP"],
        ),
        ("folder", ["caption.backend=openai", "caption.model=tiny-vl"], ["| captions | tiny-vl |"]),
        ("folder", ["caption.backend=cogvlm2"], ["| captions | cogvlm2-llama3-caption |"]),
        ("folder", ["score.people.model=nowhere"], ["| people | nowhere | not on this machine |"]),
    ],
)
def test_the_card_names_what_was_used(made, model_files, kind, settings, lines):
    write_json(made.source, {"root": "/nowhere", "kind": kind, "options": {}})
    write_card(made, load_recipe(None, settings), [])
    card = (made.dataset / "README.md").read_text()
    assert not [line for line in lines if line not in card]
    words = ["OpenVid", "CLIP", "| captions", "not on this machine"]
    assert [word in card for word in words] == [any(word in line for line in lines) for word in words]


def test_the_card_names_the_people_model_by_its_hash(made, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRBENCH_TRUST", "1")
    (tmp_path / "m.pt").write_bytes(b"a model")
    write_card(made, load_recipe(None, [f"score.people.model={tmp_path / 'm.pt'}"]), [])
    assert f"| people | m.pt | {sha256_path(tmp_path / 'm.pt')} |" in (made.dataset / "README.md").read_text()
