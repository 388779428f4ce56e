"""Typical mistakes: each ends with status 2 and one line that names what is wrong and what to do."""

import json
import re
import shutil
from pathlib import Path

import pytest

from exprbench import cli
from tests.scoring.conftest import bench, cache_of_this_test, method  # noqa: F401

DEMO = Path(__file__).parents[1] / "results" / "records" / "demo-jittery.json"
SCORE = "score --benchmark {bench} --predictions {predictions} --method m --out {out}/m.json"

MISTAKES = {
    "a folder that is no benchmark": (
        "score --benchmark {out} --predictions {predictions} --method m",
        "is not a benchmark: it has no benchmark.json; build one with exprbench build",
    ),
    "a folder of predictions that does not exist": (
        "score --benchmark {bench} --predictions {out}/nothing --method m",
        "nothing is not a folder; expected a folder with one video per case, {case_id}.mp4",
    ),
    "a misspelt metric": (f"{SCORE} --metrics psrn", "unknown metric 'psrn'; did you mean 'psnr'?"),
    "a metric of the other profile": (
        f"{SCORE} --metrics aed_full",
        "the metric 'aed_full' is not defined for the profile mediapipe, only for paper",
    ),
    "a misspelt flag": (f"{SCORE} --metric psnr", "unrecognized arguments: --metric psnr"),
    "a required flag that is missing": ("score --benchmark {bench}", "the following arguments are required"),
    "a misspelt verb": ("scores", "invalid choice: 'scores'"),
    "an empty name of the method": (
        "score --benchmark {bench} --predictions {predictions} --method=",
        "expected one line of at most 100 characters",
    ),
    "a split without cases": (f"{SCORE} --split multi --track self --shard 9/9", "shard 9/9 has no case"),
    "a shard that is none": (f"{SCORE} --shard 3/2", "'3/2'; expected I/N, like 2/8"),
    "too many looks": (f"{SCORE} --looks 99", "--looks is 99; expected a number of crops from 1 to 16"),
    "an output that is the record of another method": (
        "score --benchmark {bench} --predictions {predictions} --method m --out {demo}",
        "is the record of 'jittery', not of 'm'; choose another file with --out",
    ),
    "an output that is no record": (
        "score --benchmark {bench} --predictions {predictions} --method m --out {out}/notes.txt",
        "notes.txt is not a score record; choose another file with --out",
    ),
    "a map without its columns": (
        f"{SCORE} --map {{out}}/notes.txt",
        "is not a map; expected CSV with the columns case_id and file",
    ),
    "a table of a file that does not exist": ("table {out}/nothing.json", "nothing.json"),
    "a table of a video": ("table {bench}/benchmark.json", "benchmark.json"),
    "a table of records that do not go together": (
        "table {demo} {out}/other.json",
        "cannot be in one table: one is of benchmark demo",
    ),
    "a pair whose reference does not exist": (
        "pair {video} {out}/nothing.mp4",
        "the reference {out}/nothing.mp4 does not exist; expected a video or a folder of frames",
    ),
    "a pair with a file that is no video": (
        "pair {out}/notes.txt {video}",
        "the videos cannot be compared: open_failed",
    ),
    "unknown weights": ("weights fetch incepton", "unknown weights 'incepton'; did you mean 'inception'?"),
    "a build into a folder that exists": (
        "build --portraits {predictions} --driving {predictions} --out {bench}",
        "exists",
    ),
    "a build from a folder that does not exist": (
        "build --portraits {out}/p --driving {predictions} --out {out}/b",
        "{out}/p",
    ),
    "a verification against another benchmark": (
        "verify {demo} --predictions {predictions} --benchmark {bench}",
        "the record is of benchmark ",
    ),
    "an export without a record": ("export", "export needs a record; expected one or more files"),
    "a comparison of a record with itself only": (
        "variants {demo}",
        "expected records of two or more different methods",
    ),
}


@pytest.fixture
def places(method, tmp_path):  # noqa: F811
    (tmp_path / "notes.txt").write_text("not a record\n")
    shutil.copyfile(DEMO, tmp_path / "demo.json")
    content = json.loads(DEMO.read_text(encoding="utf-8"))
    content["benchmark"]["sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(content), encoding="utf-8")
    return {
        "bench": method.bench.root,
        "predictions": method.folder,
        "video": method.path("single-self-0001"),
        "out": tmp_path,
        "demo": tmp_path / "demo.json",
    }


def filled(text, places):
    return re.sub(r"\{(\w+)\}", lambda found: str(places.get(found[1], found[0])), text)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line(name, places, capsys):
    command, message = MISTAKES[name]
    try:
        status = cli.main(filled(command, places).split())
    except SystemExit as end:  # of the parser of arguments
        status = end.code
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith(("columns:", "without", "predictions:", "match"))]
    assert (status, out) == (2, "")
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert filled(message, places) in lines[0]
    assert len(lines[0]) < 600
