"""Listing is safe item by item: a bad item is listed with its reason, and the others are entries."""

import io
import json
import os
import shutil
import socket
import tarfile
import zipfile

import pytest

from exprbench import UserError
from multiexpr.indexing.listing import list_collection
from multiexpr.sources import Entry, Problem, SourceOptions, detect, read_collection
from multiexpr.storage.parquet import list_shards, read_rows, shard_path
from multiexpr.storage.workspace import Workspace


def listed(root, kind=None, **options):
    """Return entries by key, and problems as {(path): (kind, detail)}."""
    items = list(read_collection(root, kind or detect(root), SourceOptions(**options)))
    entries = {item.key: item for item in items if isinstance(item, Entry)}
    problems = {item.path: (item.kind, item.detail) for item in items if isinstance(item, Problem)}
    return entries, problems


def stored(root, out, **options):
    """Return the rows of entries by key and of mismatches by path, as written to the tables."""
    workspace = Workspace(out)
    list_collection(root, workspace, **options)
    shards = [shard_path(workspace.entries, shard) for shard in list_shards(workspace.entries)]
    rows = {row["key"]: row for path in shards for row in read_rows(path)}
    return rows, {row["path"]: (row["kind"], row["detail"]) for row in read_rows(workspace.mismatches)}


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def videos(tmp_path):
    """Folder with a file that has the name of a video: listing does not open it."""
    root = tmp_path / "videos"
    root.mkdir()
    (root / "good.mp4").write_bytes(b"good")
    return root


@pytest.mark.parametrize("suffix", [".mp4", ".tar", ".zip"])
def test_names_that_are_not_utf8(videos, tmp_path, suffix):
    with open(os.fsencode(videos) + b"/caf\xe9" + suffix.encode(), "wb") as file:
        file.write(b"x")
    rows, mismatches = stored(videos, tmp_path / "out", kind="folder")
    assert list(rows) == ["good.mp4"]
    assert mismatches == {f"caf\\udce9{suffix}": ("unreadable", "its name is not UTF-8; rename it")}


def test_files_in_a_folder_that_is_not_utf8(videos, tmp_path):
    folder = os.fsencode(videos) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + b"/a.mp4", "wb") as file:
        file.write(b"x")
    rows, mismatches = stored(videos, tmp_path / "out")
    assert list(rows) == ["good.mp4"]
    assert list(mismatches) == ["caf\\udce9/a.mp4"]


