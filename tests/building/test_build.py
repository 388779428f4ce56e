import filecmp
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from exprbench import Benchmark, UserError, build, check
from exprbench.building.source_files import list_inputs, safe_name
from exprbench.core.locks import sole_writer
from exprbench.core.processes import WorkerKilled
from exprbench.faces.video_tracks import landmarker
from exprbench.media import read_clip, read_image, write_image
from tests.people import clip, person, still
from tests.videos import numbered, numbers, write


@pytest.fixture
def folders(tmp_path):
    """Portraits and drivers of one and of two people, with tracks beside them."""
    made = {name: tmp_path / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    for folder in made.values():
        folder.mkdir()
    for i, name in enumerate(["ada", "bo", "cy"]):
        still(made["portraits"] / f"{name}.png", person(1, seed=i), number=i)
    for i, name in enumerate(["ada", "dee"]):
        clip(made["driving"] / f"{name}.mp4", 40, person(40, seed=i), start=100 * i)
    pair = person(1, x=0.3), person(1, x=0.7)
    still(made["multi_portraits"] / "pair.png", *pair)
    clip(made["multi_driving"] / "duo.mp4", 30, person(30, x=0.3, seed=5), person(30, x=0.7, seed=6), start=300)
    return made


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_benchmark_is_whole_and_says_what_it_holds(folders, tmp_path):
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert check(tmp_path / "bench") == []
    assert [c.case_id for c in bench.cases] == [
        "single-self-0001",
        "single-self-0002",
        "single-cross-0001",
        "single-cross-0002",
        "single-cross-0003",
        "multi-self-0001",
        "multi-cross-0001",
    ]
    assert bench.left_out == ()
    reopened = Benchmark.open(tmp_path / "bench")
    assert reopened.cases == bench.cases
    assert reopened.sha256 == bench.sha256
    asset = reopened.assets["driving/dee.mp4"]
    assert (asset.num_frames, asset.num_faces, asset.width, asset.height) == (40, 1, 160, 96)


def test_clips_are_cut_and_brought_to_the_rate(folders, tmp_path):
    bench = build(**folders, out=tmp_path / "bench", clip_seconds=1.2, workers=0, fps=25)
    assert {a.num_frames for a in bench.assets.values() if a.kind == "driver"} == {30}
    assert check(tmp_path / "bench") == []


def test_nobody_drives_themselves_and_every_portrait_is_used(folders, tmp_path):
    bench = build(**folders, out=tmp_path / "bench", cross_per_portrait=2, workers=0)
    cross = bench.select("single", "cross")
    assert {c.source for c in cross} == {"portraits/ada.png", "portraits/bo.png", "portraits/cy.png"}
    assert not [c for c in cross if c.source == "portraits/ada.png" and c.drivers == ("driving/ada.mp4",)]
    assert [c.drivers for c in cross if c.source == "portraits/bo.png"] == [("driving/ada.mp4",), ("driving/dee.mp4",)]


def test_the_same_inputs_and_seed_give_the_same_bytes(folders, tmp_path):
    build(**folders, out=tmp_path / "a", seed=3, workers=0)
    build(**folders, out=tmp_path / "b", seed=3, workers=2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_multi_cases_name_every_face(folders, tmp_path):
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    (own,) = bench.select("multi", "self")
    assert own.face_map == ((0, 0), (0, 1))
    (cross,) = bench.select("multi", "cross")
    assert cross.drivers == ("driving/multi-duo.mp4",)
    assert cross.face_map == ((0, 0), (0, 1))


def test_several_single_drivers_stand_in_for_one_of_as_many_faces(folders, tmp_path):
    trio = [person(1, x=x) for x in (0.2, 0.5, 0.8)]
    still(folders["multi_portraits"] / "trio.png", *trio)
    clip(folders["multi_driving"] / "eve.mp4", 30, person(30, seed=9), start=500)
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    (case,) = [c for c in bench.select("multi", "cross") if c.source == "portraits/multi-trio.png"]
    assert len(set(case.drivers)) == 3
    assert case.face_map == ((0, 0), (1, 0), (2, 0))


def test_what_cannot_be_used_is_listed_with_its_reason(folders, tmp_path):
    driving = folders["driving"]
    clip(driving / "short.mp4", 10, person(10))
    clip(driving / "crowd.mp4", 30, person(30, x=0.3), person(30, x=0.7), start=600)
    clip(driving / "nobody.mp4", 30, start=700)
    clip(driving / "mostly_hidden.mp4", 30, person(30, hidden=range(20)), start=800)
    (driving / "text.mp4").write_text("hello")
    (driving / "empty.mp4").touch()
    whole = clip(driving / "cut.mp4", 60, person(60), start=900).read_bytes()
    (driving / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (folders["portraits"] / "text.png").write_text("hello")
    still(folders["multi_portraits"] / "alone.png", person(1))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert {item.path: item.reason for item in bench.left_out} == {
        "short.mp4": "too_short",
        "crowd.mp4": "several_faces",
        "nobody.mp4": "no_face",
        "mostly_hidden.mp4": "no_face",
        "text.mp4": "open_failed",
        "empty.mp4": "zero_bytes",
        "cut.mp4": "truncated",
        "text.png": "open_failed",
        "alone.png": "one_face",
    }
    assert check(tmp_path / "bench") == []


def test_portraits_without_a_visible_face_stay_marked(folders, tmp_path):
    still(folders["portraits"] / "cartoon.png")
    still(folders["multi_portraits"] / "cartoons.png")
    (folders["multi_portraits"] / "sources.csv").write_text("file,faces\ncartoons.png,2\n")
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    for path, faces in (("portraits/cartoon.png", 1), ("portraits/multi-cartoons.png", 2)):
        assert bench.assets[path].num_faces == faces
        assert not bench.assets[path].faces_found
        assert path in {c.source for c in bench.cases}


def test_sources_and_licences_are_written_down(folders, tmp_path):
    (folders["driving"] / "sources.csv").write_text(
        "file,source,licence,person\ndee.mp4,https://example.org/1,CC0,Dee D.\n", encoding="utf-8-sig"
    )
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    asset = bench.assets["driving/dee.mp4"]
    assert (asset.source, asset.licence, asset.person) == ("https://example.org/1", "CC0", "Dee D.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,license\n", "did you mean 'licence'"),
        ("source\n", "no column 'file'"),
        ("file\ngone.mp4\n", "gone.mp4"),
        ("file,faces\ndee.mp4,two\n", "expected a number"),
    ],
)
def test_a_wrong_sources_file_is_a_users_mistake(folders, tmp_path, text, message):
    (folders["driving"] / "sources.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        build(**folders, out=tmp_path / "bench", workers=0)
    assert not (tmp_path / "bench").exists()


def test_an_existing_folder_is_not_touched(folders, tmp_path):
    (tmp_path / "bench").mkdir()
    with pytest.raises(UserError, match="already exists"):
        build(**folders, out=tmp_path / "bench")


def test_nothing_usable_is_a_users_mistake_and_leaves_nothing(tmp_path):
    for name in ("p", "d"):
        (tmp_path / name).mkdir()
    (tmp_path / "d" / "a.mp4").write_text("hello")
    with pytest.raises(UserError, match=r"no case .*a\.mp4: open_failed"):
        build(portraits=tmp_path / "p", driving=tmp_path / "d", out=tmp_path / "bench", workers=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "p"]


def test_names_that_are_no_names_for_a_benchmark(tmp_path):
    names = ["plain", "with space", "semi;colon", "../up", "żółw", "plain"]
    taken = set()
    for name in names:
        safe = safe_name(tmp_path / f"{name}.mp4", taken)
        assert safe not in taken
        assert not set(safe) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        taken.add(safe)
    assert "plain" in taken


def test_only_media_files_are_gathered_in_the_order_of_their_names(tmp_path):
    for name in ("b.mp4", "a.mp4", ".hidden.mp4", "notes.txt", "a.tracks.npz", "sources.csv"):
        (tmp_path / name).write_text("file\n")
    (tmp_path / "folder").mkdir()
    assert [i.path.name for i in list_inputs(tmp_path, "driver", "single")] == ["a.mp4", "b.mp4"]


def test_pixels_of_a_driver_survive_normalisation(folders, tmp_path):
    build(**folders, out=tmp_path / "bench", workers=0)
    frames, info = read_clip(tmp_path / "bench" / "driving" / "dee.mp4")
    assert numbers(frames) == list(range(100, 140))
    assert (info.fps, info.codec, info.has_audio) == (25.0, "h264", False)
    assert np.array_equal(read_image(tmp_path / "bench" / "driving" / "dee.png"), frames[0])


def test_turned_and_transparent_portraits_become_plain_ones(folders, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(numbered(3)).save(folders["portraits"] / "turned.jpg", exif=exif)
    Image.fromarray(numbered(3)).convert("RGBA").save(folders["portraits"] / "glass.png")
    for name in ("turned", "glass"):
        still(tmp_path / f"{name}.png", person(1)).with_suffix(".tracks.npz").rename(
            folders["portraits"] / f"{name}.tracks.npz"
        )
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert (bench.assets["portraits/turned.png"].width, bench.assets["portraits/turned.png"].height) == (96, 160)
    with Image.open(tmp_path / "bench" / "portraits" / "glass.png") as image:
        assert image.mode == "RGB"


def test_the_papers_sizes_are_drawn_where_there_is_more(folders, tmp_path, monkeypatch):
    monkeypatch.setitem(build.__globals__["draw_subset"].__globals__["PAPER_SIZES"], ("portrait", "single"), 2)
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert [item.reason for item in bench.left_out] == ["not_drawn"]
    assert len([a for a in bench.assets.values() if a.kind == "portrait" and a.split == "single"]) == 2
    assert check(tmp_path / "bench") == []


def test_an_old_build_that_was_killed_is_swept_away(folders, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".tmp-bench-{socket.gethostname()}-{ended.pid}-abc"
    (left / "driving").mkdir(parents=True)
    (left / "driving" / "stale.mp4").touch()
    running = tmp_path / f".tmp-bench-{socket.gethostname()}-{os.getpid()}-abc"
    elsewhere = tmp_path / f".tmp-bench-another-host-{ended.pid}-abc"
    running.mkdir()
    elsewhere.mkdir()
    build(**folders, out=tmp_path / "bench", workers=0)
    assert check(tmp_path / "bench") == []
    assert {p for p in tmp_path.iterdir() if p.name.startswith(".tmp")} == {running, elsewhere}


def test_a_second_build_of_a_folder_is_refused_in_one_line(folders, tmp_path):
    with sole_writer(tmp_path / "bench"), ThreadPoolExecutor(1) as other:
        second = other.submit(build, **folders, out=tmp_path / "bench", workers=0)
        with pytest.raises(UserError, match=rf"bench is being written by process {os.getpid()} of .*; wait for it"):
            second.result()
    assert not (tmp_path / "bench").exists()


def test_a_folder_that_appears_during_a_build_is_left_alone(folders, tmp_path, monkeypatch):
    """As by a build on another machine, which has another cache and so another lock."""

    def finish(bench):
        (tmp_path / "bench").mkdir()
        (tmp_path / "bench" / "notes.txt").write_text("mine")

    monkeypatch.setitem(build.__globals__, "_finish", finish)
    with pytest.raises(UserError, match="was created by another run in the meantime"):
        build(**folders, out=tmp_path / "bench", workers=0)
    assert [p.name for p in (tmp_path / "bench").iterdir()] == ["notes.txt"]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["portraits", "driving", "multi_driving"])
def test_an_input_whose_workers_are_killed_ends_the_build(folders, tmp_path, monkeypatch, name):
    """A case would be missing without a word about the machine."""

    def killed(work, inputs, **options):
        for item in inputs:
            yield (
                item,
                WorkerKilled(detail="ended by SIGKILL") if item.path.parent.name == name else work(item),
            )

    monkeypatch.setitem(build.__globals__, "process_map", killed)
    with pytest.raises(UserError, match=r"(png|mp4): ended by SIGKILL; nothing was written: free memory, or use fewer"):
        build(**folders, out=tmp_path / "bench")
    assert not (tmp_path / "bench").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("rate", ["15", "30000/1001", "30"])
def test_drivers_of_other_rates_reach_25(folders, tmp_path, rate):
    path = write(folders["driving"] / "fast.mp4", [numbered(i) for i in range(60)], fps=rate)
    frames, _ = read_clip(path, fps=25)
    still(tmp_path / "x.png", person(1))
    from tests.people import give, people

    give(path, people(len(frames), person(len(frames))))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    made, info = read_clip(tmp_path / "bench" / "driving" / "fast.mp4")
    assert info.fps == 25
    assert numbers(made) == numbers(frames)
    assert bench.assets["driving/fast.mp4"].num_frames == len(frames)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("missing", "driving/dee.mp4: missing"),
        ("changed", "driving/dee.mp4: changed"),
        ("extra", "notes.txt: not part"),
    ],
)
def test_check_says_what_is_wrong(folders, tmp_path, damage, told):
    build(**folders, out=tmp_path / "bench", workers=0)
    path = tmp_path / "bench" / "driving" / "dee.mp4"
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        (tmp_path / "bench" / "notes.txt").touch()
    assert any(line.startswith(told) for line in check(tmp_path / "bench"))


def edit(path, change):
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(schema=9), "schema is 9"),
        (lambda t: t.update(fps=30), "do not belong together"),
        (lambda t: t.pop("assets"), "assets"),
        (lambda t: t["assets"].update({"a": {"kind": "x"}}), "benchmark.json: a has no 'split'"),
    ],
)
def test_a_changed_description_is_refused(folders, tmp_path, change, message):
    build(**folders, out=tmp_path / "bench", workers=0)
    edit(tmp_path / "bench" / "benchmark.json", change)
    with pytest.raises(UserError, match=message):
        Benchmark.open(tmp_path / "bench")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("single-self-0001", "../../etc/passwd", "is not the id"),
        ("single-self-0001", "single-self-0002", "listed twice"),
        ("single-self-0001", "multi-self-0009", "is not the id"),
        ("driving/dee.mp4,0.0", "driving/dee.mp4,7.0", "names a driver that the case does not have"),
        ("driving/dee.mp4,0.0", "driving/dee.mp4,x", "expected driver.face"),
        ("face_map", "map", "its columns are"),
        ("driving/dee.mp4,0.0", "../outside.mp4,0.0", "do not belong together"),
    ],
)
def test_a_changed_case_list_is_refused(folders, tmp_path, old, new, message):
    build(**folders, out=tmp_path / "bench", workers=0)
    path = tmp_path / "bench" / "cases.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        Benchmark.open(tmp_path / "bench")


