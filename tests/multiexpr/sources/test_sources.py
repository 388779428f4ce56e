import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from exprbench import UserError
from exprbench.media import open_frames
from multiexpr.sources import Entry, Problem, SourceOptions, detect, read_collection
from multiexpr.sources.locate import video_source
from multiexpr.sources.tabular import parse_columns
from tests.videos import number_of


def listed(root, kind=None, **options):
    kind = kind or detect(root)
    items = list(read_collection(root, kind, SourceOptions(**options)))
    entries = {item.key: item for item in items if isinstance(item, Entry)}
    problems = {(item.kind, item.path) for item in items if isinstance(item, Problem)}
    return kind, entries, problems


def row_of(entry, **changes):
    """Return the row of the index for an entry."""
    location = entry.location._asdict()
    return {**location, "start_s": 0.0, "duration_s": None, "problem": "", **changes}


def first_number(entry, root, **span):
    """Return the number drawn into the first frame, which identifies the drawn video of an entry."""
    with open_frames(video_source(row_of(entry, **span), root), [0.0]) as frames:
        return number_of(next(iter(frames)))


def copy(drawn, *targets):
    for name, target in zip("abcd", targets, strict=False):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn / f"{name}.mp4", target)


OPENVID = "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"


def openvid(root, drawn):
    """Write the layout of the release: a CSV with spaces in names, a stored, a deflated and a split zip."""
    table = root / "data" / "train" / "OpenVid-1M.csv"
    table.parent.mkdir(parents=True)
    row = '{},"two people, one ""laughs""\nloud",5.1,3.2,0.99,pan_right,50,25.0,2.0\n'
    table.write_text(OPENVID + "".join(row.format(f"{n}.mp4") for n in ("a", "b", "c", "gone", "a")), encoding="utf-8")
    for name, files, method in [("0", "a", 0), ("1", "bd", 8), ("2", "c", 0)]:
        with zipfile.ZipFile(root / f"OpenVid_part{name}.zip", "w", method) as archive:
            archive.writestr("notes.txt", "not a video")
            for file in files:
                archive.write(drawn / f"{file}.mp4", f"deep/folder/{file}.mp4")
    whole = (root / "OpenVid_part2.zip").read_bytes()
    (root / "OpenVid_part2_partaa").write_bytes(whole[: len(whole) // 2])
    (root / "OpenVid_part2_partab").write_bytes(whole[len(whole) // 2 :])
    (root / "OpenVid_part2.zip").unlink()
    (root / "OpenVid_part3.zip").write_bytes(whole[:-30])
    return root


def test_openvid_is_read_from_its_zips(tmp_path, drawn):
    root = openvid(tmp_path / "OpenVid-1M", drawn)
    kind, entries, problems = listed(root)
    assert kind == "openvid"
    assert {key: first_number(entry, root) for key, entry in entries.items()} == {"a.mp4": 97, "b.mp4": 98, "c.mp4": 99}
    assert entries["c.mp4"].location.parts == ("OpenVid_part2_partaa", "OpenVid_part2_partab")
    assert entries["b.mp4"].location.packing == "deflated"
    assert entries["a.mp4"].caption == 'two people, one "laughs"\nloud'
    assert entries["a.mp4"].scores["aesthetic_score"] == 5.1
    assert entries["a.mp4"].scores["camera_motion"] == "pan_right"
    assert problems == {
        ("row_without_file", "gone.mp4"),
        ("duplicate", "a.mp4"),
        ("file_without_row", "OpenVid_part1.zip/deep/folder/d.mp4"),
        ("unreadable", "OpenVid_part3.zip"),
    }


def test_openvid_unpacked_has_the_same_keys(tmp_path, drawn):
    packed = listed(openvid(tmp_path / "packed", drawn))[1]
    root = tmp_path / "unpacked"
    copy(drawn, *(root / "video" / f"{n}.mp4" for n in "abc"))
    shutil.copytree(tmp_path / "packed" / "data", root / "data")
    kind, entries, _ = listed(root)
    assert kind == "openvid"
    assert entries.keys() == packed.keys()


def test_unlisted_includes_files_without_a_row(tmp_path, drawn):
    _, entries, problems = listed(openvid(tmp_path / "o", drawn), unlisted=True)
    assert "d.mp4" in entries
    assert not any(kind == "file_without_row" for kind, _ in problems)


IDS = ["f605b8e91db3dd66865f3ea1b4e3621d", "00aa4c3e1db3dd66865f3ea1b4e3621e", "12345678901234567890123456789012"]


def openhumanvid(root, drawn):
    head = "\ufeffclip_id,path,caption,luminance_min,blur_max,aesthetic,,\n"
    line = "{0},clips/part_{1}/{2}/{3}/{0},two men talk,12.5,,5.0,,\n"
    for part, ids in (("001", IDS[:2]), ("002", IDS[2:])):
        rows = "".join(line.format(i, part, i[:2], i[2:4]) for i in ids)
        (root / f"OpenHumanVid_part_{part}.csv").write_text(head + rows, encoding="utf-8")
    copy(drawn, *(root / "part_001" / i[:2] / i[2:4] / f"{i}.mp4" for i in IDS[:2]), root / "part_003/aa/bb/extra.mp4")
    return root


def test_openhumanvid_with_blank_columns_and_mapped_paths(tmp_path, drawn):
    root = tmp_path / "ohv"
    root.mkdir()
    kind, entries, problems = listed(openhumanvid(root, drawn))
    assert kind == "openhumanvid"
    assert set(entries) == set(IDS[:2])
    assert {entry.caption for entry in entries.values()} == {"two men talk"}
    scores = entries[IDS[0]].scores
    assert (scores["luminance_min"], "blur_max" in scores, "" in scores) == (12.5, False, False)
    third = IDS[2]
    assert problems == {
        ("row_without_file", f"clips/part_002/12/34/{third}"),
        ("file_without_row", "part_003/aa/bb/extra.mp4"),
    }


def test_names_of_columns_and_prefixes_of_paths_can_be_mapped(tmp_path, drawn):
    (tmp_path / "openhumanvid_06.csv").write_text("video_name,words\n/data/x/a,hello\n/data/x/b,there\n")
    copy(drawn, tmp_path / "disk/a.mp4", tmp_path / "disk/b.mp4")
    _, entries, problems = listed(
        tmp_path, columns=parse_columns("path=video_name,caption=words"), path_map={"/data/x/": "disk/"}
    )
    assert {key: entry.caption for key, entry in entries.items()} == {"a": "hello", "b": "there"}
    assert not problems
    with pytest.raises(UserError, match="OURS=THEIRS"):
        parse_columns("path")


def test_hallo3_pairs_videos_and_captions(tmp_path, drawn):
    copy(drawn, tmp_path / "talk/videos/0001.mp4", tmp_path / "talk/videos/0002.mp4", tmp_path / "wild/videos/0001.mp4")
    for name, text in [("talk/caption/0001.txt", "a man talks\n"), ("talk/caption/0009.txt", "no video")]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    kind, entries, problems = listed(tmp_path)
    assert kind == "hallo3"
    assert {k: e.caption for k, e in entries.items()} == {
        "talk/videos/0001.mp4": "a man talks",
        "talk/videos/0002.mp4": "",
        "wild/videos/0001.mp4": "",
    }
    assert problems == {("row_without_file", "talk/caption/0009.txt")}


@pytest.mark.parametrize("table", ["meta.csv", "part1/meta.jsonl", "all.json", "data.parquet"])
def test_the_released_layout_is_read_with_tables_of_all_formats(tmp_path, drawn, table):
    copy(drawn, tmp_path / "part1/videos/a.mp4", tmp_path / "part1/videos/b.mp4")
    rows = [
        {"id": 1, "File Name": "videos/a.mp4", "prompt": "they smile", "score": 0.5},
        {"id": 2, "File Name": "gone.mp4"},
    ]
    path = tmp_path / table
    if table.endswith(".csv"):
        path.write_text(
            "id,File Name,prompt,score\n1,videos/a.mp4,they smile,0.5\n2,gone.mp4,,\nbroken,row,of,too,many\n"
        )
    elif table.endswith(".parquet"):
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    else:
        lines = "\n".join(map(json.dumps, rows))
        path.write_text(json.dumps(rows) if table.endswith(".json") else lines + "\n{broken\n")
    kind, entries, problems = listed(tmp_path)
    assert kind == "multiexpr"
    (entry,) = entries.values()
    assert (entry.caption, entry.scores["score"], first_number(entry, tmp_path)) == ("they smile", 0.5, 97)
    assert ("row_without_file", "gone.mp4") in problems
    assert ("file_without_row", "part1/videos/b.mp4") in problems
    assert any(kind == "unreadable" for kind, _ in problems) == table.endswith((".csv", ".jsonl"))


def test_a_table_that_names_no_video_is_an_error(tmp_path, drawn):
    copy(drawn, tmp_path / "a.mp4")
    (tmp_path / "meta.csv").write_text("x,y\n1,2\n")
    assert detect(tmp_path) == "folder"
    with pytest.raises(UserError, match="--columns path=NAME"):
        listed(tmp_path, "multiexpr")


def webdataset(root, drawn, names="ab"):
    with tarfile.open(root / "00000.tar", "w") as tar:
        for i, name in enumerate(names):
            tar.add(drawn / f"{name}.mp4", f"{i:09d}.mp4")
            for ending, data in ((".json", b'{"aesthetic score": 5.5, "caption": "in json"}'), (".txt", b"two people")):
                if ending == ".json" or not i:
                    info = tarfile.TarInfo(f"{i:09d}{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return root


def test_webdataset_tars(tmp_path, drawn):
    root = webdataset(tmp_path, drawn)
    whole = (root / "00000.tar").read_bytes()
    (root / "00001.tar").write_bytes(whole[:3000])
    kind, entries, problems = listed(root)
    assert kind == "webdataset"
    assert {k: (e.caption, first_number(e, root)) for k, e in entries.items()} == {
        "00000.tar/000000000": ("two people", 97),
        "00000.tar/000000001": ("in json", 98),
    }
    assert entries["00000.tar/000000000"].scores == {"aesthetic_score": 5.5}
    assert problems == {("unreadable", "00001.tar")}


def test_a_folder_with_captions_and_archives(tmp_path, drawn):
    copy(drawn, tmp_path / "x/a.mp4", tmp_path / "B.MP4")
    (tmp_path / "x/a.txt").write_text("a caption")
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / ".hidden.mp4").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(drawn / "c.mp4", "c.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "more.tgz").write_bytes(b"x")
    kind, entries, problems = listed(tmp_path)
    assert kind == "folder"
    assert list(entries) == ["B.MP4", "more.zip/c.mp4", "x/a.mp4"]
    assert entries["x/a.mp4"].caption == "a caption"
    assert problems == {("unreadable", "empty.mp4"), ("unreadable", "more.tgz")}
    assert listed(tmp_path / "B.MP4")[1].keys() == {"B.MP4"}
    assert listed(tmp_path / "more.zip")[1].keys() == {"more.zip/c.mp4"}


def test_members_with_unknown_compression_are_unreadable(tmp_path, drawn):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.write(drawn / "a.mp4", "a.mp4")
        archive.writestr("empty.mp4", b"")
    _, entries, problems = listed(tmp_path)
    assert not entries
    assert problems == {("unreadable", "a.zip/a.mp4"), ("unreadable", "a.zip/empty.mp4")}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission(tmp_path, drawn):
    copy(drawn, tmp_path / "a.mp4")
    (tmp_path / "a.mp4").chmod(0)
    assert listed(tmp_path)[2] == {("unreadable", "a.mp4")}


def test_missing_collections_and_unknown_kinds_are_errors():
    with pytest.raises(UserError, match="there is no collection"):
        detect(Path("/nowhere/at/all"))
    with pytest.raises(UserError, match="did you mean 'openvid'"):
        list(read_collection(Path(), "openvd", SourceOptions()))


def test_files_come_in_the_order_of_their_names_whatever_the_disk_says(tmp_path, drawn, monkeypatch):
    copy(drawn, tmp_path / "b.mp4", tmp_path / "a.mp4", tmp_path / "x/1.mp4")
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: sorted(real(path), key=lambda entry: entry.name, reverse=True))
    assert list(listed(tmp_path, "folder")[1]) == ["a.mp4", "b.mp4", "x/1.mp4"]


def test_hidden_files_and_folders_are_left_out(tmp_path, drawn):
    copy(drawn, tmp_path / ".trash/a.mp4", tmp_path / ".b.mp4", tmp_path / "c.mp4")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(drawn / "d.mp4", "__MACOSX/._d.mp4")
    assert set(listed(tmp_path, "folder")[1]) == {"c.mp4"}


def test_an_empty_member_of_a_tar_is_a_problem(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.mp4"))
    assert listed(tmp_path, "folder")[2] == {("unreadable", "a.tar/a.mp4")}


def test_the_caption_next_to_an_archive_is_not_its_members(tmp_path, drawn):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(drawn / "a.mp4", "a.mp4")
    copy(drawn, tmp_path / "b.mp4")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("\ufeffa caption", encoding="utf-8")
    captions = {key: entry.caption for key, entry in listed(tmp_path, "folder")[1].items()}
    assert captions == {"a.zip/a.mp4": "", "b.mp4": "a caption"}