def test_members_of_a_tar_that_are_not_utf8(videos, tmp_path):
    with tarfile.open(videos / "a.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as tar:
        add(tar, "caf\xe9.mp4", b"1")
        add(tar, "b.mp4", b"22")
        add(tar, "b.txt", b"caf\xe9")
    rows, mismatches = stored(videos, tmp_path / "out")
    assert {key: row["caption"] for key, row in rows.items()} == {"a.tar/b": "café", "good.mp4": ""}
    assert mismatches == {"a.tar/caf\\udce9.mp4": ("unreadable", "its name is not UTF-8")}


@pytest.mark.parametrize("text", [r"a \ud83d face", r"\udcff", r"\ud800\ud800"])
def test_half_characters_in_captions_are_replaced_and_listed(videos, tmp_path, text):
    (videos / "meta.jsonl").write_text(f'{{"file": "good.mp4", "caption": "{text}", "note": "{text}"}}\n')
    rows, mismatches = stored(videos, tmp_path / "out")
    assert "\ufffd" in rows["good.mp4"]["caption"]
    assert "\ufffd" in rows["good.mp4"]["source_scores"]
    assert mismatches == {"good.mp4": ("suspicious_caption", "half characters in it were replaced")}


def test_whole_characters_written_as_halves_are_joined(videos, tmp_path):
    (videos / "meta.jsonl").write_text(r'{"file": "good.mp4", "caption": "a \ud83d\ude00 face"}')
    rows, mismatches = stored(videos, tmp_path / "out")
    assert (rows["good.mp4"]["caption"], mismatches) == ("a \U0001f600 face", {})


def test_links_to_folders_that_contain_them(videos):
    (videos / "x").mkdir()
    (videos / "x" / "up").symlink_to(videos)
    (videos / "x" / "self").symlink_to("self")
    (videos / "self.mp4").symlink_to("self.mp4")
    entries, problems = listed(videos)
    assert list(entries) == ["good.mp4"]
    assert problems == {
        "x/up": ("unreadable", "a link to a folder that contains it"),
        "self.mp4": ("unreadable", "it cannot be opened"),
    }


def test_a_link_to_a_folder_elsewhere_is_followed(videos, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.mp4").write_bytes(b"b")
    (videos / "link").symlink_to(tmp_path / "more")
    assert list(listed(videos)[0]) == ["good.mp4", "link/b.mp4"]


def test_folders_that_are_nested_too_deeply(videos):
    (videos / "/".join("d" * 200)).mkdir(parents=True)
    entries, problems = listed(videos)
    assert list(entries) == ["good.mp4"]
    assert list(problems.values()) == [("unreadable", "folders are nested more than 100 deep")]


@pytest.mark.parametrize("suffix", [".mp4", ".tar", ".zip", ".csv", ".txt", ".jsonl"])
@pytest.mark.parametrize("make", ["pipe", "socket", "folder"])
def test_what_is_not_a_file_is_not_opened(videos, tmp_path, suffix, make):
    path = videos / f"good2{suffix}"
    if make == "pipe":
        os.mkfifo(path)
    elif make == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        path.mkdir()
    rows, mismatches = stored(videos, tmp_path / "out")
    assert list(rows) == ["good.mp4"]
    is_listed = make != "folder" and suffix in (".mp4", ".tar", ".zip")
    assert mismatches == ({path.name: ("unreadable", "not a regular file")} if is_listed else {})


def webdataset(path):
    with tarfile.open(path, "w") as tar:
        for i in range(3):
            add(tar, f"{i}.mp4", bytes([65 + i]) * (700 + i))
            add(tar, f"{i}.txt", f"caption {i}".encode())
    return path.read_bytes()


def test_a_tar_cut_short_anywhere_gives_its_complete_videos(tmp_path):
    root = tmp_path / "wds"
    root.mkdir()
    whole = webdataset(root / "a.tar")
    assert [e.caption for e in listed(root)[0].values()] == ["caption 0", "caption 1", "caption 2"]
    for size in range(0, 5 * 1024, 256):
        (root / "a.tar").write_bytes(whole[:size])
        entries, problems = listed(root)
        assert [kind for kind, _ in problems.values()] == ["unreadable"]
        complete = [i for i in range(3) if size >= 2560 * i + 512 + 700 + i]
        assert list(entries) == [f"a.tar/{i}" for i in complete]
        assert [e.caption for e in entries.values()] == [
            f"caption {i}" if size >= 2560 * i + 2048 + 9 else "" for i in complete
        ]


def test_a_tar_damaged_between_its_members(tmp_path):
    whole = bytearray(webdataset(tmp_path / "a.tar"))
    whole[2560 : 2560 + 512] = b"\xff" * 512
    (tmp_path / "a.tar").write_bytes(whole)
    entries, problems = listed(tmp_path)
    assert [e.caption for e in entries.values()] == ["caption 0"]
    assert problems["a.tar"][1] == "the archive cannot be read: it is cut short or damaged at byte 2560"


def test_a_zip_that_unpacks_to_gigabytes(videos):
    with zipfile.ZipFile(videos / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.mp4", bytes(10**7))
        archive.writestr("b.mp4", os.urandom(1000))
    entries, problems = listed(videos)
    assert list(entries) == ["a.zip/b.mp4", "good.mp4"]
    assert problems == {"a.zip/bomb.mp4": ("unreadable", "unpacked, it is more than 100 times as large")}


DEEP = "[" * 200_000 + "]" * 200_000


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        (DEEP, "JSON that is nested too deeply"),
        ("9" * 5000, "not JSON: Exceeds"),
        ('{"file": "b', "not JSON: "),
    ],
)
def test_bad_json_costs_one_row(videos, bad, detail):
    good = json.dumps({"file": "good.mp4", "caption": "fine"})
    (videos / "meta.jsonl").write_text(f'{{"x": {bad}}}\n{good}\n')
    entries, problems = listed(videos, "multiexpr")
    assert entries["good.mp4"].caption == "fine"
    assert problems["meta.jsonl, line 1"][1].startswith(detail)


def test_values_of_json_that_are_nested_or_huge_become_text(videos):
    row = {"file": "good.mp4", "list": [[1, 2]], "huge": 10**400, "nan": float("nan"), "none": None}
    (videos / "meta.jsonl").write_text(json.dumps(row))
    scores = listed(videos)[0]["good.mp4"].scores
    assert scores == {"list": "[[1, 2]]", "huge": str(10**400), "nan": "nan"}


def test_a_bad_sidecar_in_a_tar_costs_its_caption(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in [("0", DEEP), ("1", "{" * 9), ("2", '{"caption": "fine"}'), ("3", " " * (1 << 24) + "{}")]:
            add(tar, f"{name}.mp4", name.encode() * 9)
            add(tar, f"{name}.json", data.encode())
    entries, problems = listed(tmp_path)
    assert [e.caption for e in entries.values()] == ["", "", "fine", ""]
    assert sorted(problems) == ["a.tar/0.mp4", "a.tar/1.mp4", "a.tar/3.mp4"]


def test_huge_cells_and_lines_cost_their_row(videos, monkeypatch):
    from multiexpr.sources import tabular

    monkeypatch.setattr(tabular, "MAX_CHARS", 2000)
    old = tabular.csv.field_size_limit(1000)
    try:
        table = f"file,caption\nx.mp4,{'y' * 1500}\nz.mp4,{'z' * 5000}\ngood.mp4,fine\n"
        (videos / "meta.csv").write_text(table)
        entries, problems = listed(videos, "multiexpr")
    finally:
        tabular.csv.field_size_limit(old)
    assert entries["good.mp4"].caption == "fine"
    assert problems["meta.csv, line 2"] == ("unreadable", "field larger than field limit (1000)")
    assert problems["meta.csv, line 3"] == ("unreadable", "the line has more than 2000 characters")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_tables_in_other_encodings(videos, encoding, suffix):
    shutil.copy(videos / "good.mp4", videos / "zoë.mp4")
    row = {"file": "zoë.mp4", "caption": "Zoë smiles at Åsa"}
    lines = {".csv": "{file},{caption}", ".tsv": "{file}\t{caption}"}
    head = {".csv": "file,caption\n", ".tsv": "file\tcaption\n"}.get(suffix, "")
    line = lines[suffix].format(**row) if suffix in lines else json.dumps(row, ensure_ascii=False)
    (videos / f"meta{suffix}").write_text(f"{head}{line}\n", encoding=encoding)
    assert listed(videos)[0]["zoë.mp4"].caption == "Zoë smiles at Åsa"


def test_short_and_long_rows(videos):
    (videos / "b.mp4").write_bytes(b"b")
    (videos / "meta.csv").write_text("caption,file\n\nshort\nfine,good.mp4\nlong,b.mp4,x,y\n")
    entries, problems = listed(videos, "multiexpr")
    assert list(entries) == ["good.mp4"]
    assert problems["meta.csv, line 5"] == ("unreadable", "4 cells under 2 columns")
    assert problems["(a row that names no file)"][0] == "row_without_file"


@pytest.mark.parametrize("name", ["meta.csv", "meta.json", "meta.parquet", "meta.jsonl"])
def test_noise_with_the_name_of_a_table(videos, name):
    (videos / name).write_bytes(os.urandom(5000))
    assert list(listed(videos)[0]) == ["good.mp4"]


def test_an_unbalanced_quote_never_gives_a_clip_the_caption_of_another(videos):
    for name in "abcd":
        (videos / f"{name}.mp4").write_bytes(name.encode() * 5)
    (videos / "meta.csv").write_text('video,caption\na.mp4,"two people\nb.mp4,"they talk"\nc.mp4,"x"\nd.mp4,y\n')
    entries, problems = listed(videos, "multiexpr")
    assert {key: entry.caption for key, entry in entries.items()} == {"a.mp4": "", "c.mp4": "x", "d.mp4": "y"}
    assert problems["a.mp4"][0] == "suspicious_caption"
    assert "the row of b.mp4" in problems["a.mp4"][1]
    assert problems["b.mp4"][0] == "file_without_row"


def test_captions_of_several_lines_stay(videos):
    (videos / "meta.csv").write_text('video,caption\ngood.mp4,"two people, talking\nthey laugh, too; good, night"\n')
    assert listed(videos)[0]["good.mp4"].caption == "two people, talking\nthey laugh, too; good, night"


def test_names_with_dots_are_not_mixed_up(videos):
    for name in ("john.mp4", "john.smith.mp4", "john.doe.mp4"):
        (videos / name).write_bytes(name.encode())
    (videos / "meta.csv").write_text("video,caption\njohn.roe,roe\njohn.smith,smith\njohn,john\njohn.doe.avi,doe\n")
    entries, problems = listed(videos, "multiexpr")
    captions = {"john.mp4": "john", "john.smith.mp4": "smith", "john.doe.mp4": "doe"}
    assert {key: entry.caption for key, entry in entries.items()} == captions
    assert problems["john.roe"][0] == "row_without_file"


def test_a_missing_file_does_not_give_its_caption_to_one_of_the_same_name(videos):
    for name in ("a/1.mp4", "a/2.mp4"):
        (videos / name).parent.mkdir(exist_ok=True)
        (videos / name).write_bytes(name.encode())
    (videos / "meta.csv").write_text("video,caption\nb/1.mp4,of b\na/1.mp4,of a\n/disk/a/2.mp4,moved\n")
    entries, problems = listed(videos, "multiexpr")
    assert {key: entry.caption for key, entry in entries.items()} == {"a/1.mp4": "of a"}
    assert problems["b/1.mp4"] == ("row_without_file", "another folder has a file of this name")
    (videos / "meta.csv").write_text("video,caption\n/disk/a/1.mp4,of a\n/disk/a/2.mp4,moved\n")
    assert {entry.caption for entry in listed(videos, "multiexpr")[0].values()} == {"of a", "moved"}


def test_keys_of_webdataset_end_at_the_first_dot(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "x.y/0001.mp4", b"1")
        add(tar, "x.y/0001.txt", b"one")
        add(tar, "x.y/0002.left.mp4", b"2")
        add(tar, "x.y/0002.right.txt", b"right")
        add(tar, "x.y/0002.left.txt", b"left")
        add(tar, "x.y/0003.mp4", b"3")
        add(tar, "x.y/0003.other.txt", b"of another video")
        add(tar, "./0004.mp4", b"4")
        add(tar, "0004.TXT", b"four")
    entries, _ = listed(tmp_path)
    assert {key: entry.caption for key, entry in entries.items()} == {
        "a.tar/x.y/0001": "one",
        "a.tar/x.y/0002": "left",
        "a.tar/x.y/0003": "",
        "a.tar/0004": "four",
    }


def test_hallo3_captions_in_subfolders(tmp_path):
    for name in ("videos/a/1.mp4", "videos/b/1.mp4", "videos/x.y.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    for name in ("caption/b/1.txt", "caption/x.txt", "caption/x.y.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    entries, problems = listed(tmp_path)
    assert {key: entry.caption for key, entry in entries.items()} == {
        "videos/a/1.mp4": "",
        "videos/b/1.mp4": "caption/b/1.txt",
        "videos/x.y.mp4": "caption/x.y.txt",
    }
    assert list(problems) == ["caption/x.txt"]


def test_paths_of_openhumanvid_do_not_leave_the_collection(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.mp4").write_bytes(b"x")
    (root / "OpenHumanVid_part_001.csv").write_text(f"clip_id,path\na,../outside\nb,{tmp_path}/outside\nc,/etc/x\n")
    entries, problems = listed(root)
    assert not entries
    assert {kind for kind, _ in problems.values()} == {"row_without_file"}


def test_a_gif_and_a_caption_that_is_too_long_are_listed(videos):
    (videos / "a.gif").write_bytes(b"GIF89a")
    (videos / "good.txt").write_text("x" * (1 << 21))
    entries, problems = listed(videos, "folder")
    assert entries["good.mp4"].caption == ""
    assert problems == {
        "a.gif": ("unreadable", "a GIF; expected a video, such as .mp4"),
        "good.txt": ("unreadable", "the caption has more than 1048576 characters"),
    }


def test_a_collection_whose_path_is_not_utf8_is_an_error(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    with pytest.raises(UserError, match="is not UTF-8; rename its folders"):
        list_collection(type(tmp_path)(os.fsdecode(folder)), Workspace(tmp_path / "out"))


@pytest.mark.parametrize("columns", ["video,caption", "caption,video", "video,caption,score"])
@pytest.mark.parametrize("change", ["insert", "remove"])
def test_one_wrong_quote_anywhere_gives_no_clip_the_caption_of_another(videos, columns, change):
    for name in "abcd":
        (videos / f"{name}.mp4").write_bytes(name.encode() * 5)
    captions = {
        "a": '"caption-a, two people"',
        "b": "caption-b",
        "c": '"caption-c ""hi""\nthey laugh, both"',
        "d": '"caption-d"',
    }
    rows = [{"video": f"{name}.mp4", "caption": text, "score": "1.5"} for name, text in captions.items()]
    table = "\n".join([columns, *(",".join(row[c] for c in columns.split(",")) for row in rows)]) + "\n"
    start = table.index("\n") + 1
    if change == "insert":
        damaged = [table[:i] + '"' + table[i:] for i in range(start, len(table))]
    else:
        damaged = [table[:i] + table[i + 1 :] for i in range(start, len(table)) if table[i] == '"']
    for text in damaged:
        (videos / "meta.csv").write_text(text)
        try:
            entries, _ = listed(videos, "multiexpr")
        except UserError:  # no row is left that names a video
            continue
        for key, entry in entries.items():
            for other in set("abcd") - {key[0]}:
                assert f"caption-{other}" not in entry.caption, (text, key, entry.caption)


def test_suffixes_in_upper_case(videos, tmp_path):
    (videos / "good.mp4").rename(videos / "good.MP4")
    (videos / "good.TXT").write_text("in capitals")
    assert listed(videos)[0]["good.MP4"].caption == "in capitals"
    (videos / "META.CSV").write_text("clip_id,path,caption\n1,good.mp4,of a table\n")
    assert detect(videos) == "openhumanvid"
    assert listed(videos)[0]["good"].caption == "of a table"
    (tmp_path / "wds").mkdir()
    with tarfile.open(tmp_path / "wds" / "A.TAR", "w") as tar:
        add(tar, "1.MP4", b"1")
        add(tar, "1.JSON", b'{"caption": "one"}')
    assert [entry.caption for entry in listed(tmp_path / "wds")[0].values()] == ["one"]
