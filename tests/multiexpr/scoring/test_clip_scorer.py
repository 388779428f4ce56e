"""One clip on its way through scorers that are made up, and what makes their shards out of date."""

import shutil
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import write_json
from exprbench.media import VideoSource
from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe, load_recipe
from multiexpr.scorers.base import Frames, decoded_short_side, largest_size
from multiexpr.scoring import stage as scoring
from multiexpr.scoring.stage import ClipScorer, ScoreStage, fingerprints
from multiexpr.storage.parquet import read_metadata, read_rows, shard_path, write_rows
from tests.multiexpr.made import COLUMNS, change_index, fill, good


class Scorer:
    """Asks for frames at `times_s`, notes what it sees, and gives the values of a good clip or what it was given."""

    def __init__(self, name, times_s, *, costly=False, compute=None, **size):
        self.name, self.costly, self.wanted = name, costly, Frames(times_s=times_s, **size)
        self.given = good()[name] if compute is None else compute
        self.columns = [column for column in COLUMNS[name] if column[0] in good()[name]]
        self.seen, self.settings = [], {}

    def fingerprint(self):
        return self.settings

    def frames(self, facts):
        return self.wanted

    def start(self, facts):
        return self

    def update(self, frame, time_s):
        self.seen.append((time_s, frame.shape[:2]))

    def compute(self):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


@pytest.fixture
def made(monkeypatch):
    """Two cheap scorers and two costly ones in place of the real ones, by name."""
    scorers = [
        Scorer("people", (0.2, 0.6), short_side=48),
        Scorer("sharpness", (0.2, 1.0), long_side=70),
        Scorer("cuts", (0.0, 0.04), costly=True, long_side=40),
        Scorer("motion", (0.08,), costly=True, short_side=90),
    ]
    monkeypatch.setattr(scoring, "make_scorers", lambda recipe, models: scorers)
    return {scorer.name: scorer for scorer in scorers}


EVERYTHING = ["container", "people", "sharpness", "cuts", "motion"]
LOOSE = ["keep.container.min_short_side=90", "keep.container.min_duration_s=1"]


def score(drawn, *settings, known=None, needed=EVERYTHING, score_all=False, path=None):
    recipe = load_recipe(None, [*LOOSE, *settings])
    scorer = ClipScorer(recipe, Models(recipe))
    return scorer.score(VideoSource(path=str(path or drawn / "a.mp4")), known or {}, needed, score_all=score_all)


def test_each_scorer_sees_its_own_frames_at_the_size_all_need(made, drawn):
    answer = score(drawn)
    assert list(answer["scores"]) == EVERYTHING
    assert not answer["errors"]
    assert {name: [time_s for time_s, _ in scorer.seen] for name, scorer in made.items()} == {
        "people": [0.2, 0.6], "sharpness": [0.2, 1.0], "cuts": [0.0, 0.04], "motion": [0.08]}  # fmt: skip
    sizes = {name: {size for _, size in scorer.seen} for name, scorer in made.items()}
    assert sizes["people"] == sizes["sharpness"]
    assert sizes["cuts"] == sizes["motion"] != sizes["people"]


@pytest.mark.parametrize("name", ["people", "sharpness", "cuts", "motion"])
def test_a_scorer_asked_alone_sees_the_same_as_among_others(made, drawn, name):
    score(drawn)
    among_others = list(made[name].seen)
    made[name].seen.clear()
    known = good()
    known["container"] |= {"width": 160, "height": 96}  # as drawn
    answer = score(drawn, known=known, needed=[name])
    assert list(answer["scores"]) == [name]
    assert made[name].seen == among_others


def test_the_size_that_serves_all_is_the_largest_of_either_side():
    assert largest_size(
        [Frames(times_s=(1.0,), short_side=5), Frames(times_s=(), long_side=7, short_side=2)]
    ) == Frames(times_s=(), short_side=5, long_side=7)


@pytest.mark.parametrize(
    ("width", "height", "short_side", "long_side", "decoded"),
    [
        (1280, 720, 540, 256, 720),
        (1280, 720, 360, 256, 360),
        (1920, 1080, 540, 256, 540),
        (1080, 1920, 500, 256, 540),
        (3840, 2160, 540, 256, 540),
        (1280, 720, 0, 256, 144),
        (1281, 721, 360, 256, 360),
        (320, 240, 540, 256, 240),
        (1280, 720, 1 << 16, 0, 720),
    ],
)
def test_frames_are_decoded_at_a_whole_divisor_of_the_size_of_the_clip(width, height, short_side, long_side, decoded):
    size = Frames(times_s=(), short_side=short_side, long_side=long_side)
    assert decoded_short_side({"width": width, "height": height}, size) == decoded


