"""Layouts of collections: how their kind is detected and how rows, files and captions are matched."""

import io
import json
import tarfile

import pytest

from exprbench import UserError
from multiexpr.sources import detect
from multiexpr.sources.joining import map_path
from tests.multiexpr.sources.test_sources import copy, first_number, listed, webdataset


def test_kinds_are_detected_from_the_files(tmp_path, drawn):
    copy(drawn, tmp_path / "videos/a.mp4")
    assert detect(tmp_path) == "folder"
    assert detect(tmp_path / "videos/a.mp4") == "folder"
    (tmp_path / "caption").mkdir()
    assert detect(tmp_path) == "hallo3"
    deep = tmp_path / "deep"
    (deep / "one").mkdir(parents=True)
    webdataset(deep / "one", drawn)
    (deep / "meta.csv").write_text("path\none/00000.tar/000000000.mp4\n")
    assert detect(deep) == "webdataset"  # and not a folder with a table of its videos
    (deep / "one/00000.tar").unlink()
    copy(drawn, deep / "one/a.mp4")
    (deep / "meta.csv").write_text("path\none/a.mp4\n")
    assert detect(deep) == "multiexpr"


def test_videos_of_hallo3_may_be_at_the_top(tmp_path, drawn):
    copy(drawn, tmp_path / "videos/1.mp4")
    (tmp_path / "caption").mkdir()
    (tmp_path / "caption/1.txt").write_text("\ufeffa man talks", encoding="utf-8")
    _, entries, problems = listed(tmp_path)
    assert [(key, entry.caption) for key, entry in entries.items()] == [("videos/1.mp4", "a man talks")]
    assert not problems


@pytest.mark.parametrize("folder", ["", "data/train", "data", "csv"])
def test_openvids_table_is_found_in_its_usual_folders(tmp_path, drawn, folder):
    copy(drawn, tmp_path / "video/a.mp4")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "t.csv").write_text("video,aesthetic score\na.mp4,5\n")
    assert listed(tmp_path)[0] == "openvid"


def test_a_table_without_a_column_of_videos_is_not_openvids(tmp_path, drawn):
    copy(drawn, tmp_path / "a.mp4")
    (tmp_path / "t.csv").write_text("name,aesthetic score\na.mp4,5\n")
    assert detect(tmp_path) == "multiexpr"
    with pytest.raises(UserError, match="no table with OpenVid's columns"):
        listed(tmp_path, "openvid")
    _, entries, _ = listed(tmp_path, "openvid", columns={"path": "name"})
    assert list(entries) == ["a.mp4"]


def test_openvids_videos_of_the_same_name_are_a_duplicate(tmp_path, drawn):
    copy(drawn, tmp_path / "x/a.mp4", tmp_path / "y/a.mp4")
    (tmp_path / "t.csv").write_text("video,aesthetic score\na.mp4,5\n")
    _, entries, problems = listed(tmp_path)
    assert first_number(entries["a.mp4"], tmp_path) == 97
    assert problems == {("duplicate", "y/a.mp4")}


def test_openhumanvid_with_its_folder_of_clips_and_files_at_the_top(tmp_path, drawn):
    copy(
        drawn, tmp_path / "clips/p1/a.mp4", tmp_path / "clips/p2/b.mp4", tmp_path / "c.mp4", tmp_path / "clips_2/d.mp4"
    )
    for table, names in (
        ("openhumanvid_1.csv", ("clips/p1/a", "c")),
        ("openhumanvid_2.csv", ("clips/p1/x", "clips/p2/b")),
    ):
        (tmp_path / table).write_text("clip_id,path\n" + "".join(f"{n[-1]},{n}\n" for n in names))
    _, entries, problems = listed(tmp_path)
    assert set(entries) == {"a", "b", "c"}
    assert problems == {("row_without_file", "clips/p1/x"), ("file_without_row", "clips_2/d.mp4")}


