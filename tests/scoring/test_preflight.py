"""Which columns and predictions a run will have, before anything is decoded; names that are not case ids."""

import csv
import shutil
from dataclasses import replace

import pytest

from exprbench import UserError, cli, preflight, score
from exprbench.benchmark import Benchmark, Case
from exprbench.scoring.prediction_names import detect_naming, read_names
from tests.scoring.conftest import case_of, without_timing

OWN = "single-self-0001"


def renamed(method, name_of, folder):
    """The method's predictions under other names, with their tracks."""
    folder.mkdir()
    for case in method.bench.cases:
        shutil.copyfile(method.path(case.case_id), folder / f"{name_of(case)}.mp4")
        shutil.copyfile(method.tracks_path(case.case_id), folder / f"{name_of(case)}.tracks.npz")
    return folder


def names_of(bench, case):
    return [(bench.assets[path].original or path).rsplit("/", 1)[-1].rsplit(".", 1)[0] for path in case.drivers]


def by_driver_and_source(method):
    def name(case):
        source = method.bench.assets[case.source].original.rsplit(".", 1)[0] or case.source.split("/")[1][:-4]
        return "--".join([*dict.fromkeys(names_of(method.bench, case)), source])

    return name


def test_a_pattern_of_names_gives_the_scores_of_case_ids(method, tmp_path, capsys):
    folder = renamed(method, by_driver_and_source(method), tmp_path / "other")
    options = {"benchmark": method.bench, "method": "m", "metrics": "lmd", "workers": 0}
    found = score(**options, predictions=folder, out=tmp_path / "a.json")
    assert "predictions: 6 of 6 cases, named {driver}--{source}" in capsys.readouterr().err.splitlines()
    assert without_timing(found) == without_timing(score(**options, predictions=method.folder, out=tmp_path / "a.json"))


def test_a_map_names_the_files(method, tmp_path, capsys):
    folder = renamed(method, lambda case: f"x{case.case_id[-1]}{case.split}{case.track}", tmp_path / "other")
    with (tmp_path / "names.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case_id", "file"])
        writer.writerows([c.case_id, f"x{c.case_id[-1]}{c.split}{c.track}.mp4"] for c in method.bench.cases[:-1])
    words = ["--benchmark", str(method.bench.root), "--predictions", str(folder), "--method", "m", "--dry-run"]
    assert cli.main(["score", *words, "--map", str(tmp_path / "names.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    last = method.bench.cases[-1]
    assert "predictions: 5 of 6 cases, named by the map" in lines
    assert f"without a prediction: {last.case_id}" in lines
    assert f"match no case: x{last.case_id[-1]}{last.split}{last.track}.mp4" in lines


def test_folders_of_baselines_are_no_predictions(method, tmp_path):
    folder = renamed(method, lambda case: case.case_id, tmp_path / "other")
    for name in ("jobs", "logs", "runs", "frames"):
        (folder / name).mkdir()
    assert preflight(benchmark=method.bench.root, predictions=folder).unknown == ("frames",)


def test_names_that_mean_nothing_are_listed_with_what_is_expected(method, tmp_path, capsys):
    folder = renamed(method, lambda case: f"video{method.bench.cases.index(case)}", tmp_path / "other")
    words = ["--benchmark", str(method.bench.root), "--predictions", str(folder), "--method", "m", "--dry-run"]
    assert cli.main(["score", *words]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert "predictions: 0 of 6 cases" in lines
    first = method.bench.cases[0].case_id
    assert any(
        line.endswith(f"; expected {first}.mp4, or --map FILE with the columns case_id,file")
        and line.startswith(f"without a prediction: {first}, ")
        for line in lines
    )
    assert "match no case: video0.mp4, video1.mp4, video2.mp4 and 3 more" in lines


def test_columns_without_numbers_have_their_reason(method, monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    options = {"benchmark": method.bench.root, "predictions": method.folder, "metrics": "FID,psnr,lmd"}
    found = preflight(**options)
    assert {"psnr", "lmd"} < set(found.columns)
    assert set(found.without) == {"fid", "fid_video_mean", "kid"} & set(found.without) | {"fid"}
    assert any(
        line.startswith("without numbers: fid") and line.endswith("(run exprbench weights fetch inception)")
        for line in found.lines()
    )
    for path in method.folder.glob("*.npz"):
        path.unlink()
    assert "lmd" in preflight(**options).without


def test_a_prediction_that_a_map_names_and_that_is_not_there_fails_its_case(method):
    record = method.score(names={OWN: "nothing.mp4"}, metrics="psnr")
    assert case_of(record, OWN).code == "missing_file"
    assert case_of(record, "single-self-0002").outcome == "scored"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "is not a map; expected CSV with the columns case_id and file"),
        ("", "is not a map; expected CSV"),
        ("case_id,file\n" + "x" * 200_000, "cannot be read as a map"),
    ],
    ids=["columns", "empty", "huge cell"],
)
def test_maps_that_are_none(tmp_path, text, message):
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_names(tmp_path / "map.csv")


def test_a_map_of_other_cases_is_an_error(method):
    with pytest.raises(UserError, match="the map names 'single-self-0099', which is no case of"):
        method.score(names={"single-self-0099": "a.mp4"})


CASE = Case(
    case_id="single-cross-0001",
    split="single",
    track="cross",
    source="portraits/a.png",
    drivers=("driving/b.mp4",),
    face_map=((0, 0),),
)


def bench_of(tmp_path, *cases):
    assets = {path: None for case in cases for path in (case.source, *case.drivers)}
    from exprbench.benchmark import Asset

    assets = {path: Asset(kind="driver", split="single", sha256="", num_bytes=0) for path in assets}
    return Benchmark(root=tmp_path, name="b", fps=25.0, clip_seconds=1, seed=0, assets=assets, cases=cases)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["a--b.mp4"], "{source}--{driver}"),
        (["B_a.MOV"], "{driver}_{source}"),
        (["a_to_b"], "{source}_to_{driver}"),
        (["SINGLE_cross_0001.mp4"], "{case_id} in other letters"),
        (["b.mp4"], "{driver}"),
        (["c--b.mp4"], None),
    ],
)
def test_patterns(tmp_path, names, pattern):
    naming = detect_naming(bench_of(tmp_path, CASE), (CASE,), names)
    assert (naming.pattern if naming else None) == pattern
    assert naming is None or naming.names == {"single-cross-0001": names[0]}


def test_two_patterns_that_disagree_are_ambiguous(tmp_path):
    back = replace(CASE, case_id="single-cross-0002", source="portraits/b.png", drivers=("driving/a.mp4",))
    names = ["a--b.mp4", "b--a.mp4"]
    assert detect_naming(bench_of(tmp_path, CASE, back), (CASE, back), names) is None


def test_one_file_for_two_cases_is_ambiguous(tmp_path):
    other = replace(CASE, case_id="single-cross-0002", source="portraits/c.png")
    assert detect_naming(bench_of(tmp_path, CASE, other), (CASE, other), ["b.mp4"]) is None
