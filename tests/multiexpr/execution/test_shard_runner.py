"""Shards through workers, on a made-up stage and without processes."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from exprbench.core.errors import ItemError
from multiexpr.execution import shard_runner
from multiexpr.execution.shard_runner import run_shards


class Stage:
    """Shards of clips; each clip is done, to be done, or one that fails."""

    name = "made"
    unit = "clip"

    def __init__(self, **shards):
        self.clips = {int(name[1:]): clips.split() for name, clips in shards.items()}
        self.written = {}
        self.order = []

    def size(self, shard):
        return len(self.clips[shard])

    def is_done(self, shard):
        return shard in self.written

    def tasks(self, shard):
        todo = {i: clip for i, clip in enumerate(self.clips[shard]) if clip != "done"}
        return {i: {"clip": clip, "needed": ["a", "b"]} for i, clip in todo.items()}

    def finish(self, shard, answers):
        self.written[shard] = answers
        self.order.append(shard)
        return {"clips": len(answers), "errors": sum("error" in answer for answer in answers.values())}


class Pool:
    """Answers requests two at a time, the later one first."""

    def map(self, requests):
        waiting = []
        for key, request in requests:
            waiting.append((key, self.answer(request["clip"])))
            if len(waiting) == 2:
                yield waiting.pop()
        yield from waiting

    def answer(self, clip):
        return ItemError("timeout", "") if clip == "bad" else {"value": clip, "seconds": {"a": 1.0, "b": 0.5}}


@pytest.fixture
def stage():
    return Stage(s0="x done y", s1="done done", s2="z bad", s3="w")


def timing(workspace, shard):
    return json.loads((workspace.timings("made") / f"{shard:05d}.json").read_text())


def test_every_shard_is_written_once_with_the_answers_to_its_own_clips(stage, workspace):
    assert run_shards(stage, workspace, [0, 1, 2, 3], Pool()) == 5  # clips that were worked on
    values = {shard: {i: a.get("value", "failed") for i, a in w.items()} for shard, w in stage.written.items()}
    assert values == {0: {0: "x", 2: "y"}, 1: {}, 2: {0: "z", 1: "failed"}, 3: {0: "w"}}
    assert len(stage.order) == 4


def test_an_answer_that_is_an_error_says_what_was_asked_for(stage, workspace):
    run_shards(stage, workspace, [2], Pool())
    assert stage.written[2][1] == {"error": ["timeout", ""], "needed": ["a", "b"]}
    assert "needed" not in stage.written[2][0]


def test_shards_that_are_done_are_left_alone(stage, workspace):
    stage.written[0] = "from before"
    assert run_shards(stage, workspace, [0, 3], Pool()) == 1
    assert stage.written[0] == "from before"


def test_time_is_added_up_over_the_clips_of_a_shard(stage, workspace):
    run_shards(stage, workspace, [0, 1, 2, 3], Pool())
    assert timing(workspace, 0)["spent_s"] == {"a": 2.0, "b": 1.0}
    assert (timing(workspace, 2)["clips"], timing(workspace, 2)["errors"]) == (2, 1)
    assert 0 <= timing(workspace, 0)["wall_s"] < 1000


def test_a_shard_without_work_keeps_the_time_it_took_before(stage, workspace):
    run_shards(stage, workspace, [3], Pool())
    before = timing(workspace, 3)
    stage.written, stage.clips[3] = {}, ["done"]
    run_shards(stage, workspace, [3], Pool())
    assert stage.written == {3: {}}
    assert timing(workspace, 3) == before


def test_progress_counts_every_clip_of_the_shards_to_do(stage, workspace, monkeypatch):
    counted = {}

    def progress(steps, *, total, label, unit):
        steps = list(steps)
        counted.update(total=total, steps=len(steps), label=label)
        return steps

    monkeypatch.setattr("multiexpr.execution.shard_runner.progress", progress)
    stage.written[2] = "from before"
    run_shards(stage, workspace, [0, 1, 2, 3], Pool())
    assert counted == {"total": 6, "steps": 6, "label": "made"}


def claim_as_another_process(workspace, shard, **changes):
    """Write the claim of a process on another machine."""
    path = workspace.claims("made") / f"{shard:05d}.0"
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = {"machine": "another", "host": "node7", "pid": 12, "started": 0.0, "created": time.time()}
    path.write_text(json.dumps({**owner, **changes}))
    return path


def test_a_shard_of_a_living_process_is_left_to_it(stage, workspace, capsys):
    claim = claim_as_another_process(workspace, 1)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(run_shards, stage, workspace, [0, 1, 2, 3], Pool())
        while sorted(stage.order) != [0, 2, 3]:
            assert not run.done()
            time.sleep(0.01)
        assert not run.done()
        stage.finish(1, {})  # by the other process
        claim.unlink()
        assert run.result() == 5
    assert stage.order[-1] == 1
    assert "made: waiting for shards of process 12 on node7: 1" in capsys.readouterr().err


def test_the_shard_of_a_process_that_died_is_processed_by_another(stage, workspace):
    os.utime(claim_as_another_process(workspace, 2), (0, 0))  # not renewed for long
    assert run_shards(stage, workspace, [0, 1, 2, 3], Pool()) == 5
    assert sorted(stage.order) == [0, 1, 2, 3]
    assert not workspace.claims("made").exists()


def test_a_slow_process_is_helped_by_one_that_is_done(stage, workspace, monkeypatch):
    monkeypatch.setattr(shard_runner, "MIN_PATIENCE_S", 60.0)
    claim_as_another_process(workspace, 1, created=time.time() - 3600)
    assert run_shards(stage, workspace, [0, 1, 2, 3], Pool()) == 5
    assert stage.order[-1] == 1


def test_a_shard_that_stays_undone_is_tried_once_per_run(stage, workspace, monkeypatch):
    monkeypatch.setattr(stage, "is_done", lambda shard: False)  # such as one whose workers were killed
    assert run_shards(stage, workspace, [0, 3], Pool()) == 3
    assert sorted(stage.order) == [0, 3]


def test_an_interrupted_run_leaves_no_claim(stage, workspace, monkeypatch):
    monkeypatch.setattr(stage, "finish", lambda shard, answers: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_shards(stage, workspace, [0, 3], Pool())
    assert not workspace.claims("made").exists()
