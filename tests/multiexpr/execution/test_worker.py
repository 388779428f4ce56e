import errno

import pytest

from exprbench.core.errors import UserError
from exprbench.media import MediaError
from exprbench.weights import WeightsError
from multiexpr.execution.worker import ClipWorker, clip_pool
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
