"""Checks of a benchmark folder against its description."""

from dataclasses import replace

import pytest

from exprbench import Benchmark, UserError, build, check, score
from exprbench.media import write_image
from tests.folders import rewritten
from tests.people import clip, give, people, person, still
from tests.videos import numbered

DRIVER, PORTRAIT, FIRST = "driving/ada.mp4", "portraits/bo.png", "driving/ada.png"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One driver and one portrait: a self case and a cross case."""
    root = tmp_path_factory.mktemp("small")
    for name in ("portraits", "driving"):
        (root / name).mkdir()
    still(root / "portraits" / "bo.png", person(1))
    clip(root / "driving" / "ada.mp4", 25, person(25))
    return build(portraits=root / "portraits", driving=root / "driving", out=root / "bench", workers=0)


def test_an_unchanged_copy_has_no_problems(bench, tmp_path):
    assert check(rewritten(bench, tmp_path / "b").root) == []


@pytest.mark.parametrize(
    ("path", "field", "value", "problem"),
    [
        (DRIVER, "num_faces", 2, "shows 1 faces, not 2"),
        (DRIVER, "num_frames", 26, "has 25 frames, not 26"),
        (DRIVER, "num_frames", 24, "has 25 frames, not 24"),
        (PORTRAIT, "width", 161, "is 160x96, not 161x96"),
        (PORTRAIT, "height", 95, "is 160x96, not 160x95"),
        (FIRST, "width", 0, "is 160x96, not 0x96"),
    ],
)
def test_files_are_compared_with_their_descriptions(bench, tmp_path, path, field, value, problem):
    asset = replace(bench.assets[path], **{field: value})
    problems = check(rewritten(bench, tmp_path / "b", assets={path: asset}).root)
    assert [line for line in problems if ".tracks.npz" not in line] == [f"{path}: {problem}"]
    assert all(line.endswith(problem) for line in problems)


def test_a_passer_by_in_a_driver_does_not_count(bench, tmp_path):
    def pass_by(path):
        give(path, people(25, person(25), person(25, x=0.9, hidden=range(12, 25))))

    assert check(rewritten(bench, tmp_path / "b", files={DRIVER: pass_by}).root) == []


def test_a_driver_of_another_rate_is_named(bench, tmp_path):
    problems = check(rewritten(bench, tmp_path / "b", fps=24.0).root)
    assert f"{DRIVER}: has 25.0 frames per second, not 24.0" in problems


def test_a_file_that_cannot_be_read_is_named(bench, tmp_path):
    def spoil(path):
        path.write_bytes(b"nothing of use")

    problems = check(rewritten(bench, tmp_path / "b", files={DRIVER: spoil, PORTRAIT: spoil}).root)
    codes = [line.split(": ")[:2] for line in problems if ".tracks.npz" not in line]
    assert codes == [[DRIVER, "open_failed"], [PORTRAIT, "open_failed"]]


def test_a_picture_that_was_changed_is_named(bench, tmp_path):
    changed = rewritten(bench, tmp_path / "b")
    write_image(changed.path(PORTRAIT), numbered(9))
    assert check(changed.root) == [f"{PORTRAIT}: changed since the benchmark was built (its hash differs)"]


def with_case(bench, root, **fields):
    cases = tuple(replace(c, **fields) if c.track == "cross" else c for c in bench.cases)
    return rewritten(bench, root, cases=cases)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"face_map": ((0, 1),)}, f"face 1 of {DRIVER} does not exist"),
        ({"face_map": ((0, 0), None, (0, 1))}, f"face 1 of {DRIVER} does not exist"),
        ({"source": "portraits/gone.png"}, "names portraits/gone.png, which the benchmark does not list"),
        ({"drivers": ("driving/gone.mp4",)}, "names driving/gone.mp4, which the benchmark does not list"),
    ],
)
def test_a_case_with_missing_files_or_faces_is_named_and_not_scored(bench, tmp_path, fields, problem):
    changed = with_case(bench, tmp_path / "b", **fields)
    assert check(changed.root) == [f"single-cross-0001: {problem}"]
    with pytest.raises(UserError, match="single-cross-0001 " + problem):
        score(benchmark=changed.root, predictions=tmp_path, method="m", out=tmp_path / "m.json", workers=0)


def test_a_face_that_is_not_driven_is_a_dash(bench, tmp_path):
    changed = with_case(bench, tmp_path / "b", face_map=(None, (0, 0)))
    assert check(changed.root) == []
    assert "-;0.0" in (changed.root / "cases.csv").read_text()
    assert changed.select("single", "cross")[0].face_map == (None, (0, 0))


def test_the_hash_covers_what_a_score_depends_on(bench, tmp_path):
    """Frame rate, files and cases, but not the name or the sources."""
    other_source = {path: replace(asset, source="elsewhere") for path, asset in bench.assets.items()}
    assert replace(bench, name="another", seed=9, clip_seconds=9.0, assets=other_source).sha256 == bench.sha256
    other_file = {**bench.assets, DRIVER: replace(bench.assets[DRIVER], sha256="0" * 64)}
    fewer = {path: asset for path, asset in bench.assets.items() if path != PORTRAIT}
    renamed = {**fewer, "portraits/cy.png": bench.assets[PORTRAIT]}
    changed = [
        replace(bench, fps=24.0),
        replace(bench, assets=other_file),
        replace(bench, assets=fewer),
        replace(bench, assets=renamed),
        replace(bench, cases=bench.cases[:1]),
        replace(bench, cases=tuple(replace(c, face_map=((0, 1),)) for c in bench.cases)),
    ]
    assert len({b.sha256 for b in [bench, *changed]}) == 1 + len(changed)


@pytest.mark.parametrize(("fps", "good"), [(1.0, True), (240.0, True), (0.5, False), (241.0, False)])
def test_impossible_frame_rates_are_refused(bench, tmp_path, fps, good):
    if good:
        assert rewritten(bench, tmp_path / "b", fps=fps).fps == fps
    else:
        with pytest.raises(UserError, match=f"its frame rate is {fps}; expected 1 to 240"):
            rewritten(bench, tmp_path / "b", fps=fps)


def test_cases_are_selected_by_split_and_track(bench):
    assert [c.case_id for c in bench.select()] == ["single-self-0001", "single-cross-0001"]
    assert [c.case_id for c in bench.select(track="cross")] == ["single-cross-0001"]
    assert [c.case_id for c in bench.select("single", "self")] == ["single-self-0001"]
    assert bench.select("multi") == ()


def test_a_description_round_trips(bench):
    assert Benchmark.open(bench.root) == bench


DAMAGED_ROWS = {
    "huge cell": "x" * 200_000,
    "many cells": "single-self-0001," * 99,
    "few cells": "single-self-0001\n",
    "NUL": "\0\n",
    "Latin-1": "\xff\n",
    "open quote": '"x\n',
}


@pytest.mark.parametrize("text", DAMAGED_ROWS.values(), ids=DAMAGED_ROWS.keys())
def test_damaged_cases_are_a_users_mistake_of_one_line(bench, tmp_path, text):
    root = rewritten(bench, tmp_path / "b").root
    with (root / "cases.csv").open("a", encoding="latin-1") as file:
        file.write(text)
    with pytest.raises(UserError) as error:
        Benchmark.open(root)
    assert "\n" not in str(error.value)
