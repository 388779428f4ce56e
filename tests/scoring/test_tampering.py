"""A benchmark that was changed after it was built: refused, or another benchmark, in the cache too."""

import json
import shutil
from dataclasses import fields, replace

import pytest

from exprbench import Benchmark, UserError, check, score
from exprbench.benchmark import Asset, Case, dump_cases
from exprbench.core.cache import cache_root
from exprbench.core.files import sha256_path, write_json
from tests.people import give, people, person
from tests.scoring.conftest import NUM_FRAMES, Method, without_timing
from tests.scoring.world import TOYS

DESCRIPTIONS = {"original", "source", "licence", "person"}
DESCRIPTIONS |= {"url", "author", "start_s", "original_sha256", "original_bytes"}
DESCRIPTIONS_OF_BENCHMARK = {"root", "name", "clip_seconds", "seed", "left_out", "made_by"}
OTHER = {
    "kind": lambda asset: {"driver": "portrait", "portrait": "driver"}.get(asset.kind, "driver"),
    "split": lambda asset: {"single": "multi", "multi": "single"}[asset.split],
    "sha256": lambda asset: asset.sha256[::-1],
    "num_frames": lambda asset: max(1, asset.num_frames // 2),
    "faces_found": lambda asset: not asset.faces_found,
}
METRICS = ["fid", "fvd", "psnr", "lmd", "aed"]
FILES = ("driving/ada.mp4", "driving/ada.png", "driving/ada.tracks.npz", "portraits/bo.png", "portraits/bo.tracks.npz")


def tampered_assets(bench, name):
    """The assets with another value of one field."""

    def other(asset):
        value = getattr(asset, name)
        default = f"{value}x" if isinstance(value, str) else value + 1
        return OTHER[name](asset) if name in OTHER else default

    return {path: replace(asset, **{name: other(asset)}) for path, asset in bench.assets.items()}


@pytest.fixture
def copy(method, tmp_path):
    """The same predictions for a copy of the benchmark."""
    shutil.copytree(method.bench.root, tmp_path / "copy")
    return Method(Benchmark.open(tmp_path / "copy"), method.folder)


def rewrite(bench, *, keep_hash=False):
    """Write a description that belongs to the files, or keep the hash of the one that is there."""
    content = bench.describe()
    if keep_hash:
        content["sha256"] = json.loads((bench.root / "benchmark.json").read_text())["sha256"]
    write_json(bench.root / "benchmark.json", content)
    (bench.root / "cases.csv").write_text(dump_cases(bench.cases))


def scored(method, name):
    options = {"metrics": METRICS, "networks": TOYS, "split": "single"}
    return without_timing(method.score(out=method.folder.parent / f"{name}.json", method="m", **options))


def check_that_the_cache_is_not_poisoned(method, copy, monkeypatch):
    """Score the copy, and then the benchmark with the same cache: as with an empty one."""
    try:
        poisoned = scored(copy, "poisoned")
    except UserError:
        poisoned = None
    honest = scored(method, "honest")
    monkeypatch.setenv("EXPRBENCH_CACHE", str(cache_root()) + "-fresh")
    assert honest == scored(method, "fresh")
    assert poisoned is None or poisoned.benchmark.sha256 != honest.benchmark.sha256


@pytest.mark.parametrize("name", [f.name for f in fields(Asset)])
def test_every_field_of_a_file_is_part_of_the_hash_unless_it_only_describes(copy, name):
    changed = replace(copy.bench, assets=tampered_assets(copy.bench, name))
    assert (changed.sha256 == copy.bench.sha256) == (name in DESCRIPTIONS)
    rewrite(changed, keep_hash=True)
    if name in DESCRIPTIONS:
        assert Benchmark.open(copy.bench.root).sha256 == copy.bench.sha256
    else:
        with pytest.raises(UserError, match="do not belong together"):
            Benchmark.open(copy.bench.root)


@pytest.mark.parametrize("name", [f.name for f in fields(Asset) if f.name not in DESCRIPTIONS])
def test_a_cache_filled_under_a_changed_file_does_not_answer_for_the_honest_one(method, copy, name, monkeypatch):
    rewrite(replace(copy.bench, assets=tampered_assets(copy.bench, name)))
    check_that_the_cache_is_not_poisoned(method, copy, monkeypatch)


@pytest.mark.parametrize("name", [f.name for f in fields(Benchmark)])
def test_every_field_of_the_benchmark_is_part_of_its_hash_unless_it_only_describes(bench, name):
    values = {
        "root": bench.root / "other",
        "name": "other",
        "fps": 24.0,
        "clip_seconds": 1.0,
        "seed": 7,
        "assets": dict(list(bench.assets.items())[1:]),
        "cases": bench.cases[1:],
        "left_out": bench.left_out[1:],
        "made_by": {},
    }
    changed = replace(bench, **{name: values[name]})
    assert (changed.sha256 == bench.sha256) == (name in DESCRIPTIONS_OF_BENCHMARK)


CASE_CHANGES = {
    "case_id": lambda case: replace(case, case_id="single-self-0009"),
    "split": lambda case: replace(case, split="multi", case_id="multi-self-0009"),
    "track": lambda case: replace(case, track="cross", case_id="single-cross-0009"),
    "source": lambda case: replace(case, source="portraits/bo.png"),
    "drivers": lambda case: replace(case, drivers=(*case.drivers, "driving/short.mp4")),
    "face_map": lambda case: replace(case, face_map=(None, *case.face_map)),
}


@pytest.mark.parametrize("name", [f.name for f in fields(Case)])
def test_every_field_of_a_case_is_part_of_the_hash_and_of_the_cache_key(method, copy, name, monkeypatch):
    """The second driver of "drivers" is shorter, so that less of the prediction would be read."""
    bench = copy.bench
    short = replace(bench.assets["driving/dee.mp4"], num_frames=20)
    assets = {**bench.assets, "driving/short.mp4": short} if name == "drivers" else bench.assets
    if name == "drivers":
        shutil.copyfile(bench.path("driving/dee.mp4"), bench.path("driving/short.mp4"))
        shutil.copyfile(bench.path("driving/dee.tracks.npz"), bench.path("driving/short.tracks.npz"))
        assets["driving/short.tracks.npz"] = bench.assets["driving/dee.tracks.npz"]
    cases = tuple(CASE_CHANGES[name](c) if c.case_id == "single-self-0001" else c for c in bench.cases)
    changed = replace(bench, cases=cases, assets=assets)
    assert replace(bench, cases=cases).sha256 != bench.sha256
    rewrite(changed, keep_hash=True)
    with pytest.raises(UserError, match="do not belong together"):
        Benchmark.open(bench.root)
    rewrite(changed)
    check_that_the_cache_is_not_poisoned(method, copy, monkeypatch)


@pytest.mark.parametrize("relative", FILES)
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_every_file_is_verified_even_if_all_is_in_the_cache(method, copy, relative, damage):
    scored(method, "honest")
    path = copy.bench.path(relative)
    path.write_bytes(path.read_bytes() + b"x") if damage == "changed" else path.unlink()
    with pytest.raises(UserError, match=f"{relative} has changed since the benchmark was built"):
        scored(copy, "copy")
    assert f"{relative}: " + ("missing" if damage == "missing" else "changed") in "\n".join(check(copy.bench.root))


@pytest.mark.parametrize("relative", [name for name in FILES if name.endswith(".npz")])
def test_face_tracks_that_are_not_listed_are_refused(copy, relative):
    rewrite(replace(copy.bench, assets={p: a for p, a in copy.bench.assets.items() if p != relative}))
    with pytest.raises(UserError, match=f"{relative} is not part of the benchmark; remove it"):
        scored(copy, "copy")
    assert f"{relative}: not part of the benchmark" in check(copy.bench.root)


def test_check_compares_tracks_and_drivers_with_their_descriptions(copy):
    bench, relative = copy.bench, "driving/ada.tracks.npz"
    assert check(bench.root) == []
    give(bench.path("driving/ada.mp4"), people(10, person(10)))
    listed = replace(bench.assets[relative], sha256=sha256_path(bench.path(relative)))
    driver = replace(bench.assets["driving/dee.mp4"], width=320)
    rewrite(replace(bench, assets={**bench.assets, relative: listed, "driving/dee.mp4": driver}))
    problems = check(bench.root)
    assert f"{relative}: has 10 frames, not {NUM_FRAMES}" in problems
    assert "driving/dee.mp4: is 160x96, not 320x96" in problems


def test_the_files_of_a_shard_are_verified_and_no_others(copy):
    path = copy.bench.path("driving/multi-duo.mp4")
    path.write_bytes(path.read_bytes() + b"x")
    scored(copy, "copy")
    with pytest.raises(UserError, match="has changed since"):
        score(benchmark=copy.bench.root, predictions=copy.folder, method="m", out=copy.folder / "r.json", workers=0)
