import filecmp
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from exprbench import Benchmark, UserError, build, check
from exprbench.building.source_files import list_inputs
from exprbench.core.locks import sole_writer
from exprbench.core.processes import WorkerKilled
from exprbench.faces import load_tracks
from exprbench.faces.video_tracks import _load, given_path
from exprbench.media import write_image
from tests.people import clip, person, still
from tests.videos import numbered


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
    """The tracks given with a clip are cut with it."""
    bench = build(**folders, out=tmp_path / "bench", clip_seconds=1.2, workers=0, fps=25)
    drivers = {path: asset for path, asset in bench.assets.items() if asset.kind == "driver"}
    assert {path: asset.num_frames for path, asset in drivers.items()} == {
        "driving/ada.mp4": 30,
        "driving/dee.mp4": 30,
        "driving/multi-duo.mp4": 30,
    }
    assert bench.left_out == ()
    assert {load_tracks(given_path(bench.path(path))).num_frames for path in drivers} == {30}
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


def test_inputs_that_are_no_media_are_listed_one_by_one(folders, tmp_path):
    from PIL import Image

    driving, portraits = folders["driving"], folders["portraits"]
    os.mkfifo(driving / "pipe.mp4")
    socket.socket(socket.AF_UNIX).bind(str(driving / "socket.mp4"))
    (driving / "loop.mp4").symlink_to("loop.mp4")
    (driving / "loop").symlink_to(driving)
    write_image(driving / "picture.png", numbered(3))
    (portraits / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    Image.fromarray(numbered(4)).save(portraits / "cut.jpg")
    (portraits / "cut.jpg").write_bytes((portraits / "cut.jpg").read_bytes()[:300])
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert {item.path: (item.reason, item.detail.partition(" ")[0]) for item in bench.left_out} == {
        "pipe.mp4": ("open_failed", "pipe.mp4"),
        "socket.mp4": ("open_failed", "socket.mp4"),
        "loop.mp4": ("missing_file", "there"),
        "picture.png": ("open_failed", "it"),
        "phone.heic": ("open_failed", "phone.heic"),
        "cut.jpg": ("open_failed", "cut.jpg"),
    }


def test_names_that_are_not_utf8_are_used_and_listed(folders, tmp_path):
    raw = os.fsencode(folders["driving"]) + b"/"
    for old, new in ((b"ada.mp4", b"ad\xe4.mp4"), (b"ada.tracks.npz", b"ad\xe4.tracks.npz")):
        os.rename(raw + old, raw + new)
    with open(raw + b"te\xe4xt.mp4", "wb") as file:
        file.write(b"hello")
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert [(item.path, item.reason) for item in bench.left_out] == [("te\\udce4xt.mp4", "open_failed")]
    assert "ad\\udce4.mp4" in {asset.original for asset in bench.assets.values()}
    assert check(tmp_path / "bench") == []


def test_an_image_that_only_opencv_reads_is_stored_as_png(folders, tmp_path):
    import cv2

    cv2.imwrite(str(folders["portraits"] / "light.hdr"), np.full((96, 160, 3), 0.5, np.float32))
    still(tmp_path / "x.png", person(1)).with_suffix(".tracks.npz").rename(folders["portraits"] / "light.tracks.npz")
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    assert "portraits/light.png" in bench.assets


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le"])
def test_sources_in_other_encodings_and_with_short_rows(tmp_path, encoding):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).touch()
    table = "file,source,person\na.mp4,https://example.org/1,Zoë Å.\n\nb.mp4\n"
    (tmp_path / "sources.csv").write_text(table, encoding=encoding)
    inputs = {item.name: item for item in list_inputs(tmp_path, "driver", "single")}
    assert (inputs["a"].persons, inputs["a"].source) == (("Zoë Å.",), "https://example.org/1")
    assert (inputs["b"].persons, inputs["b"].source) == (("b",), "")
    assert inputs["c"].persons == ("c",)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,source\na.mp4,x,y\n", "line 2: there are more cells than columns"),
        ("source,file\nx\n", "line 2: the row names no file"),
        (f"file,source\na.mp4,{'x' * 200_000}\n", "line 2: (field larger than|a cell has more than)"),
        ('file,source\na.mp4,"x\n' + "b.mp4,y\n" * 2000, "a cell has more than 10000 characters; is a quote missing?"),
        (f"file\n{'x' * 5000}\n", "which is not in"),
        ("file\n\0\n", "which is not in|NUL"),
    ],
)
def test_damaged_sources_are_a_users_mistake_of_one_line(tmp_path, table, message):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "sources.csv").write_text(table)
    with pytest.raises(UserError, match=message) as error:
        list(list_inputs(tmp_path, "driver", "single"))
    assert "\n" not in str(error.value)


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
    build(**folders, out=tmp_path / "fresh", workers=0)
    assert check(tmp_path / "bench") == []
    assert everything(tmp_path / "bench") == everything(tmp_path / "fresh")
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


