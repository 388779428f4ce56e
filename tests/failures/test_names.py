"""Names and files from elsewhere stay in their folder, no shell sees them, and what is wrong is said in a line."""

import copy
import json
import os
import random
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exprbench import Benchmark, UserError, build, check, score, table
from exprbench.benchmark import dump_cases
from exprbench.core.errors import ItemError
from exprbench.core.files import inside, sha256_path
from exprbench.faces import TracksError, save_tracks
from exprbench.faces.tracks import pack_tracks, unpack_tracks
from exprbench.media import MediaError, open_clip, write_image, write_video
from exprbench.records import load_record, save_record
from tests.people import clip, people, person, still
from tests.videos import number_of, numbered

ODD = (
    "; touch owned #",
    "$(touch owned) `touch owned`",
    "-rf --out x",
    "a\nb",
    "quo'te\"s",
    "%03d %s",
    "conc:at|http:x?y=1",
    "\u202egpj.exe",
    "e\u0301\u00e9\uff0e\uff0e\uff0f",
    " . ",
    "x" * 251,
    "\u00e9" * 125 + "x",
)


@pytest.mark.parametrize("name", ODD)
def test_any_file_name_is_read_as_it_is(tmp_path, name):
    path = tmp_path / f"{name}.mp4"
    write_video(path, [numbered(i) for i in range(3)])
    with open_clip(path) as frames:
        assert [number_of(frame) for frame in frames] == [0, 1, 2]
    write_image(tmp_path / f"{name}.png", numbered(5))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"{name}.mp4", f"{name}.png"])


def test_a_name_that_is_no_text_is_read_too(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe.mp4")
    write_video(tmp_path / "a.mp4", [numbered(1)])
    shutil.copyfile(tmp_path / "a.mp4", path)
    with open_clip(path) as frames:
        assert [number_of(frame) for frame in frames] == [1]


def test_odd_names_become_a_benchmark_and_a_record_without_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {name: tmp_path / f"; touch owned {name}" for name in ("portraits", "driving")}
    for folder in folders.values():
        folder.mkdir()
    for i, name in enumerate(ODD[:-2]):
        still(folders["portraits"] / f"{name}.png", person(1), number=i)
    clip(folders["driving"] / "$(touch owned).mp4", 30, person(30))
    bench = build(**folders, out=tmp_path / "$(touch owned) bench", workers=0)
    assert check(bench.root) == []
    assert all(bench.path(asset).resolve().is_relative_to(bench.root.resolve()) for asset in bench.assets)
    out = tmp_path / "`touch owned`.json"
    score(benchmark=bench.root, predictions=folders["driving"], method="; touch owned", out=out, workers=0)
    assert "touch owned" in table([out])
    assert not list(tmp_path.rglob("owned*"))


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "link/x", "a\0b", "\ud800", "..", "//x"])
def test_a_path_that_leads_out_is_refused(tmp_path, path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out of") as error:
        inside(tmp_path / "in", path)
    assert "\n" not in str(error.value)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "~", "\uff0e\uff0e", "\u2215", " ", "link", "x" * 300])))
def test_whatever_is_let_through_lies_in_the_folder(tmp_path_factory, parts):
    folder = tmp_path_factory.getbasetemp() / "within"
    folder.mkdir(exist_ok=True)
    try:
        found = inside(folder, "/".join(parts))
    except UserError:
        return
    assert os.path.realpath(found).startswith(os.path.realpath(folder))


@pytest.mark.parametrize(
    "case_id",
    ["single-self-\uff10\uff10\uff10\uff11", "single-self-0001\n", "single-self-0001/../../x", " single-self-0001", ""],
)
def test_case_ids_are_of_one_form(bench, tmp_path, case_id):
    copied = tmp_path / "bench"
    shutil.copytree(bench.root, copied)
    text = (copied / "cases.csv").read_text()
    (copied / "cases.csv").write_text(text.replace("single-self-0001,", f'"{case_id}",', 1))
    with pytest.raises(UserError, match="is not the id"):
        Benchmark.open(copied)