def test_a_name_that_two_files_have_means_neither(tmp_path, drawn):
    copy(drawn, tmp_path / "x/a.mp4", tmp_path / "y/a.mp4", tmp_path / "z/b.mp4")
    (tmp_path / "t.csv").write_text("path\na.mp4\ny/a.mp4\nb.mp4\nb\n")
    _, entries, problems = listed(tmp_path, "multiexpr")
    assert set(entries) == {"y/a.mp4", "z/b.mp4"}
    assert problems == {("row_without_file", "a.mp4"), ("duplicate", "b"), ("file_without_row", "x/a.mp4")}


@pytest.mark.parametrize("name", ["x/a.mp4", "./x/a.mp4", "/x/a.mp4", "x\\a.mp4", "x/a", "a.mp4", "a", "x/a.avi"])
def test_rows_may_name_a_file_in_many_ways(tmp_path, drawn, name):
    copy(drawn, tmp_path / "x/a.mp4")
    (tmp_path / "t.jsonl").write_text(json.dumps({"path": name}) + "\n")
    assert set(listed(tmp_path, "multiexpr")[1]) == {"x/a.mp4"}


def test_only_the_beginning_of_a_path_is_exchanged(tmp_path, drawn):
    copy(drawn, tmp_path / "new/data/a.mp4")
    (tmp_path / "t.csv").write_text("path\n/data/data/a.mp4\n")
    assert set(listed(tmp_path, "multiexpr", path_map={"/data/": "new/"})[1]) == {"new/data/a.mp4"}
    assert map_path("/data/data/a", {"/data/": "new/", "/": "other/"}) == "new/data/a"
    assert map_path("x/data/a", {"data/": "new/"}) == "x/data/a"


def table(path, rows):
    path.write_text("name,other,score\n" + "".join(f"{a},{b},1\n" for a, b in rows))


def test_the_column_that_names_videos_is_the_one_that_names_most(tmp_path, drawn):
    copy(drawn, *(tmp_path / f"{name}.mp4" for name in "abcd"))
    (tmp_path / "sub").mkdir()
    table(tmp_path / "sub/t.csv", [("x", "a"), ("b", "b"), ("y", "c"), ("z", "gone")])
    assert set(listed(tmp_path, "multiexpr")[1]) == {"a.mp4", "b.mp4", "c.mp4"}
    _, entries, _ = listed(tmp_path, "multiexpr", columns={"path": "name"})
    assert set(entries) == {"b.mp4"}


def test_a_table_that_hardly_names_a_video_is_about_something_else(tmp_path, drawn):
    copy(drawn, tmp_path / "a.mp4")
    table(tmp_path / "t.csv", [("a", "x"), *[("no", "x")] * 4])
    assert detect(tmp_path) == "multiexpr"  # a fifth of its rows
    table(tmp_path / "t.csv", [("a", "x"), *[("no", "x")] * 5])
    assert detect(tmp_path) == "folder"


def test_webdataset_reads_every_tar_and_every_kind_of_sidecar(tmp_path, drawn):
    for number, name in enumerate("ab"):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            tar.add(drawn / f"{name}.mp4", "s/1.low.mp4")
            for ending, data in ((".caption", f"caption {name}".encode()), (".json", b'{"FPS": 25}')):
                info = tarfile.TarInfo(f"s/1.low{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    copy(drawn, tmp_path / "loose.mp4")
    _, entries, problems = listed(tmp_path, "webdataset")
    assert {key: (entry.caption, entry.scores) for key, entry in entries.items()} == {
        "0.tar/s/1": ("caption a", {"fps": 25.0}),
        "1.tar/s/1": ("caption b", {"fps": 25.0}),
        "loose.mp4": ("", {}),
    }
    assert not problems


def test_a_sidecar_that_is_not_json_costs_the_scores_alone(tmp_path, drawn):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(drawn / "a.mp4", "1.mp4")
        info = tarfile.TarInfo("1.json")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"{"))
    _, entries, problems = listed(tmp_path)
    assert set(entries) == {"a.tar/1"}
    assert problems == {("unreadable", "a.tar/1.mp4")}


def test_a_huge_sidecar_is_not_read(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr("multiexpr.sources.webdataset.MAX_SIDECAR_BYTES", 10)
    assert listed(webdataset(tmp_path, drawn))[1]["00000.tar/000000001"].caption == ""