def everything(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_pairs_do_not_depend_on_the_other_portraits(folders, tmp_path):
    before = build(**folders, out=tmp_path / "a", workers=0).select("single", "cross")
    write_image(folders["portraits"] / "zed.png", numbered(9))
    still(folders["portraits"] / "zed.png", person(1))
    after = build(**folders, out=tmp_path / "b", workers=0).select("single", "cross")
    assert len(after) == len(before) + 1
    assert filecmp.cmp(tmp_path / "a" / "driving" / "dee.mp4", tmp_path / "b" / "driving" / "dee.mp4", shallow=False)


@pytest.mark.parametrize(
    "options",
    [
        *({"clip_seconds": 0}, {"clip_seconds": -1}, {"clip_seconds": 601}),
        *({"fps": 0.5}, {"fps": 241}, {"cross_per_portrait": -1}),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(folders, tmp_path, options):
    with pytest.raises(UserError, match=r"cannot build .*; expected 0 or more clips, up to 600 s, and 1 to 240 frames"):
        build(**folders, out=tmp_path / "bench", **options)
    assert not (tmp_path / "bench").exists()


def test_the_seed_is_used_by_every_random_choice_and_recorded(folders, tmp_path, monkeypatch):
    seeds = []
    for name in ("draw_subset", "make_cases"):
        real = build.__globals__[name]
        spy = lambda *args, real=real: (seeds.append(args[-1]), real(*args))[1]  # noqa: E731
        monkeypatch.setitem(build.__globals__, name, spy)
    bench = build(**folders, out=tmp_path / "bench", seed=7, workers=0)
    assert seeds == [7, 7]
    assert bench.seed == Benchmark.open(tmp_path / "bench").seed == 7


def test_left_out_inputs_and_portraits_without_a_driver_are_listed_in_order(folders, tmp_path, monkeypatch):
    monkeypatch.setitem(build.__globals__["draw_subset"].__globals__["PAPER_SIZES"], ("driver", "single"), 1)
    for name in ("zed.mp4", "all.mp4"):
        (folders["driving"] / name).touch()
    still(folders["multi_portraits"] / "crowd.png", *(person(1, x=x) for x in (0.1, 0.3, 0.5, 0.7)))
    bench = build(**folders, out=tmp_path / "bench", workers=0)
    found = [(item.path, item.reason) for item in bench.left_out]
    assert found == sorted(found)
    assert {reason for _, reason in found} == {"zero_bytes", "not_drawn", "no_driver"}
    assert ("crowd.png", "no_driver") in found
    assert Benchmark.open(tmp_path / "bench").left_out == bench.left_out
    used = {asset.original for asset in bench.assets.values()}
    assert not used & {path for path, reason in found if reason == "not_drawn"}


def test_a_missing_landmarker_is_named_once_with_the_way_to_get_it(folders, tmp_path, monkeypatch):
    for path in folders["driving"].glob("*.tracks.npz"):
        path.unlink()
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("exprbench.faces.video_tracks._load", _load.__wrapped__)
    with pytest.raises(
        UserError, match=r"ada.mp4, dee.mp4: weights_missing, exprbench weights fetch face_landmarker"
    ) as error:
        build(portraits=folders["portraits"], driving=folders["driving"], out=tmp_path / "bench", workers=0)
    assert str(error.value).count("weights fetch") == 1