def test_a_frame_folder_is_its_files_and_nothing_they_lead_to(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    write_image(folder / "00000.png", numbered(3))
    plain = sha256_path(folder)
    os.mkfifo(folder / "00001.png")
    (folder / "root").symlink_to("/")
    (folder / "self").symlink_to(folder)
    assert sha256_path(folder) == plain
    with pytest.raises(MediaError, match="not a regular file"), open_clip(folder) as frames:
        list(frames)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(method="\u202eevil"),
        lambda t: t.update(method="two\nlines"),
        lambda t: t.update(method="x" * 101),
        lambda t: t["cases"][0].update(case_id="../../x"),
        lambda t: t["cases"][0].update(case_id="<b>"),
    ],
)
def test_records_with_names_that_no_run_gives_are_refused(expected, tmp_path, change):
    told = json.loads(expected.out.read_text())
    change(told)
    (tmp_path / "m.json").write_text(json.dumps(told))
    with pytest.raises(UserError) as error:
        load_record(tmp_path / "m.json")
    assert "\n" not in str(error.value)


def nodes(value, path=()):
    """Every place in a JSON value."""
    yield path
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in below:
        yield from nodes(child, (*path, key))


def spoiled(value, rng):
    """The value with something else in one place."""
    value = copy.deepcopy(value)
    path = rng.choice([p for p in nodes(value) if p])
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = rng.choice([None, True, -1, 10**400, 1.5, "", "\0", "../x", "nan", [], {}, [[]], {"a": 1}])
    return value


def test_spoiled_records_are_read_or_refused(expected, tmp_path):
    told = json.loads(expected.out.read_text())
    path, refused = tmp_path / "m.json", 0
    for i in range(300):
        path.write_text(json.dumps(spoiled(told, random.Random(i))))
        try:
            record = load_record(path)
            save_record(path, record)
            for kind in ("md", "latex", "html", "csv", "json"):
                table([record], format=kind)
        except UserError:
            refused += 1
    assert refused > 100


def test_spoiled_benchmarks_are_read_or_refused(bench, tmp_path):
    root = tmp_path / "bench"
    root.mkdir()
    shutil.copyfile(bench.root / "cases.csv", root / "cases.csv")
    told, refused = json.loads((bench.root / "benchmark.json").read_text()), 0
    for i in range(300):
        (root / "benchmark.json").write_text(json.dumps(spoiled(told, random.Random(i))))
        try:
            Benchmark.open(root)
        except UserError as error:
            refused += len(str(error)) < 1000
    assert refused > 100


def test_a_benchmark_whose_cases_name_files_it_does_not_list(bench, tmp_path):
    """Somebody made the hash fit."""
    cases = tuple(replace(case, drivers=("driving/other.mp4",)) for case in bench.cases[:1])
    forged = replace(bench, root=tmp_path, cases=cases)
    (tmp_path / "cases.csv").write_text(dump_cases(cases))
    (tmp_path / "benchmark.json").write_text(json.dumps(forged.describe()))
    with pytest.raises(UserError, match=r"driving/other\.mp4, which the benchmark does not list"):
        score(benchmark=tmp_path, predictions=tmp_path, method="m", out=tmp_path / "m.json", workers=0)


@pytest.mark.parametrize("pack", [pack_tracks, None], ids=["stored", "deflated"])
def test_damaged_tracks_are_read_or_refused(tmp_path, pack):
    tracks = people(6, person(6), person(6, x=0.3))
    data = pack(tracks) if pack else deflated(tmp_path, tracks)
    ends = {"read": 0, "refused": 0}
    for i in range(300):
        rng, spoilt = random.Random(i), bytearray(data)
        for _ in range(1 << rng.randrange(6)):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        try:
            unpack_tracks(bytes(spoilt if rng.random() < 0.8 else spoilt[: rng.randrange(len(spoilt))]))
            ends["read"] += 1
        except TracksError:
            ends["refused"] += 1
    assert ends["refused"] > 50


def deflated(tmp_path, tracks):
    save_tracks(tmp_path / "a.npz", tracks)
    with np.load(tmp_path / "a.npz") as file:
        np.savez_compressed(tmp_path / "b.npz", **dict(file))
    return (tmp_path / "b.npz").read_bytes()


def test_tracks_that_ask_for_terabytes_are_refused():
    data = bytearray(pack_tracks(people(6, person(6))))
    told = b"(1, 6, 478, 3)"
    at = data.index(told)
    data[at : at + len(told)] = b"(9999999, 99,)"
    with pytest.raises(TracksError, match="tracks_invalid"):
        unpack_tracks(bytes(data))


def test_an_item_error_says_what_is_wrong_in_one_line(tmp_path):
    (tmp_path / "a\nb.mp4").write_bytes(struct.pack(">I", 7))
    with pytest.raises(ItemError) as error, open_clip(tmp_path / "a\nb.mp4"):
        pass
    assert "\n" not in str(error.value)
