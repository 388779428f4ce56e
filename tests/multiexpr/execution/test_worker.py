import errno
import os
from pathlib import Path

import cv2
import pytest

from exprbench.core.errors import ItemError, UserError
from exprbench.media import MediaError
from exprbench.weights import WeightsError
from multiexpr.execution import worker as worker_module
from multiexpr.execution.worker import ClipWorker, clip_pool, create_worker
from multiexpr.recipe import Recipe, load_recipe
from multiexpr.sources.catalogue import file_stamp


@pytest.fixture
def ask(tmp_path):
    """Function that sends a request with a task, about a file that has not changed since it was listed."""
    (tmp_path / "clip.mp4").write_bytes(b"bytes")
    clip = {"path": "clip.mp4", "parts": [], "problem": "", "stamp": file_stamp(tmp_path, ("clip.mp4",))}
    worker = ClipWorker(tmp_path, Recipe(), models=None)
    return lambda task: worker({"task": task, "clip": clip})


def failing(error):
    def task(worker, request):
        raise error

    return task


def test_a_task_gets_the_worker_and_the_request(ask, tmp_path):
    assert ask(lambda worker, request: {"at": worker.root / request["clip"]["path"]}) == {"at": tmp_path / "clip.mp4"}


@pytest.mark.parametrize(
    "error",
    [MediaError("truncated", "it ends early"), UserError("no model"), OSError(errno.ENOSPC, "full"), KeyError()],
)
def test_errors_reach_the_pool_unchanged(ask, error):
    with pytest.raises(type(error)) as raised:
        ask(failing(error))
    assert raised.value is error


def test_a_missing_model_ends_the_run(ask):
    with pytest.raises(UserError, match="put it in a folder"):
        ask(failing(WeightsError("weights_missing", "put it in a folder")))


def test_a_file_that_changes_while_it_is_read_is_an_error_of_the_clip(ask, tmp_path):
    def task(worker, request):
        (tmp_path / "clip.mp4").write_bytes(b"other bytes")

    with pytest.raises(Exception, match="source_changed"):
        ask(task)


def test_clips_have_the_time_of_the_recipe_and_whole_videos_an_hour():
    recipe = load_recipe(None, ["score.clip_timeout_s=7"])
    limits = [clip_pool("root", recipe, num_workers=1, whole_videos=whole).limits for whole in (False, True)]
    assert [limit.timeout_s for limit in limits] == [7.0, 3600.0]


def test_shared_objects_are_created_once(tmp_path):
    created = []
    worker = ClipWorker(tmp_path, Recipe(), models="networks")

    def create(recipe, models):
        created.append((recipe, models))
        return object()

    assert worker.shared(create) is worker.shared(create)
    assert created == [(Recipe(), "networks")]


@pytest.mark.parametrize(
    ("change", "code"), [(lambda path: os.utime(path, ns=(1, 1)), "source_changed"), (Path.unlink, "missing_file")]
)
def test_a_file_that_is_touched_or_removed_during_a_task_is_an_error(ask, tmp_path, change, code):
    assert ask(lambda worker, request: {}) == {}
    with pytest.raises(ItemError) as raised:
        ask(lambda worker, request: change(tmp_path / "clip.mp4"))
    assert raised.value.code == code


def test_a_worker_decodes_and_resizes_on_one_core(tmp_path):
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        create_worker(str(tmp_path), Recipe(), None)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def print_in_python_and_c(worker, request):
    print("a library prints")
    os.write(1, b"and C code too\n")
    return {"session": os.getsid(0), "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


def test_what_libraries_print_does_not_disturb_answers_and_workers_use_one_thread(ask, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    clip = {"path": "clip.mp4", "parts": [], "problem": "", "stamp": file_stamp(tmp_path, ("clip.mp4",))}
    with clip_pool(str(tmp_path), Recipe(), num_workers=1) as pool:
        requests = [(i, {"task": print_in_python_and_c, "clip": clip}) for i in (1, 2)]
        answers = dict(pool.map(requests))
    assert set(answers) == {1, 2}
    for answer in answers.values():
        assert answer["session"] == answer["pid"]  # Ctrl-C does not reach it
        assert answer["threads"] == "1"


def test_workers_are_spread_over_the_servers_and_have_the_recipes_time_limit(tmp_path, monkeypatch):
    made = {}
    monkeypatch.setattr(
        worker_module, "Pool", lambda setups, *, num_workers, limits: made.update(
            setups=setups, num_workers=num_workers, limits=limits
        )
    )  # fmt: skip
    recipe = load_recipe(None, ["score.clip_timeout_s=7"])
    clip_pool(str(tmp_path), recipe, num_workers=3, servers=["a", "b"])
    assert [setup.args for setup in made["setups"]] == [(str(tmp_path), recipe, server) for server in "ab"]
    assert (made["num_workers"], made["limits"].timeout_s) == (3, 7.0)
    clip_pool(str(tmp_path), recipe, num_workers=1)
    assert [setup.args for setup in made["setups"]] == [(str(tmp_path), recipe, None)]