@pytest.mark.parametrize(
    ("settings", "reached"),
    [
        (["keep.container.min_duration_s=9"], 1),
        (["keep.people.min_people=3"], 2),
        (["keep.sharpness.min_luma=0.9"], 3),
        ([], 5),
    ],
)
def test_a_clip_goes_on_until_a_verdict_drops_it(made, drawn, settings, reached):
    assert list(score(drawn, *settings)["scores"]) == EVERYTHING[:reached]
    assert list(score(drawn, *settings, score_all=True)["scores"]) == EVERYTHING


def test_costly_scorers_see_nothing_of_a_clip_that_cheap_ones_drop(made, drawn):
    score(drawn, "keep.sharpness.min_luma=0.9")
    assert made["sharpness"].seen
    assert not made["cuts"].seen + made["motion"].seen


@pytest.mark.parametrize(
    "trouble", [ZeroDivisionError("x"), KeyError("x"), RuntimeError("x"), TypeError("x"), ValueError("x")]
)
def test_a_scorer_that_fails_is_an_error_of_the_clip(made, drawn, trouble):
    made["sharpness"].given = trouble
    answer = score(drawn)
    assert list(answer["scores"]) == ["container", "people"]
    assert answer["errors"] == {"sharpness": ["scorer_failed", f"{type(trouble).__name__}: {trouble}"]}
    assert list(score(drawn, score_all=True)["errors"]) == ["sharpness"]


def test_a_bug_that_is_no_arithmetic_is_not_hidden(made, drawn):
    made["people"].given = AttributeError("x")
    with pytest.raises(AttributeError):
        score(drawn)


