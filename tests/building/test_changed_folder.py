"""A benchmark folder that was changed after it was built."""

import json

import pytest

from exprbench import Benchmark, UserError, check


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("missing", "driving/dee.mp4: missing"),
        ("changed", "driving/dee.mp4: changed"),
        ("extra", "notes.txt: not part"),
    ],
)
def test_check_says_what_is_wrong(built, damage, problem):
    path = built / "driving" / "dee.mp4"
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        (built / "notes.txt").touch()
    assert any(line.startswith(problem) for line in check(built))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(schema=9), "schema is 9"),
        (lambda t: t.update(fps=30), "do not belong together"),
        (lambda t: t.pop("assets"), "assets"),
        (lambda t: t["assets"].update({"a": {"kind": "x"}}), "benchmark.json: a has no 'split'"),
    ],
)
def test_a_changed_description_is_refused(built, change, message):
    edit(built / "benchmark.json", change)
    with pytest.raises(UserError, match=message):
        Benchmark.open(built)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("single-self-0001", "../../etc/passwd", "is not the id"),
        ("single-self-0001", "single-self-0002", "listed twice"),
        ("single-self-0001", "single-self-0001x", "is not the id"),
        ("single-self-0001", "single-self-1", "is not the id"),
        ("single-self-0001", "single-self-00000001", "is not the id"),
        ("single-self-0001", "multi-self-0009", "is not the id"),
        ("driving/dee.mp4,0.0", "driving/dee.mp4,7.0", "names a driver that the case does not have"),
        ("driving/dee.mp4,0.0", "driving/dee.mp4,1.0", "names a driver that the case does not have"),
        ("driving/dee.mp4,0.0", "driving/dee.mp4,x", "expected driver.face"),
        ("driving/dee.mp4,0.0", "driving/dee.mp4,0.0;x", "expected driver.face"),
        ("driving/dee.mp4,0.0", "driving/dee.mp4,", "expected driver.face"),
        ("face_map", "map", "its columns are"),
        ("face_map", "face_map,more", "its columns are"),
        ("split,track", "track,split", "its columns are"),
        ("driving/dee.mp4,0.0", "../outside.mp4,0.0", "do not belong together"),
    ],
)
def test_a_changed_case_list_is_refused(built, old, new, message):
    path = built / "cases.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        Benchmark.open(built)


def test_paths_cannot_leave_the_folder(built):
    bench = Benchmark.open(built)
    (built / "link").symlink_to("/etc")
    for path in ("../x", "/etc/passwd", "link/passwd", "a\0b"):
        with pytest.raises(UserError, match="leads out of"):
            bench.path(path)


def test_what_is_not_a_benchmark(tmp_path):
    with pytest.raises(UserError, match="has no benchmark"):
        Benchmark.open(tmp_path)
