"""From a benchmark to its manifest and back: two laboratories build the same folder, byte for byte."""

import csv
import json
import shlex

import pytest

from exprbench import build, collect, write_manifest
from exprbench.benchmark import Benchmark
from exprbench.building import assets
from exprbench.cli import main
from exprbench.core.files import sha256_path
from exprbench.media import open_clip
from tests.building.conftest import filled
from tests.people import people, person


def made_up_faces(path, num_frames):
    several = "multi-" in path.name
    tracks = [person(num_frames, x=x) for x in ((0.3, 0.7) if several else (0.5,))]
    return people(num_frames, *tracks)


def count(path):
    with open_clip(path) as clip:
        return sum(1 for _ in clip)


@pytest.fixture
def sources(tmp_path, server, monkeypatch):
    """Input folders without track files, whose files are served and listed; the driver dee starts at 0.4 s."""
    monkeypatch.setattr(assets, "track_image", lambda path: made_up_faces(path, 1))
    monkeypatch.setattr(assets, "track_faces", lambda path, fps: made_up_faces(path, count(path)))
    folders = filled(tmp_path)
    for name, folder in folders.items():
        rows = []
        for path in sorted(folder.iterdir()):
            if path.suffix == ".npz":
                path.unlink()
                continue
            server.files[f"{name}-{path.name}"] = path.read_bytes()
            start_s = "0.4" if path.name == "dee.mp4" else ""
            rows.append([path.name, server.url(f"{name}-{path.name}"), "Ada B.", "CC0", start_s])
        with (folder / "sources.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["file", "url", "author", "licence", "start_s"], *rows])
    return folders


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def run(command, out):
    words = shlex.split(command)
    assert words[0] == "exprbench"
    assert main([*words[1:-1], str(out), "--workers", "0"]) == 0


def test_two_laboratories_build_the_same_folder(sources, tmp_path, capsys):
    bench = build(**sources, out=tmp_path / "bench", workers=0, seed=7, cross_per_portrait=2, name="shared bench")
    assert write_manifest(bench.root, tmp_path / "m.json") == []
    for laboratory in ("one", "two"):
        collection = collect(tmp_path / "m.json", tmp_path / laboratory, wait_s=0)
        assert collection.failed == []
        run(collection.command, tmp_path / f"bench-{laboratory}")
        assert collection.benchmark_sha256 == bench.sha256
    assert contents(tmp_path / "bench-one") == contents(tmp_path / "bench-two")
    assert Benchmark.open(tmp_path / "bench-one").sha256 == bench.sha256
    assert f"sha256 {bench.sha256[:16]}" in capsys.readouterr().out


def test_a_manifest_says_where_each_file_comes_from(sources, server, tmp_path):
    bench = build(**sources, out=tmp_path / "bench", workers=0)
    write_manifest(bench.root, tmp_path / "m.json")
    content = json.loads((tmp_path / "m.json").read_text())
    files = {file["path"]: file for file in content["files"]}
    assert set(files) == {
        *(f"portraits/{name}.png" for name in ("ada", "bo", "cy")),
        *("driving/ada.mp4", "driving/dee.mp4", "multi-portraits/pair.png", "multi-driving/duo.mp4"),
    }
    assert files["driving/dee.mp4"] == {
        "path": "driving/dee.mp4", "url": server.url("driving-dee.mp4"), "source": "", "author": "Ada B.",
        "licence": "CC0", "person": "dee", "faces": 0, "start_s": 0.4,
        "sha256": sha256_path(sources["driving"] / "dee.mp4"),
        "num_bytes": (sources["driving"] / "dee.mp4").stat().st_size,
    }  # fmt: skip
    assert (content["fps"], content["clip_seconds"], content["seed"]) == (25.0, 5.0, 0)
    assert content["cross_per_portrait"] == 1


def test_start_s_skips_the_beginning(sources, tmp_path):
    bench = build(**sources, out=tmp_path / "bench", workers=0)
    assert bench.assets["driving/dee.mp4"].num_frames == 30
    assert bench.assets["driving/ada.mp4"].num_frames == 40


def test_files_without_an_address_are_named(built, tmp_path, capsys):
    assert main(["manifest", str(built), "--out", str(tmp_path / "m.json")]) == 3
    shown = capsys.readouterr().out
    assert "not listed: driving/ada.mp4 (ada.mp4): its url is ''; expected http:// or https://" in shown
    assert "not listed: driving/ada.tracks.npz: face tracks that were given with the input have no address" in shown
    assert json.loads((tmp_path / "m.json").read_text())["files"] == []


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("built")
    return build(**filled(root), out=root / "bench", workers=0).root
