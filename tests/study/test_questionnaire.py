"""The folder for the raters: complete, blind, reproducible; and the key, which stays outside."""

import json
import shutil

import pytest

from exprbench.core.errors import UserError
from exprbench.media import open_clip, read_clip
from exprbench.study.questionnaire import StudySettings, build_study
from exprbench.study.study_key import load_key
from tests.study.conftest import METHODS


def page_data(study):
    return json.loads((study.root / "study.js").read_text().removeprefix("window.STUDY = ").rstrip(";\n"))


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_page_and_its_media_are_complete(make_study):
    study = make_study(raters=4, per_rater=6)
    data = page_data(study)
    named = {
        path
        for trial in data["trials"].values()
        for path in [trial["source"], *trial["drivers"], *trial["results"]]
        if path
    }
    files = set(contents(study.root))
    assert files == named | {"index.html", "study.css", "study.js", "study_page.js"}
    assert len(data["raters"]) == 4
    for trials in data["raters"].values():
        assert len(trials) == len(set(trials)) == 2 + 6 + 2 + 1 + 2  # practice, scored, gold, trap, repeats
        assert set(trials[:2]) == set(data["practice"])
    for path in named:
        if path.endswith(".mp4"):
            with open_clip(study.root / path) as clip:
                assert clip.info.codec == "h264"
                assert not clip.info.has_audio


@pytest.mark.parametrize("mode", ["rating", "pairs"])
def test_nothing_in_the_folder_names_a_method_a_case_or_a_path(make_study, bench, predictions, mode):
    study = make_study(mode=mode, raters=3, per_rater=6)
    words = [*METHODS, *(c.case_id for c in bench.cases), str(bench.root), *(str(p) for p in predictions.values())]
    words += [
        load_key(study.key).secret,
        *(str(bench.path(d).stem) for c in bench.cases for d in c.drivers if len(d) > 20),
    ]
    for name, data in contents(study.root).items():
        for word in words:
            assert word not in name
            assert word.encode() not in data, (name, word)


def test_metadata_of_a_prediction_is_not_copied(make_study, bench, predictions, tmp_path):
    from exprbench.media import write_video

    case = bench.select(track="cross")[0]
    folder = tmp_path / "marked"
    shutil.copytree(predictions["good-method"], folder)
    frames, _ = read_clip(bench.path(case.drivers[0]))
    write_video(
        folder / f"{case.case_id}.mp4", frames, metadata={"title": "made by SecretMethod", "comment": "SecretMethod"}
    )
    study = build_study(
        benchmark=bench.root, predictions={"m": folder}, out=tmp_path / "s", settings=StudySettings(raters=2), workers=0
    )
    assert b"SecretMethod" in (folder / f"{case.case_id}.mp4").read_bytes()
    assert all(b"SecretMethod" not in data for data in contents(study.root).values())


def test_the_key_makes_it_reproducible(make_study, tmp_path):
    first = make_study(raters=3, per_rater=5)
    again = make_study(out="again", key=shutil.copy(first.key, tmp_path / "again.json"), raters=3, per_rater=5)
    other = make_study(out="other", raters=3, per_rater=5)
    assert contents(first.root) == contents(again.root)
    assert load_key(first.key) == load_key(again.key)
    assert not set(page_data(first)["trials"]) & set(page_data(other)["trials"])
    assert {p.stat().st_mtime for p in first.root.rglob("*")} == {946684800.0}


def test_the_key_is_private_and_lists_every_rater(make_study):
    study = make_study(raters=3)
    key = load_key(study.key)
    assert study.key.stat().st_mode & 0o777 == 0o600
    assert study.links.read_text().splitlines() == ["rater,page", *(f"{r},index.html#{r}" for r in key.raters)]
    assert key.methods == METHODS
    assert {t.left for t in key.trials.values() if t.kind == "scored"} == set(METHODS)


def test_a_degraded_video_is_coarse_and_still(make_study, bench):
    study = make_study(raters=1, gold=1)
    key, data = load_key(study.key), page_data(study)
    low = next(i for i, t in key.trials.items() if t.kind == "gold" and t.left == "low")
    frames, _ = read_clip(study.root / data["trials"][low]["results"][0])
    driver, _ = read_clip(study.root / data["trials"][low]["drivers"][0])
    assert len(frames) == len(driver)
    assert abs(frames[7].astype(int) - frames[0]).mean() < 1 < abs(frames[0].astype(int) - driver[0]).mean()


def test_cases_without_a_video_of_every_method_are_left_out(make_study, bench, predictions, tmp_path):
    lost, damaged = (c.case_id for c in bench.select(track="cross")[:2])
    folder = shutil.copytree(predictions["good-method"], tmp_path / "partial")
    (folder / f"{lost}.mp4").unlink()
    (folder / f"{damaged}.mp4").write_bytes(b"not a video")
    study = build_study(
        benchmark=bench.root, predictions={"m": folder}, out=tmp_path / "s", settings=StudySettings(raters=2), workers=0
    )
    assert study.left_out[lost].startswith("m: missing_file")
    assert study.left_out[damaged].startswith("m: open_failed")
    assert set(study.cases) == {c.case_id for c in bench.select(track="cross")} - {lost, damaged}


MISTAKES = [
    ({"raters": 0}, "--raters is 0; expected 1 or more"),
    ({"mode": "choice"}, "unknown --mode 'choice'"),
    ({"mode": "pairs", "methods": METHODS[:1]}, "mode pairs needs 2 or more"),
    ({"track": "self", "split": "solo"}, "unknown --split"),
]


@pytest.mark.parametrize(("settings", "message"), MISTAKES)
def test_mistakes_are_named(make_study, settings, message):
    with pytest.raises(UserError, match=message):
        make_study(**settings)


def test_a_key_inside_the_folder_is_refused(make_study, tmp_path):
    with pytest.raises(UserError, match="is inside"):
        make_study(key=tmp_path / "study" / "key.json")


def test_an_existing_folder_is_kept(make_study, tmp_path):
    (tmp_path / "study").mkdir()
    with pytest.raises(UserError, match="already exists"):
        make_study()