def test_paths_cannot_leave_the_folder(folders, tmp_path):
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    (tmp_path / "bench" / "link").symlink_to("/etc")
    for path in ("../x", "/etc/passwd", "link/passwd", "a\0b"):
        with pytest.raises(UserError, match="leads out of"):
            bench.path(path)


def test_what_is_not_a_benchmark(tmp_path):
    with pytest.raises(UserError, match="has no benchmark"):
        Benchmark.open(tmp_path)


def test_pairs_do_not_depend_on_the_other_portraits(folders, tmp_path):
    before = build(**folders, out=tmp_path / "a", workers=0).select("single", "cross")
    write_image(folders["portraits"] / "zed.png", numbered(9))
    still(folders["portraits"] / "zed.png", person(1))
    after = build(**folders, out=tmp_path / "b", workers=0).select("single", "cross")
    assert len(after) == len(before) + 1
    assert filecmp.cmp(tmp_path / "a" / "driving" / "dee.mp4", tmp_path / "b" / "driving" / "dee.mp4", shallow=False)


def test_a_missing_landmarker_is_named_once_with_the_way_to_get_it(folders, tmp_path, monkeypatch):
    for path in folders["driving"].glob("*.tracks.npz"):
        path.unlink()
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("exprbench.faces.video_tracks.landmarker", landmarker.__wrapped__)
    with pytest.raises(
        UserError, match=r"ada.mp4, dee.mp4: weights_missing, exprbench weights fetch face_landmarker"
    ) as error:
        build(portraits=folders["portraits"], driving=folders["driving"], out=tmp_path / "bench", workers=0)
    assert str(error.value).count("weights fetch") == 1
