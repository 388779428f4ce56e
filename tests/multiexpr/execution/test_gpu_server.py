"""The process that holds a GPU, with networks that are made up."""

from multiprocessing import get_context
from multiprocessing.connection import Listener

import numpy as np
import pytest

from exprbench import UserError
from exprbench.media import open_clip
from multiexpr.execution import gpu_server as gpu
from multiexpr.execution.gpu_server import KEY, GpuServers, RemoteModels, serve
from multiexpr.models.detector import Models
from multiexpr.recipe import load_recipe
from tests.faces.test_openvino_landmarker import assert_same


class Networks:
    """People and animals: as many boxes as an image's value, an error for 255; scores: the value; faces: two outputs.

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

    def animals(self, images):
        return [boxes + 1 for boxes in self.people(images)]

    def aesthetics(self, crops):
        self.batches.append(len(crops))
        return crops.max((1, 2, 3)) / 8

    def face_network(self, name, batch):
        self.batches.append((name, len(batch)))
        return [batch.astype(np.float32) / 2, np.full((len(batch), 1), len(name), np.float32)]


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
    assert [boxes.mean() for boxes in models.animals(list(images(2, 3)))] == [1 + 2 / 8, 1 + 3 / 8]
    assert models.aesthetics(images(1, 5)).tolist() == [1 / 8, 5 / 8]


def at_once(networks, monkeypatch, clips, task="people"):
    """Batches and answers where the images of several clips wait together."""
    sent = {}
    monkeypatch.setattr(gpu, "_send", lambda connection, error, arrays: sent.update({connection: arrays}))
    gpu._process_batches(networks, task, [(f"clip {i}", images(*values)) for i, values in enumerate(clips)])
    return networks.batches, sent


def test_images_of_several_clips_go_through_together(monkeypatch):
    batches, sent = at_once(Networks(), monkeypatch, [[1, 2], [0], [3]])
    assert batches == [4]
    assert [[len(boxes) for boxes in arrays] for arrays in sent.values()] == [[1, 2], [0], [3]]
    assert sent["clip 2"][0].tolist() == [[3 / 8] * 5] * 3
    batches, sent = at_once(Networks(), monkeypatch, [[1, 2, 3], [4]], "aesthetics")
    assert batches == [4]
    assert [scores.tolist() for (scores,) in sent.values()] == [[1 / 8, 2 / 8, 3 / 8], [4 / 8]]
    batches, sent = at_once(Networks(), monkeypatch, [[1, 2, 3], [4]], "face_detector")
    assert batches == [("face_detector", 4)]
    assert [halves[:, 0, 0, 0].tolist() for halves, _ in sent.values()] == [[0.5, 1, 1.5], [2]]


def test_clips_of_different_sizes_go_through_together(monkeypatch):
    networks, sent = Networks(), {}
    monkeypatch.setattr(gpu, "_send", lambda connection, error, arrays: sent.update({connection: arrays}))
    wide, tall = images(1, 2), images(3).transpose(0, 2, 1, 3)
    gpu._process_batches(networks, gpu.PEOPLE, [("wide", wide), ("tall", tall)])
    assert networks.batches == [3]
    assert {name: [len(boxes) for boxes in arrays] for name, arrays in sent.items()} == {"wide": [1, 2], "tall": [3]}


def test_face_networks_get_and_return_arrays_as_they_are(connect):
    models, points = connect(), np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 3, 2)
    for name, batch in (("face_blendshapes", points), ("face_detector", images(8, 200))):
        halves, lengths = models.face_network(name, batch)
        assert halves.dtype == np.float32
        assert np.array_equal(halves, batch.astype(np.float32) / 2)
        assert lengths.tolist() == [[len(name)]] * 2


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


@pytest.mark.slow
@pytest.mark.shared
def test_faces_of_a_server_are_those_of_openvino(needs_weights, shared):
    """The engine `torch`, with the networks on the server's device."""
    pytest.importorskip("openvino")
    needs_weights("face_landmarker")
    with open_clip(shared("driving/d20.mp4"), fps=25, max_frames=2) as clip:
        frames = list(clip)
    recipe = load_recipe()
    with GpuServers(recipe, ["cpu"]) as servers:
        remote = RemoteModels(recipe, servers.addresses[0]).landmarker("torch")
        found = []
        for landmarker in (remote, Models(recipe).landmarker("openvino")):
            (box,) = landmarker.search(frames[0])
            centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
            faces = landmarker.detect(frames[0], centre, 2 * (box[2] - box[0]))
            faces += landmarker.follow([(frame, faces[0]) for frame in frames])
            landmarker.read_blendshapes(faces)
            found.append(faces)
    for face, other in zip(*found, strict=True):
        assert_same(face, other)
