"""MediaPipe's networks in PyTorch against OpenVINO, on random inputs and on the crops of real frames.

Both compute in single precision, in another order: the largest difference on random inputs was 3e-6 of the largest
value of an output. On the crops of all clips it is below the tolerance.
"""

import numpy as np
import pytest
import torch

from exprbench import weights
from exprbench.core.errors import UserError
from exprbench.faces import tflite, torch_networks
from exprbench.faces.face_networks import BLENDSHAPES, DETECTOR, LANDMARKS, FaceNetworks, read_network
from exprbench.faces.landmarker import CROPS
from exprbench.faces.region_landmarker import RegionLandmarker
from exprbench.faces.torch_networks import FUNCTIONS, TorchNetworks
from exprbench.media import open_clip
from tests.faces.test_openvino_landmarker import CLIPS, assert_same

TOLERANCE = 1e-4
INPUTS = {DETECTOR: (128, 128, 3), LANDMARKS: (256, 256, 3), BLENDSHAPES: (146, 2)}


@pytest.fixture
def model(needs_weights):
    needs_weights("face_landmarker")
    return weights.require("face_landmarker")


@pytest.fixture
def openvino(model):
    pytest.importorskip("openvino")
    from exprbench.faces.openvino_networks import OpenVinoNetworks

    return OpenVinoNetworks(model)


def random_batch(name, count):
    generator = np.random.default_rng(0)
    shape = count, *INPUTS[name]
    return generator.uniform(50, 200, shape).astype(np.float32 if name == BLENDSHAPES else np.uint8)


def largest_difference(outputs, others):
    """The largest difference of two lists of outputs, relative to the largest value of each, or to 1."""
    return max(
        np.abs(a.ravel() - b.ravel()).max() / max(1, np.abs(b).max()) for a, b in zip(outputs, others, strict=True)
    )


@pytest.mark.shared
@pytest.mark.parametrize("name", INPUTS)
def test_outputs_are_those_of_openvino(model, openvino, name):
    batch = random_batch(name, 3)
    assert largest_difference(TorchNetworks(model, "cpu")(name, batch), openvino(name, batch)) < TOLERANCE


@pytest.mark.shared
@pytest.mark.parametrize("name", INPUTS)
def test_a_batch_has_the_outputs_of_its_parts(model, monkeypatch, name):
    networks, batch = TorchNetworks(model, "cpu"), random_batch(name, 3)
    alone = [networks(name, item[None]) for item in batch]
    together = [np.concatenate(outputs) for outputs in zip(*alone, strict=True)]
    assert largest_difference(networks(name, batch), together) < TOLERANCE
    monkeypatch.setattr(torch_networks, "MAX_BATCH", 2)
    assert largest_difference(networks(name, batch), together) < TOLERANCE
    assert [len(output) for output in networks(name, batch)] == [3] * len(together)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", CLIPS)
def test_outputs_on_the_crops_of_all_clips_are_those_of_openvino(model, openvino, shared, name):
    networks, compared = TorchNetworks(model, "cpu"), set()

    def run(network, batch):
        outputs = openvino(network, batch)
        assert largest_difference(networks(network, batch), outputs) < TOLERANCE
        compared.add(network)
        return outputs

    landmarker = RegionLandmarker(model, run)
    with open_clip(shared(name), fps=2, max_frames=10) as clip:
        frames = list(clip)
    for x0, y0, x1, y1 in landmarker.search(frames[0]):
        centre, side = np.array([x0 + x1, y0 + y1]) / 2, max(x1 - x0, y1 - y0)
        faces = landmarker.detect(frames[0], centre, CROPS[0] * side)
        landmarker.read_blendshapes(faces)
        landmarker.follow([(frame, face) for face in faces for frame in frames])
    assert compared == set(INPUTS)


@pytest.mark.shared
def test_faces_are_those_of_openvino(model, openvino, shared):
    """Within more than a network's difference: crops are cut at positions rounded to 1/32 pixel."""
    with open_clip(shared("driving/d20.mp4"), fps=25, max_frames=3) as clip:
        frames = list(clip)
    found = []
    for run in (openvino, TorchNetworks(model, "cpu")):
        landmarker = RegionLandmarker(model, run)
        ((x0, y0, x1, y1),) = landmarker.search(frames[0])
        faces = landmarker.detect(frames[0], np.array([x0 + x1, y0 + y1]) / 2, 2 * (x1 - x0))
        faces += landmarker.follow([(frame, faces[0]) for frame in frames])
        landmarker.read_blendshapes(faces)
        found.append(faces)
    for face, other in zip(*found, strict=True):
        assert_same(face, other)