def test_a_file_that_cannot_be_read_is_an_error_of_the_first_scorer_asked(made, drawn, tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    answer = score(drawn, path=tmp_path / "a.mp4")
    assert (answer["scores"], list(answer["errors"])) == ({}, ["container"])
    answer = score(drawn, path=tmp_path / "a.mp4", known={"container": good()["container"]}, needed=EVERYTHING[1:])
    assert (answer["scores"], list(answer["errors"])) == ({}, ["people"])


def test_the_time_of_decoding_and_of_each_scorer_is_returned(made, drawn):
    seconds = score(drawn)["seconds"]
    assert set(seconds) == {*EVERYTHING, "decode"}
    assert all(value >= 0 for value in seconds.values())


def test_what_a_score_depends_on_holds_the_size_at_which_frames_are_decoded(made):
    before = fingerprints(list(made.values()))
    made["people"].wanted = Frames(times_s=(0.2, 0.6), short_side=49)
    smaller = fingerprints(list(made.values()))
    assert {name for name in before if before[name] != smaller[name]} == {"people", "sharpness"}
    made["motion"].wanted = Frames(times_s=(0.08,), short_side=90, long_side=500)
    larger = fingerprints(list(made.values()))
    assert {name for name in before if smaller[name] != larger[name]} == {"cuts", "motion"}


def test_a_missing_model_is_the_users_to_bring(made):
    def missing():
        raise ItemError("weights_missing", "put it there")

    made["motion"].fingerprint = missing
    with pytest.raises(UserError, match=r"^put it there$"):
        fingerprints(list(made.values()))


@pytest.fixture
def scored(made, workspace):
    """A workspace of one shard of three clips, all files of which are up to date though nothing was measured."""
    fill(workspace, [[good(), good(), good()]])
    shutil.rmtree(workspace.root / "scores")
    ScoreStage(workspace, Recipe()).finish(0, {})
    assert ScoreStage(workspace, Recipe()).is_done(0)
    return workspace


KEEP = {
    f"keep.{section}.{key}": value for section, keys in asdict(Recipe().keep).items() for key, value in keys.items()
}
LAST, ABSENT = ("keep.motion.", "keep.speech."), ("keep.aesthetics.", "keep.damage.")
OPTIONAL = ("keep.overlays.", "keep.nsfw.", "keep.copies.")  # rules of scorers that this recipe does not name
NOT_BEFORE_A_SCORER = (*LAST, *ABSENT, *OPTIONAL)


@pytest.mark.parametrize("key", KEEP)
def test_every_rule_before_a_scorer_decides_which_clips_it_gets(scored, key):
    recipe = load_recipe(None, [f"{key}={KEEP[key] + 1}"])
    assert ScoreStage(scored, recipe).is_done(0) == key.startswith(NOT_BEFORE_A_SCORER)


@pytest.mark.parametrize("name", ["people", "sharpness", "cuts", "motion"])
def test_scores_of_other_settings_are_out_of_date(scored, made, name):
    made[name].settings = {"changed": True}
    assert not ScoreStage(scored, Recipe()).is_done(0)


def test_what_comes_after_a_changed_scorer_is_out_of_date_too(scored, made):
    """Other clips can reach it now."""
    made["people"].settings = {"changed": True}
    stage = ScoreStage(scored, Recipe())
    path = shard_path(scored.scores("people"), 0)
    note = {**read_metadata(path), "fingerprint": stage.fingerprints["people"]}
    write_rows(path, [], pa.schema([("x", pa.int32())]), note)
    assert not stage.is_done(0)


def test_scores_of_other_clips_are_out_of_date(scored):
    path = shard_path(scored.index, 0)
    write_rows(path, read_rows(path), pq.read_schema(path).remove_metadata(), {"key": "other clips"})
    assert not ScoreStage(scored, Recipe()).is_done(0)


def test_scores_of_all_clips_serve_every_recipe_and_not_the_other_way(scored):
    assert not ScoreStage(scored, Recipe(), score_all=True).is_done(0)
    ScoreStage(scored, Recipe(), score_all=True).finish(0, {})
    assert ScoreStage(scored, Recipe(), score_all=True).is_done(0)
    assert ScoreStage(scored, load_recipe(None, ["keep.people.min_people=3"])).is_done(0)


def states(workspace, name):
    return [(row["state"], row["error"]) for row in read_rows(shard_path(workspace.scores(name), 0))]


ANSWER = {"scores": {"container": good()["container"]}, "errors": {"people": ["timeout", "late"]}}


def test_answers_are_written_to_the_scorer_they_are_of(scored):
    stage = ScoreStage(scored, Recipe())
    crashed = {"error": ["worker_crashed", ""], "needed": ["sharpness", "cuts"]}
    assert stage.finish(0, {0: ANSWER, 2: crashed}) == {"clips": 2, "errors": 2}
    assert states(scored, "container") == [("scored", ""), ("", ""), ("", "")]
    assert states(scored, "people") == [("error", "timeout"), ("", ""), ("", "")]
    assert states(scored, "sharpness") == [("", ""), ("", ""), ("error", "worker_crashed")]
    assert states(scored, "cuts") == [("", "")] * 3


def test_errors_are_tried_again_once_and_only_on_request(scored):
    ScoreStage(scored, Recipe()).finish(0, {0: ANSWER})
    assert ScoreStage(scored, Recipe()).is_done(0)
    assert 0 not in ScoreStage(scored, Recipe()).tasks(0)
    again = ScoreStage(scored, Recipe(), retry_before=4e9)
    assert not again.is_done(0)
    assert again.tasks(0)[0]["needed"] == ["people", "sharpness", "cuts", "motion"]
    again.finish(0, {0: ANSWER})
    write_json(scored.timings("score") / "00000.json", {"started": 5e9})  # by this process or another one of the run
    assert again.is_done(0)


def test_what_is_known_of_a_file_that_changed_is_not_used(scored):
    ScoreStage(scored, Recipe()).finish(0, {i: {"scores": good(), "errors": {}} for i in range(3)})
    assert ScoreStage(scored, Recipe()).tasks(0) == {}
    change_index(scored, 0, lambda rows: [{**rows[0], "stamp": "2:2"}, *rows[1:]])
    (task,) = ScoreStage(scored, Recipe()).tasks(0).values()
    assert (task["known"], task["needed"]) == ({}, EVERYTHING)


def test_known_scores_of_other_settings_are_measured_again(scored, made):
    ScoreStage(scored, Recipe()).finish(0, {i: {"scores": good(), "errors": {}} for i in range(3)})
    made["sharpness"].settings = {"changed": True}
    tasks = ScoreStage(scored, Recipe()).tasks(0)
    assert [task["needed"] for task in tasks.values()] == [["sharpness"]] * 3
    assert list(tasks[0]["known"]) == ["container", "people", "cuts", "motion"]
