"""Caption stage: what captions depend on, limits, ranks, and what a captioner is given."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from multiexpr import caption, select
from multiexpr.captions import stage
from multiexpr.captions.cogvlm2 import NUM_FRAMES
from multiexpr.captions.stage import CaptionPool, CaptionStage
from multiexpr.execution.claims import Claims
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.indexing.stage import load_index
from multiexpr.recipe import Caption, load_recipe
from multiexpr.sources.locate import ClipError
from multiexpr.storage.parquet import list_shards
from tests.multiexpr.made import change_index, dropped_at, fill, good, of_people


@pytest.fixture
def judged(workspace):
    """Three shards of made-up clips: two kept ones each, and one that is dropped."""
    fill(workspace, [[good(), dropped_at("sharpness", luma=0.0), good()] for _ in range(3)])
    select(workspace.root)
    return workspace


ENDPOINT = ["caption.backend=openai", "caption.url=http://a/v1", "caption.model=m"]


WRITTEN = {i: {"caption": f"caption {i}"} for i in range(2)}


CAPTION_SETTINGS = {
    "source": set(),
    "openai": {"num_frames", "long_side", "max_tokens", "prompt", "model"},
    "cogvlm2": {"max_tokens", "prompt", "model"},
}


def done(workspace, *settings):
    return CaptionStage(workspace, load_recipe(None, settings)).is_done(0)


@pytest.mark.parametrize("backend", CAPTION_SETTINGS)
def test_captions_are_made_again_where_anything_they_depend_on_changed(judged, monkeypatch, backend):
    chosen = f"caption.backend={backend}"
    CaptionStage(judged, load_recipe(None, [chosen])).finish(0, WRITTEN)
    assert done(judged, chosen)
    assert not [other for other in CAPTION_SETTINGS if other != backend and done(judged, f"caption.backend={other}")]
    settings = {name: value for name, value in asdict(Caption()).items() if name != "backend"}
    for name, value in settings.items():
        new = "other" if isinstance(value, str) else value + 1
        assert done(judged, chosen, f"caption.{name}={new}") != (name in CAPTION_SETTINGS[backend]), name
    monkeypatch.setattr(stage, "DEFAULT", "another prompt")
    assert not done(judged, chosen)


def test_captions_of_files_that_changed_are_made_again(judged):
    CaptionStage(judged, load_recipe()).finish(0, WRITTEN)
    change_index(judged, 0, lambda rows: [{**rows[0], "stamp": "2:2"}, *rows[1:]])
    assert list(CaptionStage(judged, load_recipe()).tasks(0)) == [0]
    assert not done(judged)


def test_captions_of_clips_that_are_kept_no_more_are_taken_out(judged):
    CaptionStage(judged, load_recipe()).finish(0, WRITTEN)
    shards = CaptionStage(judged, load_recipe())
    shards.kept[0].popitem()
    assert shards.tasks(0) == {}
    assert not shards.is_done(0)
    shards.finish(0, {})
    assert shards.is_done(0)


@pytest.mark.parametrize(("limit", "shards"), [(1, 1), (2, 1), (3, 2), (4, 2), (None, 3)])
def test_a_limit_takes_whole_shards_until_it_is_reached(judged, limit, shards):
    assert caption(judged.root, recipe=load_recipe(), limit=limit)["clips"] == 2 * shards
    assert list_shards(judged.captions) == list(range(shards))
    assert caption(judged.root, recipe=load_recipe())["clips"] == 6 - 2 * shards


def test_ranks_caption_what_no_other_rank_works_on(judged):
    rank = ExecutionConfig(executor="slurm")
    with Claims(judged.claims("caption")) as other, ThreadPoolExecutor(1) as pool:
        other.take("00001")
        run = pool.submit(caption, judged.root, recipe=load_recipe(), execution=rank)
        while list_shards(judged.captions) != [0, 2]:
            assert not run.done()
            time.sleep(0.01)
        other.release("00001")
        assert run.result()["clips"] == 6
    assert list_shards(judged.captions) == [0, 1, 2]


def test_the_number_of_people_is_that_of_the_faces(workspace):
    a_photograph = of_people(3, expression=[2.0, 0.1, 2.0])
    fill(workspace, [[good(**of_people(3)), good(**a_photograph), good(length_s=3.5)]])
    select(workspace.root)
    tasks = CaptionStage(workspace, load_recipe()).tasks(0).values()
    assert [(task["num_people"], task["length_s"]) for task in tasks] == [(3, 5.0), (2, 5.0), (2, 3.5)]


class Writer:
    """Notes the frames it is shown."""

    def __init__(self, trouble=None):
        self.shown, self.trouble = [], trouble

    def caption(self, frames, num_people):
        if self.trouble:
            raise self.trouble
        self.shown.append((len(frames), frames[0].shape[:2], num_people))
        return "a text"


def answer_of(pool, clip):
    ((_, answer),) = pool.map(iter([("key", {"clip": clip, "length_s": 2.0, "num_people": 3})]))
    return answer


@pytest.mark.parametrize(("backend", "count"), [("openai", 5), ("cogvlm2", NUM_FRAMES)])
def test_a_captioner_is_shown_as_many_frames_as_it_knows_of_the_wanted_size(kept, drawn, backend, count):
    writer = Writer()
    wanted = Caption(backend=backend, num_frames=5, long_side=80)
    assert answer_of(CaptionPool(drawn, wanted, writer), load_index(kept)[0]) == {"caption": "a text"}
    ((shown, (height, width), num_people),) = writer.shown
    assert (shown, num_people) == (count, 3)
    assert 80 <= width < 160
    assert height < 96


def test_cogvlm2_is_trained_on_24_frames_and_asked_one_clip_at_a_time(drawn):
    assert NUM_FRAMES == 24
    assert CaptionPool(drawn, Caption(backend="cogvlm2", concurrency=5), Writer()).num_threads == 1
    assert CaptionPool(drawn, Caption(backend="openai", concurrency=5), Writer()).num_threads == 5


def test_what_keeps_a_clip_from_a_caption_is_its_error_and_a_bug_is_none(kept, drawn):
    clip = load_index(kept)[0]
    refusing = CaptionPool(drawn, Caption(backend="openai"), Writer(ClipError("caption_refused", "no")))
    refused, changed = answer_of(refusing, clip), answer_of(refusing, {**clip, "stamp": "1:1"})
    assert (refused.code, refused.detail) == ("caption_refused", "no")
    assert changed.code == "source_changed"
    with pytest.raises(ZeroDivisionError):
        answer_of(CaptionPool(drawn, Caption(backend="openai"), Writer(ZeroDivisionError())), clip)