@pytest.mark.shared
def test_blendshapes_are_the_same_one_by_one_and_in_a_batch(model, shared):
    """And are computed once."""
    with open_clip(shared("driving/d20.mp4"), fps=25, max_frames=2) as clip:
        frames = list(clip)
    calls, networks = [], TorchNetworks(model, "cpu")

    def run(name, batch):
        calls.append((name, len(batch)))
        return networks(name, batch)

    landmarker = RegionLandmarker(model, run)
    (box,) = landmarker.search(frames[0])
    (face,) = landmarker.detect(frames[0], np.array([box[0] + box[2], box[1] + box[3]]) / 2, 2 * (box[2] - box[0]))
    alone = [found.blendshapes for found in landmarker.follow([(frame, face) for frame in frames])]
    faces = landmarker.follow([(frame, face) for frame in frames])
    calls.clear()
    landmarker.read_blendshapes(faces)
    landmarker.read_blendshapes(faces)
    assert calls == [(BLENDSHAPES, 2)]
    assert np.abs(np.stack([f.blendshapes for f in faces]) - alone).max() < 1e-5
    assert calls == [(BLENDSHAPES, 2)]


@pytest.mark.shared
def test_a_graph_has_the_shapes_and_weights_of_its_file(model):
    graph = tflite.read_graph(read_network(model, LANDMARKS))
    kinds = [operation.kind for operation in graph.operations]
    assert {kind: kinds.count(kind) for kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "PRELU", "LOGISTIC")} == {
        **{"CONV_2D": 72, "DEPTHWISE_CONV_2D": 34, "PRELU": 69, "LOGISTIC": 1},
    }
    assert len(graph.inputs) == 1
    assert len(graph.outputs) == 3
    half = [array for array in graph.constants.values() if array.dtype == np.float16]
    assert len(half) == 251
    assert all(np.isfinite(array).all() for array in half)


@pytest.mark.shared
def test_an_unknown_operation_or_type_is_named(model, monkeypatch):
    data = read_network(model, LANDMARKS)
    monkeypatch.delitem(tflite.OPERATIONS, 54)
    with pytest.raises(UserError, match="operation 54 of TensorFlow Lite"):
        tflite.read_graph(data)
    monkeypatch.undo()
    monkeypatch.delitem(tflite.DTYPES, 1)
    with pytest.raises(UserError, match="numbers of type 1 of TensorFlow Lite"):
        tflite.read_graph(data)


def test_without_a_gpu_the_device_is_the_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert TorchNetworks(tmp_path).device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert TorchNetworks(tmp_path).device == "cuda"
    assert TorchNetworks(tmp_path, "cuda:1").device == "cuda:1"


@pytest.mark.parametrize(("size", "expected"), [(4, [9, 6]), (5, [6, 9, 6])])
def test_convolutions_are_padded_as_by_tensorflow(size, expected):
    """With a stride of 2, even sizes are padded at their end only; the kernel of ones counts pixels."""
    x, weight = torch.ones(1, size, size, 1), torch.ones(1, 3, 3, 1)
    options = {"padding": 0, "stride_x": 2, "stride_y": 2}
    y = FUNCTIONS["CONV_2D"](x, weight, torch.zeros(1), **options)[0, :, :, 0]
    depthwise = FUNCTIONS["DEPTHWISE_CONV_2D"](x, weight, torch.zeros(1), **options, multiplier=1)[0, :, :, 0]
    assert torch.equal(y, depthwise)
    assert y[(size - 3) // 2].tolist() == expected


def test_maxima_of_negative_pictures_do_not_see_the_padding():
    x = -torch.arange(1.0, 10).reshape(1, 3, 3, 1)
    options = {"padding": 0, "stride_x": 2, "stride_y": 2, "width": 2, "height": 2}
    assert FUNCTIONS["MAX_POOL_2D"](x, **options).flatten().tolist() == [-1, -3, -7, -9]


def test_the_first_axis_is_the_batch():
    """Shapes in the files are those of one face."""
    x = torch.arange(12.0).reshape(2, 3, 2)
    assert FUNCTIONS["RESHAPE"](x, [1, 6], shape=0).tolist() == x.reshape(2, 6).tolist()
    assert FUNCTIONS["RESHAPE"](x, shape=[1, 6]).tolist() == x.reshape(2, 6).tolist()
    token = torch.zeros(1, 1, 2)
    assert FUNCTIONS["CONCATENATION"](token, x, axis=-2).shape == (2, 4, 2)
    masks = {"begin_mask": 2, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0}
    part = FUNCTIONS["STRIDED_SLICE"](x, [0, 1, 1], [1, 2, 2], [1, 1, 1], shrink_axis_mask=5, **masks)
    assert part.tolist() == x[:, :2, 1].tolist()
    assert FUNCTIONS["PAD"](x, [0, 0, 1, 0, 0, 2]).shape == (2, 4, 4)


@pytest.mark.shared
def test_values_are_landmarks_presences_and_blendshapes(model):
    networks = FaceNetworks(TorchNetworks(model, "cpu"))
    points, presences = networks.landmarks(random_batch(LANDMARKS, 2))
    assert (points.shape, presences.shape) == ((2, 478, 3), (2,))
    assert [array.shape for array in networks.detect(random_batch(DETECTOR, 2))] == [(2, 896, 16), (2, 896)]
    assert networks.blendshapes(random_batch(BLENDSHAPES, 2)).shape == (2, 52)
