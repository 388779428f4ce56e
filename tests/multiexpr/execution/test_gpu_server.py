"""The process that holds a GPU, with networks that are made up."""

from multiprocessing import get_context
from multiprocessing.connection import Listener

import numpy as np
import pytest

from exprbench import UserError
from multiexpr.execution import gpu_server as gpu
from multiexpr.execution.gpu_server import KEY, GpuServers, RemoteModels, serve
from multiexpr.recipe import load_recipe


class Networks:
    """People: as many boxes as an image's value, but an error for 255; scores: an image's value.

    `batches` are the numbers of images that came together.
    """

    def __init__(self):
        self.batches = []

    def people(self, images):
        self.batches.append(len(images))
        values = [int(image.max()) for image in images]
        if max(values) == 255:
            raise UserError("the model is missing")
        return [np.full((value, 5), value / 8) for value in values]

    def aesthetics(self, crops):
        self.batches.append(len(crops))
        return crops.max((1, 2, 3)) / 8


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """A function that connects to a process with these networks."""
    monkeypatch.setenv(KEY, "00" * 32)
    address = str(tmp_path / "gpu")
    with Listener(address, backlog=8, authkey=bytes(32)) as listener:
        process = get_context("fork").Process(target=serve, args=(Networks(), listener), daemon=True)
        process.start()
        yield lambda: RemoteModels(load_recipe(), address)
        process.kill()
        process.join()


def images(*values):
    return np.stack([np.full((4, 6, 3), value, np.uint8) for value in values])


def test_answers_come_back_to_the_images_they_are_for(connect):
    models = connect()
    found = models.people(list(images(2, 0, 3)))
    assert [boxes.shape for boxes in found] == [(2, 5), (0, 5), (3, 5)]
    assert [boxes.mean() for boxes in found if len(boxes)] == [2 / 8, 3 / 8]
    assert models.people(list(images(0)))[0].shape == (0, 5)
    assert models.aesthetics(images(1, 5)).tolist() == [1 / 8, 5 / 8]


def at_once(networks, monkeypatch, clips, task="people"):
    """Batches and answers where the images of several clips wait together."""
    sent = []
    monkeypatch.setattr(gpu, "_send", lambda connection, head, body: sent.append((connection, head, body)))
    gpu._process_batches(networks, task, [(f"clip {i}", images(*values)) for i, values in enumerate(clips)])
    return networks.batches, {name: (head, body) for name, head, body in sent}


def test_images_of_several_clips_go_through_together(monkeypatch):
    batches, sent = at_once(Networks(), monkeypatch, [[1, 2], [0], [3]])
    assert batches == [4]
    assert [head["counts"] for head, _ in sent.values()] == [[1, 2], [0], [3]]
    assert sent["clip 2"][1].tolist() == [3 / 8] * 15
    batches, sent = at_once(Networks(), monkeypatch, [[1, 2, 3], [4]], "aesthetics")
    assert batches == [4]
    assert [body.tolist() for _, body in sent.values()] == [[1 / 8, 2 / 8, 3 / 8], [4 / 8]]


@pytest.mark.parametrize(("sizes", "batches"), [([3, 5], [8]), ([3, 6], [3, 6]), ([9], [9]), ([9, 1, 7, 1], [9, 8, 1])])
def test_a_batch_is_as_large_as_allowed_and_a_clip_is_never_divided(monkeypatch, sizes, batches):
    monkeypatch.setattr(gpu, "MAX_BATCH", 8)
    assert at_once(Networks(), monkeypatch, [[1] * size for size in sizes])[0] == batches


def test_a_mistake_of_the_users_reaches_the_worker(connect):
    models = connect()
    with pytest.raises(UserError, match="the model is missing"):
        models.people(list(images(255)))
    assert len(models.people(list(images(2)))[0]) == 2


def test_a_worker_that_goes_does_not_disturb_the_others(connect):
    gone, other = connect(), connect()
    gone.connection.close()
    for _ in range(3):
        assert len(other.people(list(images(2)))[0]) == 2


def test_a_process_that_ends_before_it_serves_is_named_with_its_last_words(monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nread recipe\nseq 100000 >&2\necho no driver >&2\nexit 1\n")  # more than a pipe holds
    program.chmod(0o755)
    monkeypatch.setattr(gpu.sys, "executable", str(program))
    message = "the GPU server did not start; use --devices cpu: no driver$"
    with pytest.raises(UserError, match=message), GpuServers(load_recipe(), ["cpu"]):
        pass
